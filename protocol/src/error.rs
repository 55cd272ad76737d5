//! Why bytes are not a message, or a message cannot be written.

use std::str::Utf8Error;

use crate::api_key::VersionRange;

/// Why bytes could not be read as a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("{needed} bytes are needed and only {remaining} are left")]
    UnexpectedEnd {
        /// How many bytes the value needs.
        needed: usize,
        /// How many bytes are left.
        remaining: usize,
    },
    /// A length on the wire is negative or beyond the bytes left.
    #[error("length {length} does not fit in the {remaining} bytes left")]
    InvalidLength {
        /// The length as read.
        length: i64,
        /// How many bytes are left.
        remaining: usize,
    },
    /// A string is not UTF-8.
    #[error("string is not UTF-8: {0}")]
    InvalidUtf8(#[from] Utf8Error),
    /// A value that must be there is null.
    #[error("a field that cannot be null is null")]
    UnexpectedNull,
    /// A variable-length integer has too many bytes.
    #[error("variable-length integer is too long")]
    InvalidVarint,
    /// Tagged fields are not in ascending order, or one comes twice.
    #[error("tagged field {tag} is out of order")]
    TagOutOfOrder {
        /// The tag that came too late.
        tag: u32,
    },
    /// A known tagged field is longer than its value.
    #[error("tagged field {tag} has {remaining} bytes too many")]
    TagTooLong {
        /// The field's tag.
        tag: u32,
        /// How many bytes its value left over.
        remaining: usize,
    },
    /// The decoded form would need far more memory than the frame.
    #[error("message of {length} bytes has too many elements to decode")]
    TooManyElements {
        /// The size of the bytes to decode.
        length: usize,
    },
    /// The message does not exist in this version.
    #[error("{message} has no version {version}, only {valid}")]
    UnsupportedVersion {
        /// The schema's name of the message.
        message: &'static str,
        /// The version asked for.
        version: i16,
        /// The versions that exist.
        valid: VersionRange,
    },
    /// The record key is of another type.
    #[error("record type {actual} where {expected} is wanted")]
    UnexpectedRecordType {
        /// The type that was wanted.
        expected: i16,
        /// The type that is there.
        actual: i16,
    },
}

/// Why a message could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field is set that this version cannot carry and that may not be dropped.
    #[error("field `{field}` cannot be sent in version {version}")]
    UnsupportedField {
        /// The schema's name of the field.
        field: &'static str,
        /// The version of the message.
        version: i16,
    },
    /// A field is null that may not be null in this version.
    #[error("field `{field}` cannot be null in version {version}")]
    UnexpectedNull {
        /// The schema's name of the field.
        field: &'static str,
        /// The version of the message.
        version: i16,
    },
    /// A string, byte field or list is longer than its length prefix can say.
    #[error("value of length {length} is too long for the wire")]
    TooLong {
        /// The value's length.
        length: usize,
    },
    /// Unknown tagged fields are set but this version has no room for any.
    #[error("tagged fields cannot be sent in a version that is not flexible")]
    UnsupportedTaggedFields,
    /// An unknown tagged field has the tag of a known one, or comes twice.
    #[error("tagged field {tag} is set twice")]
    DuplicateTag {
        /// The tag.
        tag: u32,
    },
    /// The message does not exist in this version.
    #[error("{message} has no version {version}, only {valid}")]
    UnsupportedVersion {
        /// The schema's name of the message.
        message: &'static str,
        /// The version asked for.
        version: i16,
        /// The versions that exist.
        valid: VersionRange,
    },
    /// The message is of another API than the frame.
    #[error("{message} cannot be sent as {key}")]
    WrongApi {
        /// The API of the frame.
        key: &'static str,
        /// The API of the message.
        message: &'static str,
    },
    /// Records that are still in a file cannot become bytes in memory.
    #[error("records that are in a file cannot be encoded to memory")]
    RecordsInFile,
}
