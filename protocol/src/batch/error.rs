//! Why bytes are not a record batch.

use crate::compression::CompressionError;

/// Why bytes could not be read as a record batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end inside the batch.
    #[error("batch of {needed} bytes has only {available}")]
    Incomplete {
        /// How many bytes the batch has, or at least its header.
        needed: usize,
        /// How many bytes are there.
        available: usize,
    },
    /// The length in the header is too small for a header, or not the length of the bytes.
    #[error("batch at offset {base_offset} has the impossible length {length}")]
    InvalidLength {
        /// The batch's base offset.
        base_offset: i64,
        /// The length field.
        length: i32,
    },
    /// The batch is of another format version.
    #[error("record format version {magic} is not supported, only 2")]
    UnsupportedMagic {
        /// The version.
        magic: i8,
    },
    /// The bytes were changed on their way.
    #[error(
        "batch at offset {base_offset} has checksum {actual:#010x} instead of {expected:#010x}"
    )]
    Corrupt {
        /// The batch's base offset.
        base_offset: i64,
        /// The checksum in the header.
        expected: u32,
        /// The checksum of the bytes.
        actual: u32,
    },
    /// The records cannot be decompressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record contradicts itself or the batch.
    #[error("record {index} of the batch at offset {base_offset} is malformed: {problem}")]
    InvalidRecord {
        /// The batch's base offset.
        base_offset: i64,
        /// The record's place in the batch, from zero.
        index: i32,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The batch holds no control record of a kind we know.
    #[error("batch at offset {base_offset} is not a valid control batch")]
    InvalidControlRecord {
        /// The batch's base offset.
        base_offset: i64,
    },
}
