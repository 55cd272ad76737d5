//! JSON: an object with a member for each column; names match without regard to case.

mod cursor;
mod decode;
mod encode;

pub(super) use decode::JsonDecoder;
pub(super) use encode::{quoted, write_object, write_value};
