//! Frames: a length of four bytes, a header, and one request or response.
//!
//! The length itself is read by whoever owns the socket, who also keeps the size limit.

use bytes::Bytes;

use crate::api_key::VersionRange;
use crate::error::{DecodeError, EncodeError};
use crate::message::Message;
use crate::messages::{self, ApiKey, RequestKind, ResponseKind};
use crate::primitives::{Decoder, EncodedFrame, Encoder};
use crate::types::KString;

/// What stands in front of every request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RequestHeader {
    /// Number of the API.
    pub api_key: i16,
    /// Version of the request and of its response.
    pub api_version: i16,
    /// Given back by the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<KString>,
}

/// Why a frame holds no request that can be handled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is too short for even the fixed part of the header.
    #[error("request of {length} bytes is too short for its header")]
    TooShort {
        /// How many bytes the frame has.
        length: usize,
    },
    /// There is no such API.
    #[error("API {api_key} is unknown")]
    UnknownApi {
        /// Number of the API.
        api_key: i16,
        /// Version of the request.
        api_version: i16,
        /// The request's correlation id.
        correlation_id: i32,
    },
    /// The API has no such version. If it is ApiVersions, the client still expects an answer: error
    /// 35 and the versions of all APIs, in version 0.
    #[error("{} has no version {api_version}, only {valid}", api_key.name())]
    UnsupportedVersion {
        /// The API.
        api_key: ApiKey,
        /// Version of the request.
        api_version: i16,
        /// Versions that the schemas define.
        valid: VersionRange,
        /// The request's correlation id.
        correlation_id: i32,
    },
    /// The bytes contradict the schema.
    #[error("{} version {api_version} is malformed at byte {position}: {source}", api_key.name())]
    Malformed {
        /// The API.
        api_key: ApiKey,
        /// Version of the request.
        api_version: i16,
        /// The request's correlation id.
        correlation_id: i32,
        /// Where in the frame reading stopped.
        position: usize,
        /// What is wrong.
        source: DecodeError,
    },
}

impl FrameError {
    /// The request's correlation id, if the frame is long enough to have one.
    #[must_use]
    pub const fn correlation_id(&self) -> Option<i32> {
        match self {
            Self::TooShort { .. } => None,
            Self::UnknownApi { correlation_id, .. }
            | Self::UnsupportedVersion { correlation_id, .. }
            | Self::Malformed { correlation_id, .. } => Some(*correlation_id),
        }
    }
}

/// Reads a request from a frame without its length. Bytes after the request are ignored, as Kafka
/// does.
///
/// # Errors
/// The API or its version is unknown, or the bytes are malformed.
pub fn parse_request(frame: Bytes) -> Result<(RequestHeader, RequestKind), FrameError> {
    let fixed: [u8; 8] = *frame.first_chunk().ok_or(FrameError::TooShort {
        length: frame.len(),
    })?;
    let [key_high, key_low, version_high, version_low, id @ ..] = fixed;
    let api_key = i16::from_be_bytes([key_high, key_low]);
    let api_version = i16::from_be_bytes([version_high, version_low]);
    let correlation_id = i32::from_be_bytes(id);
    let key = ApiKey::from_i16(api_key).ok_or(FrameError::UnknownApi {
        api_key,
        api_version,
        correlation_id,
    })?;
    let valid = key.valid_versions();
    if !valid.contains(api_version) {
        return Err(FrameError::UnsupportedVersion {
            api_key: key,
            api_version,
            valid,
            correlation_id,
        });
    }
    let mut input = Decoder::new(frame);
    let request = read_request(&mut input, key, api_version);
    let position = input.position();
    request.map_err(|source| FrameError::Malformed {
        api_key: key,
        api_version,
        correlation_id,
        position,
        source,
    })
}

fn read_request(
    input: &mut Decoder,
    key: ApiKey,
    version: i16,
) -> Result<(RequestHeader, RequestKind), DecodeError> {
    let header = messages::RequestHeader::decode(input, key.request_header_version(version))?;
    let header = RequestHeader {
        api_key: header.request_api_key,
        api_version: header.request_api_version,
        correlation_id: header.correlation_id,
        client_id: header.client_id,
    };
    Ok((header, RequestKind::decode(key, version, input)?))
}

/// Writes a request with its length and header. The key and version of the header count.
///
/// # Errors
/// The request is of another API than the header, or the version cannot carry it.
pub fn encode_request(
    header: &RequestHeader,
    request: &RequestKind,
) -> Result<EncodedFrame, EncodeError> {
    let key = request.api_key();
    if header.api_key != key as i16 {
        let key = ApiKey::from_i16(header.api_key).map_or("an unknown API", ApiKey::name);
        return Err(EncodeError::WrongApi {
            key,
            message: request.api_key().name(),
        });
    }
    let mut output = start();
    let wire = messages::RequestHeader {
        request_api_key: header.api_key,
        request_api_version: header.api_version,
        correlation_id: header.correlation_id,
        client_id: header.client_id.clone(),
        ..Default::default()
    };
    wire.encode(&mut output, key.request_header_version(header.api_version))?;
    request.encode(&mut output, header.api_version)?;
    output.finish_with_length()
}

/// Writes a response with its length and header.
///
/// # Errors
/// The response is of another API than `key`, or the version cannot carry it.
pub fn encode_response(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &ResponseKind,
) -> Result<EncodedFrame, EncodeError> {
    if response.api_key() != key {
        return Err(EncodeError::WrongApi {
            key: key.name(),
            message: response.api_key().name(),
        });
    }
    let mut output = start();
    let header = messages::ResponseHeader {
        correlation_id,
        ..Default::default()
    };
    header.encode(&mut output, key.response_header_version(version))?;
    response.encode(&mut output, version)?;
    output.finish_with_length()
}

/// Reads a response from a frame without its length: its correlation id and body.
///
/// # Errors
/// The bytes are malformed, or the API has no such version.
pub fn decode_response(
    key: ApiKey,
    version: i16,
    frame: Bytes,
) -> Result<(i32, ResponseKind), DecodeError> {
    let mut input = Decoder::new(frame);
    let header =
        messages::ResponseHeader::decode(&mut input, key.response_header_version(version))?;
    Ok((
        header.correlation_id,
        ResponseKind::decode(key, version, &mut input)?,
    ))
}

impl ApiKey {
    /// Version of the header in front of a request of this version.
    #[must_use]
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// Version of the header in front of a response of this version. That of ApiVersions is always
    /// 0, because a client must be able to read it before it knows the broker's versions.
    #[must_use]
    pub fn response_header_version(self, version: i16) -> i16 {
        i16::from(self != Self::ApiVersions && self.is_flexible(version))
    }

    /// Whether the version uses compact lengths and tagged fields (KIP-482).
    #[must_use]
    pub fn is_flexible(self, version: i16) -> bool {
        self.first_flexible_version()
            .is_some_and(|first| version >= first)
    }

    /// All APIs, by ascending key.
    pub fn iter() -> impl DoubleEndedIterator<Item = Self> {
        Self::ALL.into_iter()
    }
}

/// An encoder with room for the length and a usual response.
fn start() -> Encoder {
    let mut output = Encoder::with_capacity(INITIAL_CAPACITY);
    output.i32(0);
    output
}

const INITIAL_CAPACITY: usize = 256;
