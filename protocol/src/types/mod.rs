//! Small value types that the wire format needs: strings, ids and opaque records.

mod kstring;
pub(crate) mod records;
mod tagged_field;
mod uuid;

pub use kstring::KString;
pub use records::{FileRange, Records, RecordsPiece};
pub use tagged_field::RawTaggedField;
pub use uuid::{ParseUuidError, Uuid};
