//! The bytes of a table's change in a repartition topic, as Kafka Streams 4.3 writes them:
//!
//! ```text
//! {old}{0}                              only an old value
//! {new}{1}                              only a new value
//! {length of new: varint}{new}{old}{2}  both (KIP-904)
//! ```
//!
//! With 3, 4 and 5 instead of 0, 1 and 2, a byte that says whether the change is the latest one
//! of its key comes before the last one.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::operators::table::Change;
use super::serde::{Serde, SerdeContext, SerdeError};

impl<V: Serde> Serde for Change<V> {
    fn encode(&self, context: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        match (self.new_value(), self.old_value()) {
            (None, None) => Err(SerdeError::new("a change from nothing to nothing")),
            (None, Some(old)) => {
                old.encode(context, out)?;
                out.put_u8(ONLY_OLD);
                Ok(())
            }
            (Some(new), None) => {
                new.encode(context, out)?;
                out.put_u8(ONLY_NEW);
                Ok(())
            }
            (Some(new), Some(old)) => {
                let mut bytes = BytesMut::new();
                new.encode(context, &mut bytes)?;
                put_varint(out, bytes.len())?;
                out.put_slice(&bytes);
                old.encode(context, out)?;
                out.put_u8(BOTH);
                Ok(())
            }
        }
    }

    fn decode(context: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        let mut bytes = bytes.clone();
        let mut flag = take_last(&mut bytes)?;
        let mut is_latest = true;
        if (WITH_LATEST..=WITH_LATEST + BOTH).contains(&flag) {
            flag -= WITH_LATEST;
            is_latest = take_last(&mut bytes)? != 0;
        }
        let value = |bytes: &Bytes| Ok(Some(V::decode(context, bytes)?));
        let (new, old) = match flag {
            ONLY_OLD => (None, value(&bytes)?),
            ONLY_NEW => (value(&bytes)?, None),
            BOTH => {
                let length = take_varint(&mut bytes)?;
                if length > bytes.len() {
                    return Err(SerdeError::new(format!(
                        "a change whose new value has {length} bytes, but there are {}",
                        bytes.len()
                    )));
                }
                let new = bytes.split_to(length);
                (value(&new)?, value(&bytes)?)
            }
            other => {
                return Err(SerdeError::new(format!(
                    "a change with the unknown kind {other}"
                )));
            }
        };
        Ok(Self {
            new: Arc::new(new),
            old: Some(Arc::new(old)),
            is_latest,
        })
    }
}

fn take_last(bytes: &mut Bytes) -> Result<u8, SerdeError> {
    match bytes.last().copied() {
        Some(last) => {
            bytes.truncate(bytes.len() - 1);
            Ok(last)
        }
        None => Err(SerdeError::new("a change without bytes")),
    }
}

/// A length as Kafka writes signed varints: doubled (zigzag), seven bits a byte.
fn put_varint(out: &mut BytesMut, length: usize) -> Result<(), SerdeError> {
    let length = i32::try_from(length)
        .map_err(|_| SerdeError::new(format!("a value of {length} bytes is too large")))?;
    let mut rest = length.unsigned_abs() << 1;
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8((rest & 0x7f) as u8);
    Ok(())
}

fn take_varint(bytes: &mut Bytes) -> Result<usize, SerdeError> {
    let mut value = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        if !bytes.has_remaining() {
            break;
        }
        let byte = bytes.get_u8();
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            // An odd one is negative, which no length is.
            return match value & 1 {
                0 => Ok((value >> 1) as usize),
                _ => Err(SerdeError::new("a change with a negative length")),
            };
        }
    }
    Err(SerdeError::new("a change whose length has no end"))
}

const ONLY_OLD: u8 = 0;
const ONLY_NEW: u8 = 1;
const BOTH: u8 = 2;
/// Added to the kind when a byte before it says whether the change is the latest.
const WITH_LATEST: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn change(new: Option<&str>, old: Option<&str>) -> Change<String> {
        Change {
            new: Arc::new(new.map(str::to_owned)),
            old: Some(Arc::new(old.map(str::to_owned))),
            is_latest: true,
        }
    }

    fn check(new: Option<&str>, old: Option<&str>, expected: &[u8]) {
        let context = SerdeContext::value("t");
        let mut out = BytesMut::new();
        let written = change(new, old);
        written.encode(&context, &mut out).expect("encode");
        assert_eq!(out.as_ref(), expected);
        let read = Change::<String>::decode(&context, &out.freeze()).expect("decode");
        assert_eq!((&read.new, &read.old), (&written.new, &written.old));
    }

    #[test]
    fn changes_have_kafka_streams_bytes() {
        check(None, Some("ab"), b"ab\x00");
        check(Some("ab"), None, b"ab\x01");
        check(Some("abc"), Some("d"), b"\x06abcd\x02");
        let long = "x".repeat(100);
        let mut expected = vec![0xc8, 0x01];
        expected.extend_from_slice(long.as_bytes());
        expected.extend_from_slice(b"d\x02");
        check(Some(&long), Some("d"), &expected);
    }

    #[test]
    fn broken_changes_are_refused() {
        let context = SerdeContext::value("t");
        for bytes in [
            b"".as_slice(),
            b"a\x09",
            b"\x7fa\x02",
            b"\xff\xff\x02",
            b"\x01\x02",
        ] {
            let bytes = Bytes::copy_from_slice(bytes);
            assert!(Change::<String>::decode(&context, &bytes).is_err());
        }
    }
}
