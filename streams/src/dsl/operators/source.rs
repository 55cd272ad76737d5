//! Sources: from a topic's bytes to typed keys and values.

use crate::dsl::dead_letter;
use crate::dsl::node::{Children, Cx, Meta, NodeId, SourceNode};
use crate::dsl::on_error::OnError;
use crate::dsl::serde::{RecordPart, Serde, SerdeContext, SerdeError, decode};
use crate::runtime::{Record, StreamsError};

/// Reads records of topics.
pub(crate) struct Source<K, V> {
    pub(crate) id: NodeId,
    pub(crate) on_error: OnError,
    /// Whether values were written by this application, so that those that nobody looks at need
    /// not be decoded to see that they can be.
    pub(crate) trusts_values: bool,
    pub(crate) children: Children<K, V>,
}

impl<K: Serde, V: Serde> SourceNode for Source<K, V> {
    fn process(&mut self, cx: &mut Cx<'_, '_>, record: &Record) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let topic = &cx.state.origin_topic;
        let key = match decode::<K>(&SerdeContext::key(topic), record.key.as_ref()) {
            Ok(key) => key,
            Err(error) => return self.refused(cx, record, RecordPart::Key, &error),
        };
        let meta = Meta {
            timestamp: record.timestamp,
            headers: &record.headers,
            raw_key: record.key.as_ref(),
            raw_value: record.value.as_ref(),
            record: Some(record),
        };
        if self.trusts_values && record.value.is_some() && self.children.ignore_values() {
            return self.children.push_key(cx, &key, &meta);
        }
        let value = match decode::<V>(&SerdeContext::value(topic), record.value.as_ref()) {
            Ok(value) => value,
            Err(error) => return self.refused(cx, record, RecordPart::Value, &error),
        };
        self.children.push(cx, &key, &value, &meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

impl<K, V> Source<K, V> {
    fn refused(
        &self,
        cx: &mut Cx<'_, '_>,
        record: &Record,
        part: RecordPart,
        error: &SerdeError,
    ) -> Result<(), StreamsError> {
        let error = StreamsError::Deserialize {
            topic: cx.state.origin_topic.to_string(),
            partition: record.partition,
            offset: record.offset,
            part: part.name(),
            reason: error.to_string(),
        };
        dead_letter::handle(cx, &self.on_error, Some(record), error)
    }
}
