//! moldau-protocol: bytes to Kafka's types and back.

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
