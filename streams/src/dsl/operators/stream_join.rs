//! Joins of two streams in windows (KIP-633).

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::dsl::data::Data;
use crate::dsl::join_windows::JoinWindows;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::pending_store::decode_value;
use crate::dsl::serde::Serde;
use crate::dsl::value_list;
use crate::runtime::{StoreIndex, StoredValue, StreamsError};

/// Keeps the records of one side, after they have looked for partners themselves.
pub(crate) struct KeepWindow<K, V> {
    pub(crate) id: NodeId,
    pub(crate) store: StoreIndex,
    pub(crate) store_name: String,
    pub(crate) children: Children<K, V>,
}

impl<K: Serde, V: Serde> Node<K, V> for KeepWindow<K, V> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        self.children.push(cx, key, value, meta)?;
        cx.state.operator = self.id;
        if key.is_null() {
            return Ok(());
        }
        let raw_key = cx.key_bytes(key, meta, &self.store_name)?;
        if value.is_null() {
            // As in Kafka Streams it is logged and numbered all the same.
            let store = cx.task.window_store(self.store)?;
            return match raw_key {
                Some(raw_key) => store.delete(&raw_key, meta.timestamp, meta.timestamp),
                None => Ok(()),
            };
        }
        let raw_value = cx.value_bytes(value, meta, &self.store_name)?;
        if let (Some(raw_key), Some(raw_value)) = (raw_key, raw_value) {
            let store = cx.task.window_store(self.store)?;
            store.put(&raw_key, meta.timestamp, &raw_value, meta.timestamp)?;
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Makes a value of this side's and the other's; `None` if the join does not want such a pair.
pub(crate) type SideJoiner<This, Other, R> =
    Arc<dyn Fn(Option<&This>, Option<&Other>) -> Option<R> + Send + Sync>;

/// Joins the records of one side with those that the other has kept.
pub(crate) struct JoinSide<K, This, Other, R> {
    pub(crate) id: NodeId,
    pub(crate) is_left: bool,
    /// Whether this side's records without partner are joined with nothing.
    pub(crate) outer: bool,
    pub(crate) windows: JoinWindows,
    pub(crate) other: StoreIndex,
    pub(crate) other_name: String,
    /// Where the [`JoinTime`] lies that both sides share.
    pub(crate) time: StoreIndex,
    /// Records of a left or outer join that have no partner yet, of both sides.
    pub(crate) unmatched: Option<StoreIndex>,
    pub(crate) joiner: SideJoiner<This, Other, R>,
    pub(crate) input: PhantomData<fn(This, Other)>,
    pub(crate) children: Children<K, R>,
}

/// The clock that both sides of a join share.
#[derive(Debug)]
pub(crate) struct JoinTime {
    /// Largest timestamp that either side has seen, -1 after each (re)assignment. A record that
    /// is dropped moves it on all the same.
    stream_time: i64,
    /// Timestamp of the oldest record without partner, about.
    oldest: i64,
    /// Wall-clock time before which records without partner are not looked through again.
    next_emit_at: i64,
}

impl Default for JoinTime {
    fn default() -> Self {
        Self {
            stream_time: -1,
            oldest: i64::MAX,
            next_emit_at: 0,
        }
    }
}

impl<K: Serde, This: Serde, Other: Serde, R: Data> Node<K, This> for JoinSide<K, This, Other, R> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &This,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let time = self.time(cx)?;
        time.stream_time = time.stream_time.max(meta.timestamp);
        let stream_time = time.stream_time;
        if value.is_null() || key.is_null() {
            if self.outer && !value.is_null() {
                return self.push(cx, key, (Some(value), None), meta);
            }
            cx.task.drop_records(1);
            return Ok(());
        }
        let Some(raw_key) = cx.key_bytes(key, meta, &self.other_name)? else {
            return Ok(());
        };
        if meta.timestamp == stream_time {
            self.emit_unmatched(cx, meta)?;
        }
        let (before_ms, after_ms) = self.reach();
        let from = meta.timestamp.saturating_sub(before_ms).max(0);
        let to = meta.timestamp.saturating_add(after_ms).max(0);
        let partners = cx.task.window_store(self.other)?;
        let partners = partners.fetch(&raw_key, from, to)?;
        let partners: Vec<(Bytes, i64, StoredValue)> = partners.collect::<Result<_, _>>()?;
        for (_, timestamp, partner) in &partners {
            self.matched(cx, &raw_key, *timestamp, meta.timestamp)?;
            let partner = decode_value::<Other>(&self.other_name, &partner.value)?;
            let meta = Meta {
                timestamp: meta.timestamp.max(*timestamp),
                ..*meta
            };
            self.push(cx, key, (Some(value), Some(&partner)), &meta)?;
        }
        if !self.outer || !partners.is_empty() {
            return Ok(());
        }
        if to < stream_time {
            // Too late to wait: grace is not for records that come late themselves.
            return self.push(cx, key, (Some(value), None), meta);
        }
        let time = self.time(cx)?;
        time.oldest = time.oldest.min(meta.timestamp);
        self.wait(cx, &raw_key, value, meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

impl<K: Serde, This: Serde, Other: Serde, R: Data> JoinSide<K, This, Other, R> {
    fn time<'a>(&self, cx: &'a mut Cx<'_, '_>) -> Result<&'a mut JoinTime, StreamsError> {
        Ok(cx.store::<JoinTime>(self.time)?.0)
    }

    /// How much older and younger a partner may be.
    const fn reach(&self) -> (i64, i64) {
        let JoinWindows {
            before_ms,
            after_ms,
            ..
        } = self.windows;
        if self.is_left {
            (before_ms, after_ms)
        } else {
            (after_ms, before_ms)
        }
    }

    fn push(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        (this, other): (Option<&This>, Option<&Other>),
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        match (self.joiner)(this, other) {
            Some(joined) => self.children.push(cx, key, &joined, &meta.new_value()),
            None => Ok(()),
        }
    }

    /// Keeps a record until a partner comes, or its window and grace have passed.
    fn wait(
        &self,
        cx: &mut Cx<'_, '_>,
        raw_key: &Bytes,
        value: &This,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let Some(unmatched) = self.unmatched else {
            return Ok(());
        };
        let Some(raw_value) = cx.value_bytes(value, meta, &self.other_name)? else {
            return Ok(());
        };
        let place = unmatched_key(meta.timestamp, self.is_left, raw_key);
        let mut sided = BytesMut::with_capacity(1 + raw_value.len());
        sided.put_u8(u8::from(self.is_left));
        sided.put_slice(&raw_value);
        let store = cx.task.store(unmatched)?;
        let before = store.get(&place)?.map(|stored| stored.value);
        let list = value_list::append(before.as_ref(), &sided);
        store.put(&place, &list, meta.timestamp)
    }

    /// The other side's record has a partner now, and waits no longer.
    fn matched(
        &self,
        cx: &mut Cx<'_, '_>,
        raw_key: &Bytes,
        timestamp: i64,
        now: i64,
    ) -> Result<(), StreamsError> {
        let Some(unmatched) = self.unmatched else {
            return Ok(());
        };
        let place = unmatched_key(timestamp, !self.is_left, raw_key);
        let store = cx.task.store(unmatched)?;
        if store.get(&place)?.is_some() {
            store.delete(&place, now)?;
        }
        Ok(())
    }

    /// Joins the records whose window and grace have passed without a partner with nothing.
    fn emit_unmatched(&mut self, cx: &mut Cx<'_, '_>, meta: &Meta<'_>) -> Result<(), StreamsError> {
        let Some(unmatched) = self.unmatched else {
            return Ok(());
        };
        let now = cx.task.wall_clock_ms();
        let interval_ms = cx.task.emit_interval_ms();
        let (_, after_ms) = self.reach();
        let open_ms = after_ms.saturating_add(self.windows.grace_ms);
        let time = self.time(cx)?;
        // Wraps around like Kafka Streams' sum: the stores are looked through once a second as
        // long as no record waits that is known of, so that those of before a restart are found.
        if time.oldest.wrapping_add(open_ms) >= time.stream_time || now < time.next_emit_at {
            return Ok(());
        }
        time.next_emit_at = now.saturating_add(interval_ms);
        let stream_time = time.stream_time;
        let (passed, oldest) = self.passed(cx, unmatched, stream_time)?;
        self.time(cx)?.oldest = oldest;
        for Unmatched { place, list } in passed {
            let Some((timestamp, is_left, raw_key)) = split_unmatched_key(&place) else {
                return Err(self.broken("key"));
            };
            let key = super::table::key_of::<K>(&raw_key).map_err(|_| self.broken("key"))?;
            let joined = Meta {
                timestamp,
                raw_key: Some(&raw_key),
                ..*meta
            };
            for sided in value_list::split(&list).ok_or_else(|| self.broken("value"))? {
                let Some(raw_value) = sided.get(1..).map(|_| sided.slice(1..)) else {
                    return Err(self.broken("value"));
                };
                if is_left == self.is_left {
                    let value = decode_value::<This>(&self.other_name, &raw_value)?;
                    self.push(cx, &key, (Some(&value), None), &joined)?;
                } else {
                    let value = decode_value::<Other>(&self.other_name, &raw_value)?;
                    self.push(cx, &key, (None, Some(&value)), &joined)?;
                }
            }
            cx.task.store(unmatched)?.delete(&place, meta.timestamp)?;
        }
        Ok(())
    }

    /// Records whose window and grace have passed, oldest first, and the timestamp at which the
    /// search ended: at the first one of each side that is still open.
    fn passed(
        &self,
        cx: &mut Cx<'_, '_>,
        unmatched: StoreIndex,
        stream_time: i64,
    ) -> Result<(Vec<Unmatched>, i64), StreamsError> {
        let mut passed = Vec::new();
        let mut oldest = i64::MAX;
        let (mut left_is_open, mut right_is_open) = (false, false);
        for entry in cx.task.store(unmatched)?.all()? {
            let (place, stored) = entry?;
            let Some((timestamp, is_left, _)) = split_unmatched_key(&place) else {
                return Err(self.broken("key"));
            };
            oldest = timestamp;
            if left_is_open && right_is_open {
                break;
            }
            let look_ahead_ms = if is_left {
                self.windows.after_ms
            } else {
                self.windows.before_ms
            };
            let open_ms = look_ahead_ms.saturating_add(self.windows.grace_ms);
            if timestamp.saturating_add(open_ms) < stream_time {
                let list = stored.value;
                passed.push(Unmatched { place, list });
            } else {
                left_is_open |= is_left;
                right_is_open |= !is_left;
                // Kafka Streams goes value by value, and so ends at the next one of this list.
                let several = value_list::count(&stored.value).is_some_and(|count| count > 1);
                if left_is_open && right_is_open && several {
                    break;
                }
            }
        }
        Ok((passed, oldest))
    }

    fn broken(&self, part: &str) -> StreamsError {
        StreamsError::Store {
            store: self.other_name.clone(),
            reason: format!("the {part} of a record without partner is broken"),
        }
    }
}

/// Records without partner that have one timestamp, side and key.
struct Unmatched {
    place: Bytes,
    list: Bytes,
}

/// `timestamp (8 bytes) | 1 for left, 0 for right | key`.
fn unmatched_key(timestamp: i64, is_left: bool, raw_key: &[u8]) -> Bytes {
    let mut place = BytesMut::with_capacity(9 + raw_key.len());
    place.put_i64(timestamp);
    place.put_u8(u8::from(is_left));
    place.put_slice(raw_key);
    place.freeze()
}

fn split_unmatched_key(place: &Bytes) -> Option<(i64, bool, Bytes)> {
    let (timestamp, rest) = place.split_first_chunk()?;
    let is_left = *rest.first()? == 1;
    Some((i64::from_be_bytes(*timestamp), is_left, place.slice(9..)))
}
