//! Tagged fields that this version of the schemas does not know.

use bytes::Bytes;

/// An optional field that is not in our schema, kept so that a message is passed on unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTaggedField {
    /// The number that names the field.
    pub tag: u32,
    /// The field's value as it came.
    pub data: Bytes,
}
