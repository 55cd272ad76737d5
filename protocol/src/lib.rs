//! Bytes to Kafka's types and back: messages, frames, record batches, error codes.
//!
//! The crate does no IO, starts no thread and reads no clock. What it reads comes from a network or
//! a disk and is not trusted: every length is checked against the bytes left before anything is
//! allocated, and no input panics.
//!
//! - [`messages`] holds every request and response of Kafka 4.3 in all its versions, and [`records`]
//!   the records of internal topics. Both are generated from `protocol/schema`.
//! - [`frame`] reads and writes a whole request or response with its header.
//! - [`batch`] looks at record batches without decoding them, iterates their records and builds new
//!   ones; [`compression`] holds the codecs.
//! - [`dispatch`] is the way into a broker that runs in the same process.
//! - [`primitives`] and [`types`] are what all of it is made of.
//!
//! Strings, bytes and records are slices of the frame they were decoded from, so nothing is copied
//! on the way in, and record batches are written without copy on the way out.
//!
//! ```
//! use moldau_protocol::frame::{self, RequestHeader};
//! use moldau_protocol::messages::{MetadataRequest, RequestKind};
//! use moldau_protocol::{ApiKey, KString};
//!
//! let header = RequestHeader {
//!     api_key: ApiKey::Metadata as i16,
//!     api_version: 12,
//!     correlation_id: 7,
//!     client_id: Some(KString::from_static("example")),
//! };
//! let request = RequestKind::from(MetadataRequest { topics: None, ..Default::default() });
//! let encoded = frame::encode_request(&header, &request)?;
//!
//! // The first four bytes are the length of the rest.
//! let bytes = encoded.to_bytes().expect("no records are in files");
//! assert_eq!(frame::parse_request(bytes.slice(4..))?, (header, request));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod api_key;
pub mod batch;
pub mod compression;
pub mod dispatch;
mod error;
pub mod error_code;
pub mod frame;
mod message;
pub mod messages;
pub mod primitives;
pub mod records;
pub mod types;

pub use api_key::VersionRange;
pub use error::{DecodeError, EncodeError};
pub use error_code::ErrorCode;
pub use message::{Message, RecordKey, Request, UnexpectedResponse, record_type};
pub use messages::{ApiKey, RequestKind, ResponseKind};
pub use primitives::{Decoder, EncodedFrame, Encoder};
pub use types::{FileRange, KString, RawTaggedField, Records, RecordsPiece, Uuid};
