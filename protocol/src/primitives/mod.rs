//! Reading and writing of the protocol's primitive types.

mod decoder;
mod encoder;
pub(crate) mod varint;

pub use decoder::Decoder;
pub use encoder::{EncodedFrame, Encoder, TaggedFields};
