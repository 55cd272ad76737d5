//! What a suppression buffer holds, in Kafka Streams' changelog format (version 3).
//!
//! `context | prior value | old value | new value | buffer time (8 bytes)`. A value is its length
//! (4 bytes, -1 for null) and its bytes; the old value's length is -2 if it equals the prior one.
//! The context is that of the record that changed the entry last: `timestamp (8) | offset (8) |
//! topic | partition (4) | number of headers (4)`, then for each header its key and its value,
//! texts and values with their lengths before them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use moldau_client::{KString, RecordHeader};

use super::node::{Cx, Meta};

/// An entry of a suppression buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BufferValue {
    /// Time from which on it waits; that of its first update.
    pub(crate) time: i64,
    pub(crate) context: RecordContext,
    /// The value before the first update that is held back.
    pub(crate) prior: Option<Bytes>,
    /// The value before the last update.
    pub(crate) old: Option<Bytes>,
    pub(crate) new: Option<Bytes>,
}

/// Where a record comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordContext {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
    pub(crate) topic: KString,
    pub(crate) partition: i32,
    pub(crate) headers: Vec<RecordHeader>,
}

impl RecordContext {
    /// Where the record at work comes from.
    pub(crate) fn at_work(cx: &Cx<'_, '_>, meta: &Meta<'_>) -> Self {
        let origin = cx.state.origin_offset;
        Self {
            timestamp: meta.timestamp,
            offset: meta.record.map_or(origin, |record| record.offset),
            topic: cx.state.origin_topic.clone(),
            partition: cx.task.partition(),
            headers: meta.headers.to_vec(),
        }
    }
}

impl BufferValue {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.size(0));
        self.context.put(&mut out);
        put_bytes(&mut out, self.prior.as_deref());
        if self.old.is_some() && self.old == self.prior {
            out.put_i32(SAME_AS_PRIOR);
        } else {
            put_bytes(&mut out, self.old.as_deref());
        }
        put_bytes(&mut out, self.new.as_deref());
        out.put_i64(self.time);
        out.freeze()
    }

    /// `None` if the bytes are no entry.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let mut rest = bytes.clone();
        let context = RecordContext::take(&mut rest)?;
        let prior = take_bytes(&mut rest)?;
        let old = match rest.clone().try_get_i32().ok()? {
            SAME_AS_PRIOR => {
                rest.advance(size_of::<i32>());
                prior.clone()
            }
            _ => take_bytes(&mut rest)?,
        };
        let new = take_bytes(&mut rest)?;
        Some(Self {
            time: rest.try_get_i64().ok()?,
            context,
            prior,
            old,
            new,
        })
    }

    /// Memory that the entry takes, as Kafka Streams reckons it for a buffer's bound.
    pub(crate) fn size(&self, key_bytes: usize) -> usize {
        let length = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        let old = if self.old == self.prior {
            0
        } else {
            length(&self.old)
        };
        let values = length(&self.prior) + old + length(&self.new);
        size_of::<i64>() + key_bytes + values + self.context.size()
    }
}

impl RecordContext {
    fn put(&self, out: &mut BytesMut) {
        out.put_i64(self.timestamp);
        out.put_i64(self.offset);
        put_bytes(out, Some(self.topic.as_bytes()));
        out.put_i32(self.partition);
        out.put_i32(length(self.headers.len()));
        for header in &self.headers {
            put_bytes(out, Some(header.key.as_bytes()));
            put_bytes(out, header.value.as_deref());
        }
    }

    fn take(bytes: &mut Bytes) -> Option<Self> {
        let timestamp = bytes.try_get_i64().ok()?;
        let offset = bytes.try_get_i64().ok()?;
        let topic = KString::from_utf8(take_bytes(bytes)??).ok()?;
        let partition = bytes.try_get_i32().ok()?;
        let count = bytes.try_get_i32().ok()?;
        let mut headers = Vec::new();
        for _ in 0..count {
            headers.push(RecordHeader {
                key: KString::from_utf8(take_bytes(bytes)??).ok()?,
                value: take_bytes(bytes)?,
            });
        }
        Some(Self {
            timestamp,
            offset,
            topic,
            partition,
            headers,
        })
    }

    fn size(&self) -> usize {
        let header = |header: &RecordHeader| {
            let value = header.value.as_ref().map_or(0, Bytes::len);
            header.key.chars().count() + value
        };
        let headers: usize = self.headers.iter().map(header).sum();
        let fixed = size_of::<i64>() * 2 + size_of::<i32>();
        fixed + self.topic.chars().count() + headers
    }
}

fn put_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            out.put_i32(length(bytes.len()));
            out.put_slice(bytes);
        }
        None => out.put_i32(NULL),
    }
}

/// Bytes or null; `None` if there are none of either.
fn take_bytes(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    let length = bytes.try_get_i32().ok()?;
    if length == NULL {
        return Some(None);
    }
    let length = usize::try_from(length).ok()?;
    (length <= bytes.len()).then(|| Some(bytes.split_to(length)))
}

fn length(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

const NULL: i32 = -1;
const SAME_AS_PRIOR: i32 = -2;

#[cfg(test)]
mod tests {
    use super::*;

    fn value(prior: Option<&'static str>, old: Option<&'static str>) -> BufferValue {
        BufferValue {
            time: 7,
            context: RecordContext {
                timestamp: 5,
                offset: 3,
                topic: KString::from("t"),
                partition: 1,
                headers: vec![RecordHeader {
                    key: KString::from("h"),
                    value: None,
                }],
            },
            prior: prior.map(Bytes::from),
            old: old.map(Bytes::from),
            new: Some(Bytes::from("n")),
        }
    }

    #[test]
    fn an_entry_is_context_prior_old_and_new_value_and_time() {
        let bytes = value(Some("p"), None).encode();
        let expected: Vec<u8> = [
            &[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 3][..],
            &[0, 0, 0, 1, b't', 0, 0, 0, 1],
            &[0, 0, 0, 1, 0, 0, 0, 1, b'h', 255, 255, 255, 255],
            &[0, 0, 0, 1, b'p', 255, 255, 255, 255, 0, 0, 0, 1, b'n'],
            &[0, 0, 0, 0, 0, 0, 0, 7],
        ]
        .concat();
        assert_eq!(bytes.as_ref(), expected);
    }

    #[test]
    fn an_old_value_that_equals_the_prior_one_is_written_once() {
        let same = value(Some("p"), Some("p"));
        let other = value(Some("p"), Some("o"));
        assert_eq!(same.encode().len() + 1, other.encode().len());
        for value in [same, other, value(None, None), value(None, Some("o"))] {
            assert_eq!(BufferValue::decode(&value.encode()), Some(value));
        }
    }

    #[test]
    fn broken_bytes_are_no_entry() {
        let bytes = value(Some("p"), Some("o")).encode();
        for end in 0..bytes.len() {
            assert_eq!(BufferValue::decode(&bytes.slice(..end)), None);
        }
    }
}
