//! What the two sides of a foreign-key join write to each other, in Kafka Streams' bytes:
//!
//! ```text
//! subscription, under the foreign key:
//!   {no hash: 1 bit | version 1: 7 bits}{instruction: 1}{hash: 16}{primary key}{partition: 4}
//! response, under the primary key:
//!   {no hash: 1 bit | version 0: 7 bits}{hash: 16}{foreign value, nothing for null}
//! store of subscriptions, by:
//!   {length of foreign key: 4}{foreign key}{primary key}
//! ```
//!
//! Version 0 of a subscription has no partition.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::serde::{Serde, SerdeContext, SerdeError};

/// Hash of the left value that a subscription, and the response to it, are about.
pub(crate) type Hash = Option<[u8; 16]>;

/// What the right side is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// The left entry has another foreign key now: forget it.
    DeleteKeyNoPropagate,
    /// The left entry is gone: forget it, and answer null.
    DeleteKeyAndPropagate,
    /// Answer in any case.
    PropagateNullIfNoForeignValue,
    /// Answer only with a value.
    PropagateOnlyIfForeignValue,
}

/// A left entry's wish for the value of its foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) hash: Hash,
    pub(crate) instruction: Instruction,
    pub(crate) primary_key: Bytes,
    /// Partition of the left entry, to answer to; version 0 does not know it.
    pub(crate) primary_partition: Option<i32>,
}

/// The right side's answer.
#[derive(Clone, Debug)]
pub(crate) struct Response<T> {
    pub(crate) hash: Hash,
    pub(crate) foreign_value: Arc<Option<T>>,
    /// Where it goes; not part of its bytes.
    pub(crate) primary_partition: Option<i32>,
}

impl Serde for Subscription {
    fn encode(&self, _: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        let version = u8::from(self.primary_partition.is_some());
        out.put_u8(version | if self.hash.is_none() { NO_HASH } else { 0 });
        out.put_u8(match self.instruction {
            Instruction::DeleteKeyNoPropagate => 0,
            Instruction::DeleteKeyAndPropagate => 1,
            Instruction::PropagateNullIfNoForeignValue => 2,
            Instruction::PropagateOnlyIfForeignValue => 3,
        });
        out.put_slice(self.hash.as_ref().map_or(&[], <[u8; 16]>::as_slice));
        out.put_slice(&self.primary_key);
        if let Some(partition) = self.primary_partition {
            out.put_i32(partition);
        }
        Ok(())
    }

    fn decode(_: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        let mut bytes = bytes.clone();
        let first = bytes.try_get_u8().map_err(|_| short())?;
        let instruction = match bytes.try_get_u8().map_err(|_| short())? {
            0 => Instruction::DeleteKeyNoPropagate,
            1 => Instruction::DeleteKeyAndPropagate,
            2 => Instruction::PropagateNullIfNoForeignValue,
            3 => Instruction::PropagateOnlyIfForeignValue,
            other => {
                return Err(SerdeError::new(format!(
                    "a subscription with the unknown instruction {other}"
                )));
            }
        };
        let hash = take_hash(first, &mut bytes)?;
        let primary_partition = match first & !NO_HASH {
            0 => None,
            1 if bytes.len() >= 4 => {
                let mut partition = bytes.split_off(bytes.len() - 4);
                Some(partition.get_i32())
            }
            1 => return Err(short()),
            other => {
                return Err(SerdeError::new(format!(
                    "a subscription of version {other}, but this side knows 0 and 1"
                )));
            }
        };
        Ok(Self {
            hash,
            instruction,
            primary_key: bytes,
            primary_partition,
        })
    }
}

impl<T: Serde> Serde for Response<T> {
    fn encode(&self, context: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        out.put_u8(if self.hash.is_none() { NO_HASH } else { 0 });
        out.put_slice(self.hash.as_ref().map_or(&[], <[u8; 16]>::as_slice));
        match self.foreign_value.as_ref() {
            Some(value) => value.encode(context, out),
            None => Ok(()),
        }
    }

    fn decode(context: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        let mut bytes = bytes.clone();
        let first = bytes.try_get_u8().map_err(|_| short())?;
        if first & !NO_HASH != 0 {
            return Err(SerdeError::new(format!(
                "a response of version {}, but this side knows only 0",
                first & !NO_HASH
            )));
        }
        let hash = take_hash(first, &mut bytes)?;
        let foreign_value = match bytes.is_empty() {
            true => None,
            false => Some(T::decode(context, &bytes)?),
        };
        Ok(Self {
            hash,
            foreign_value: Arc::new(foreign_value),
            primary_partition: None,
        })
    }
}

/// What all subscriptions to a foreign key begin with in their store.
pub(crate) fn store_prefix(foreign_key: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(4 + foreign_key.len());
    // A record's key is at most as long as a record, whose length is an i32.
    prefix.put_u32(u32::try_from(foreign_key.len()).unwrap_or(u32::MAX));
    prefix.put_slice(foreign_key);
    prefix
}

fn take_hash(first: u8, bytes: &mut Bytes) -> Result<Hash, SerdeError> {
    if first & NO_HASH != 0 {
        return Ok(None);
    }
    if bytes.len() < 16 {
        return Err(short());
    }
    let mut hash = [0; 16];
    bytes.copy_to_slice(&mut hash);
    Ok(Some(hash))
}

fn short() -> SerdeError {
    SerdeError::new("a message of a foreign-key join that ends too early")
}

/// Set in the first byte when there is no hash.
const NO_HASH: u8 = 0x80;
