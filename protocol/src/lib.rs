//! moldau-protocol: bytes to Kafka's types and back.

pub mod api_key;
pub mod batch;
pub mod compression;
mod error;
pub mod error_code;
pub mod primitives;
pub mod types;

pub use api_key::VersionRange;
pub use error::{DecodeError, EncodeError};
pub use error_code::ErrorCode;
pub use primitives::{Decoder, EncodedFrame, Encoder};
pub use types::{KString, RawTaggedField, Records, Uuid};
