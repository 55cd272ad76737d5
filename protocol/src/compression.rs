//! The codecs of record batches.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use bytes::{BufMut, Bytes, BytesMut};

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in the framing of the xerial library; plain snappy is read as well.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// RFC 8878.
    Zstd,
}

/// Why records could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// The number in the batch's header names no codec.
    #[error("compression codec {id} is unknown")]
    UnknownCodec {
        /// The number.
        id: i8,
    },
    /// The compressed bytes are malformed.
    #[error("{codec} data is malformed: {problem}")]
    Malformed {
        /// The codec.
        codec: Compression,
        /// What the codec says.
        problem: String,
    },
    /// The records are larger than allowed.
    #[error("{codec} data has more than {limit} bytes after decompression")]
    TooLarge {
        /// The codec.
        codec: Compression,
        /// How many bytes are allowed.
        limit: usize,
    },
}

/// The name is not that of a codec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("compression \"{name}\" is unknown: use none, gzip, snappy, lz4 or zstd")]
pub struct ParseCompressionError {
    name: String,
}

/// Most bytes that the records of one batch may have after decompression, unless the caller says
/// otherwise. Larger than any batch that a broker accepts by default, at a hundred to one.
pub const MAX_DECOMPRESSED_SIZE: usize = 128 << 20;

impl Compression {
    /// All codecs.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The number in a batch's attributes.
    #[must_use]
    pub const fn id(self) -> i8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec of a number in a batch's attributes.
    #[must_use]
    pub const fn from_id(id: i8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The name as in Kafka's settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Compresses bytes, at the codec's usual level if none is given.
    #[must_use]
    pub fn compress(self, input: &[u8], level: Option<i32>) -> Bytes {
        let output = match self {
            Self::None => Ok(input.to_vec()),
            Self::Gzip => gzip(input, level),
            Self::Snappy => snappy(input),
            Self::Lz4 => lz4(input),
            Self::Zstd => zstd(input, level),
        };
        Bytes::from(output.expect("writing to memory cannot fail"))
    }

    /// Decompresses bytes to at most `limit`; uncompressed ones are passed on.
    ///
    /// # Errors
    /// The bytes are malformed, or more than `limit` come out.
    pub fn decompress(self, input: Bytes, limit: usize) -> Result<Bytes, CompressionError> {
        match self {
            Self::None => Ok(input),
            Self::Gzip => self.read_all(
                flate2::read::MultiGzDecoder::new(&input[..]),
                input.len(),
                limit,
            ),
            Self::Snappy => self.unsnappy(&input, limit),
            Self::Lz4 => self.read_all(
                lz4_flex::frame::FrameDecoder::new(&input[..]),
                input.len(),
                limit,
            ),
            Self::Zstd => {
                let decoder = ::zstd::stream::read::Decoder::with_buffer(&input[..]);
                self.read_all(
                    decoder.map_err(|error| self.malformed(error))?,
                    input.len(),
                    limit,
                )
            }
        }
    }

    /// Reads until the end or one byte beyond the limit; memory grows as bytes really come.
    fn read_all(
        self,
        decoder: impl Read,
        size_hint: usize,
        limit: usize,
    ) -> Result<Bytes, CompressionError> {
        let mut output =
            Vec::with_capacity(size_hint.saturating_mul(4).min(limit).min(MAX_PREPARED));
        let beyond = (limit as u64).saturating_add(1);
        decoder
            .take(beyond)
            .read_to_end(&mut output)
            .map_err(|error| self.malformed(error))?;
        if output.len() > limit {
            return Err(CompressionError::TooLarge { codec: self, limit });
        }
        Ok(Bytes::from(output))
    }

    fn unsnappy(self, input: &[u8], limit: usize) -> Result<Bytes, CompressionError> {
        let mut output = BytesMut::new();
        let Some(mut rest) = input
            .strip_prefix(XERIAL_MAGIC)
            .and_then(|rest| rest.get(8..))
        else {
            self.unsnappy_block(input, &mut output, limit)?;
            return Ok(output.freeze());
        };
        while let Some((length, after)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            let cut = || self.malformed("block is cut off");
            let block = after.get(..length).ok_or_else(cut)?;
            self.unsnappy_block(block, &mut output, limit)?;
            rest = after.get(length..).ok_or_else(cut)?;
        }
        if rest.is_empty() {
            Ok(output.freeze())
        } else {
            Err(self.malformed("block length is cut off"))
        }
    }

    fn unsnappy_block(
        self,
        block: &[u8],
        output: &mut BytesMut,
        limit: usize,
    ) -> Result<(), CompressionError> {
        let length = snap::raw::decompress_len(block).map_err(|error| self.malformed(error))?;
        if length > limit.saturating_sub(output.len()) {
            return Err(CompressionError::TooLarge { codec: self, limit });
        }
        if length > block.len().saturating_mul(MAX_SNAPPY_RATIO) {
            return Err(self.malformed("block claims an impossible length"));
        }
        let start = output.len();
        output.put_bytes(0, length);
        let written = snap::raw::Decoder::new().decompress(block, &mut output[start..]);
        written.map(|_| ()).map_err(|error| self.malformed(error))
    }

    fn malformed(self, problem: impl fmt::Display) -> CompressionError {
        CompressionError::Malformed {
            codec: self,
            problem: problem.to_string(),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Compression {
    type Err = ParseCompressionError;

    fn from_str(name: &str) -> Result<Self, ParseCompressionError> {
        let found = Self::ALL.into_iter().find(|codec| codec.name() == name);
        found.ok_or_else(|| ParseCompressionError {
            name: name.to_owned(),
        })
    }
}

fn gzip(input: &[u8], level: Option<i32>) -> io::Result<Vec<u8>> {
    let level = level.map_or_else(flate2::Compression::default, |level| {
        flate2::Compression::new(u32::try_from(level).unwrap_or_default().clamp(1, 9))
    });
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(input.len() / 2), level);
    encoder.write_all(input)?;
    encoder.finish()
}

fn snappy(input: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = snap::raw::Encoder::new();
    let mut output = Vec::with_capacity(input.len() / 2 + 64);
    output.extend_from_slice(XERIAL_MAGIC);
    output.extend_from_slice(&XERIAL_VERSIONS);
    let mut block = vec![0; snap::raw::max_compress_len(input.len().min(XERIAL_BLOCK_SIZE))];
    for chunk in input.chunks(XERIAL_BLOCK_SIZE) {
        let size = encoder
            .compress(chunk, &mut block)
            .map_err(io::Error::other)?;
        output.extend_from_slice(&(size as u32).to_be_bytes());
        output.extend_from_slice(&block[..size]);
    }
    Ok(output)
}

fn lz4(input: &[u8]) -> io::Result<Vec<u8>> {
    let info = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max64KB);
    let mut encoder =
        lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::with_capacity(input.len() / 2));
    encoder.write_all(input)?;
    encoder.finish().map_err(io::Error::other)
}

fn zstd(input: &[u8], level: Option<i32>) -> io::Result<Vec<u8>> {
    ::zstd::bulk::compress(input, level.unwrap_or(::zstd::DEFAULT_COMPRESSION_LEVEL))
}

const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
/// Version and least compatible version, both 1.
const XERIAL_VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
const XERIAL_BLOCK_SIZE: usize = 32 << 10;

/// Three bytes of snappy make at most 64; a block that claims more lies about its length.
const MAX_SNAPPY_RATIO: usize = 64;

/// Memory taken at once for decompressed bytes; more comes as the bytes do.
const MAX_PREPARED: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(codec: Compression, input: &[u8]) {
        let compressed = codec.compress(input, None);
        assert_eq!(
            codec.decompress(compressed.clone(), input.len()).as_deref(),
            Ok(input),
            "{codec}"
        );
        if codec != Compression::None && !input.is_empty() {
            let limit = input.len() - 1;
            assert_eq!(
                codec.decompress(compressed, limit),
                Err(CompressionError::TooLarge { codec, limit })
            );
        }
    }

    #[test]
    fn every_codec_gives_back_what_it_was_given_and_keeps_the_limit() {
        let long: Vec<u8> = (0..200_000u32)
            .flat_map(|number| (number % 1_000).to_be_bytes())
            .collect();
        for codec in Compression::ALL {
            check(codec, b"");
            check(codec, b"short");
            check(codec, &long);
            assert_eq!(codec.name().parse(), Ok(codec));
            assert_eq!(Compression::from_id(codec.id()), Some(codec));
        }
    }

    #[test]
    fn snappy_without_framing_is_read() {
        let plain = snap::raw::Encoder::new()
            .compress_vec(b"plain snappy, plain snappy")
            .expect("compress");
        let read = Compression::Snappy.decompress(Bytes::from(plain), 100);
        assert_eq!(read.as_deref(), Ok(&b"plain snappy, plain snappy"[..]));
    }

    #[test]
    fn garbage_is_an_error() {
        for codec in [
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            let read = codec.decompress(Bytes::from_static(b"this is not compressed at all"), 100);
            assert!(
                matches!(
                    read,
                    Err(CompressionError::Malformed { .. } | CompressionError::TooLarge { .. })
                ),
                "{codec}: {read:?}"
            );
        }
    }
}
