//! Protocol buffers with the schema's id before each value.

use std::ops::{Deref, DerefMut};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use super::registry::{SchemaText, split_id, write_id};
use super::{Serde, SerdeContext, SerdeError};

/// A message type with the `.proto` file that it is in.
pub trait ProtoMessage: Message + Default + 'static {
    /// The text of the file.
    const SCHEMA: &'static str;

    /// Where the message is in the file: its number among the file's messages, counted from 0,
    /// then, of a message within that one, its number there, and so on.
    const INDEXES: &'static [i32] = &[0];
}

/// A value that is a protocol buffer on its topic, in the schema registry's format: `00 | schema
/// id (4 bytes) | place of the message in its file | message`. Dereferences to the value itself.
///
/// Reading needs no registry; fields that the type does not have are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proto<T>(
    /// The value.
    pub T,
);

impl<T> Deref for Proto<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Proto<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Proto<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: ProtoMessage> Serde for Proto<T> {
    fn encode(&self, context: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        let schema = SchemaText {
            kind: "PROTOBUF",
            text: T::SCHEMA,
        };
        write_id::<T>(context, &schema, out)?;
        write_indexes(T::INDEXES, out);
        let written = self.0.encode(out);
        written.map_err(|error| SerdeError::new(format!("no protocol buffer: {error}")))
    }

    fn decode(_: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        let (id, mut payload) = split_id(bytes)?;
        let indexes = read_indexes(&mut payload).ok_or_else(|| {
            SerdeError::new("the payload ends within the place of its message in the file")
        })?;
        if indexes != T::INDEXES {
            return Err(SerdeError::new(format!(
                "it is message {indexes:?} of schema {id}, not {:?}",
                T::INDEXES
            )));
        }
        let value = T::decode(payload);
        value.map(Self).map_err(|error| {
            SerdeError::new(format!(
                "no fitting protocol buffer of schema {id}: {error}"
            ))
        })
    }
}

/// The number of indexes, then each; `[0]`, the usual one, is a single 0.
fn write_indexes(indexes: &[i32], out: &mut BytesMut) {
    if indexes == [0] {
        out.put_u8(0);
        return;
    }
    write_number(i32::try_from(indexes.len()).unwrap_or(i32::MAX), out);
    for index in indexes {
        write_number(*index, out);
    }
}

fn read_indexes(bytes: &mut Bytes) -> Option<Vec<i32>> {
    let count = usize::try_from(read_number(bytes)?).ok()?;
    if count == 0 {
        return Some(vec![0]);
    }
    // Each takes a byte at least.
    if count > bytes.len() {
        return None;
    }
    (0..count).map(|_| read_number(bytes)).collect()
}

/// A zigzag number of seven bits a byte.
fn write_number(number: i32, out: &mut BytesMut) {
    let zigzag = ((number << 1) ^ (number >> 31)) as u32;
    prost::encoding::encode_varint(u64::from(zigzag), out);
}

fn read_number(bytes: &mut Bytes) -> Option<i32> {
    let zigzag = u32::try_from(prost::encoding::decode_varint(bytes).ok()?).ok()?;
    let half = i32::try_from(zigzag >> 1).ok()?;
    Some(half ^ -((zigzag & 1) as i32))
}
