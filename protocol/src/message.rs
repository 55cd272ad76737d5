//! What all messages have in common.

use bytes::Bytes;

use crate::api_key::VersionRange;
use crate::error::{DecodeError, EncodeError};
use crate::messages::{ApiKey, RequestKind, ResponseKind};
use crate::primitives::{Decoder, Encoder};

/// A message of the protocol, in all its versions.
pub trait Message:
    Sized + Clone + std::fmt::Debug + Default + PartialEq + Send + Sync + 'static
{
    /// The schema's name.
    const NAME: &'static str;

    /// The versions that the schema defines.
    const VERSIONS: VersionRange;

    /// Reads the message; bytes that follow it are left.
    ///
    /// # Errors
    /// The bytes are malformed, or there is no such version.
    fn decode(input: &mut Decoder, version: i16) -> Result<Self, DecodeError>;

    /// Writes the message.
    ///
    /// # Errors
    /// There is no such version, or it cannot carry a field that is set and may not be dropped.
    fn encode(&self, output: &mut Encoder, version: i16) -> Result<(), EncodeError>;

    /// Reads the message from the front of `bytes`.
    ///
    /// # Errors
    /// As [`Self::decode`].
    fn from_bytes(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        Self::decode(&mut Decoder::new(bytes), version)
    }

    /// The message's bytes.
    ///
    /// # Errors
    /// As [`Self::encode`].
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut output = Encoder::new();
        self.encode(&mut output, version)?;
        joined(output)
    }

    /// Reads a message that its version stands in front of, as in the values of internal records
    /// and in the consumer protocol.
    ///
    /// # Errors
    /// As [`Self::decode`].
    fn decode_versioned(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let version = input.i16()?;
        Self::decode(&mut input, version)
    }

    /// Reads as [`Self::decode_versioned`], but takes a version newer than ours as our newest: the
    /// consumer protocol promises that newer versions only add fields at the end.
    ///
    /// # Errors
    /// As [`Self::decode`].
    fn decode_versioned_or_newer(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let version = input.i16()?.min(Self::VERSIONS.max);
        Self::decode(&mut input, version)
    }

    /// The message's bytes with its version in front.
    ///
    /// # Errors
    /// As [`Self::encode`].
    fn encode_versioned(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut output = Encoder::new();
        output.i16(version);
        self.encode(&mut output, version)?;
        joined(output)
    }
}

/// A request and what answers it.
pub trait Request: Message + Into<RequestKind> {
    /// The API.
    const KEY: ApiKey;

    /// The type of the response.
    type Response: Message + Into<ResponseKind> + TryFrom<ResponseKind, Error = UnexpectedResponse>;
}

/// The key of a coordinator's record, which its type stands in front of.
pub trait RecordKey: Message {
    /// The type of the record.
    const RECORD_TYPE: i16;

    /// The key's bytes with the record's type in front.
    ///
    /// # Errors
    /// A string is too long.
    fn encode_key(&self) -> Result<Bytes, EncodeError> {
        let mut output = Encoder::new();
        output.i16(Self::RECORD_TYPE);
        self.encode(&mut output, Self::VERSIONS.max)?;
        joined(output)
    }

    /// Reads a key. [`record_type`] tells beforehand which key it is.
    ///
    /// # Errors
    /// The key is of another type, or malformed.
    fn decode_key(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let actual = input.i16()?;
        if actual != Self::RECORD_TYPE {
            return Err(DecodeError::UnexpectedRecordType {
                expected: Self::RECORD_TYPE,
                actual,
            });
        }
        Self::decode(&mut input, Self::VERSIONS.max)
    }
}

/// The type of a coordinator's record by its key; `None` if the key is too short.
#[must_use]
pub fn record_type(key: &[u8]) -> Option<i16> {
    key.first_chunk().map(|bytes| i16::from_be_bytes(*bytes))
}

/// A response is of another API than its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("response is of {} where {} was asked for", actual.name(), expected.name())]
pub struct UnexpectedResponse {
    /// The API of the request.
    pub expected: ApiKey,
    /// The API of the response.
    pub actual: ApiKey,
}

impl UnexpectedResponse {
    pub(crate) const fn new(expected: ApiKey, response: &ResponseKind) -> Self {
        Self {
            expected,
            actual: response.api_key(),
        }
    }
}

fn joined(output: Encoder) -> Result<Bytes, EncodeError> {
    output.finish().to_bytes().ok_or(EncodeError::RecordsInFile)
}

pub(crate) fn check_decode<M: Message>(version: i16) -> Result<(), DecodeError> {
    if M::VERSIONS.contains(version) {
        return Ok(());
    }
    Err(DecodeError::UnsupportedVersion {
        message: M::NAME,
        version,
        valid: M::VERSIONS,
    })
}

pub(crate) fn check_encode<M: Message>(version: i16) -> Result<(), EncodeError> {
    if M::VERSIONS.contains(version) {
        return Ok(());
    }
    Err(EncodeError::UnsupportedVersion {
        message: M::NAME,
        version,
        valid: M::VERSIONS,
    })
}

#[cold]
pub(crate) const fn unsupported(field: &'static str, version: i16) -> EncodeError {
    EncodeError::UnsupportedField { field, version }
}

pub(crate) fn required<'a, T>(
    value: Option<&'a T>,
    field: &'static str,
    version: i16,
) -> Result<&'a T, EncodeError> {
    value.ok_or(EncodeError::UnexpectedNull { field, version })
}
