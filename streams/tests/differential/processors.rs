//! Processors and transformers of described topologies, as in
//! `tests/clients/java/streams/Processors.java`.

use std::time::Duration;

use moldau_streams::{
    KStream, KTable, ProcessorError, ProcessorRecord, ProcessorSessionStore, ProcessorStore,
    ProcessorStoreSpec, ProcessorVersionedStore, ProcessorWindowStore, SessionWindow, Str,
    StreamsError, TransformContext, ValueContext, ValueProcessor, ValueTransformer,
};

use crate::case::StoreOf;
use crate::functions::{self as apply, Text};

/// Values with a number before them: how many there were of the key, in all, in the record's ten
/// milliseconds, in its session or, in a store of versions, up to its time.
pub(crate) fn numbered(
    stream: &KStream<Text, Text>,
    kind: StoreOf,
    store: &str,
) -> KStream<Text, Text> {
    let spec = match kind {
        StoreOf::KeyValue => ProcessorStoreSpec::key_value::<Text, i64>(store),
        StoreOf::Window => ProcessorStoreSpec::window::<Text, i64>(store, RETENTION),
        StoreOf::Session => ProcessorStoreSpec::session::<Text, i64>(store, RETENTION),
        StoreOf::Versioned => ProcessorStoreSpec::versioned::<Text, i64>(store, RETENTION),
    };
    let store = store.to_owned();
    stream.process_values([spec], move |init| {
        Ok(match kind {
            StoreOf::KeyValue => Numbers::All(init.store(&store)?),
            StoreOf::Window => Numbers::Windows(init.window_store(&store)?),
            StoreOf::Session => Numbers::Sessions(init.session_store(&store)?),
            StoreOf::Versioned => Numbers::Versions(init.versioned_store(&store)?),
        })
    })
}

enum Numbers {
    All(ProcessorStore<Text, i64>),
    Windows(ProcessorWindowStore<Text, i64>),
    Sessions(ProcessorSessionStore<Text, i64>),
    Versions(ProcessorVersionedStore<Text, i64>),
}

impl Numbers {
    fn next(
        &self,
        cx: &mut ValueContext<'_, '_, Text, Text>,
        key: &Text,
        timestamp: i64,
    ) -> Result<i64, StreamsError> {
        Ok(match self {
            Self::All(store) => {
                let number = store.get(cx, key)?.unwrap_or(0) + 1;
                store.put(cx, key, &number)?;
                number
            }
            Self::Windows(store) => {
                let start = timestamp / 10 * 10;
                let number = store.get(cx, key, start)?.unwrap_or(0) + 1;
                store.put(cx, key, start, &number)?;
                number
            }
            Self::Sessions(store) => {
                let mut session = SessionWindow {
                    start: timestamp,
                    end: timestamp,
                };
                let mut number = 1;
                for (found, count) in store.find(cx, key, timestamp - GAP, timestamp + GAP)? {
                    session.start = session.start.min(found.start);
                    session.end = session.end.max(found.end);
                    number += count;
                    store.remove(cx, key, found)?;
                }
                store.put(cx, key, session, &number)?;
                number
            }
            Self::Versions(store) => {
                let before = store.get_as_of(cx, key, timestamp)?;
                let number = before.map_or(0, |(number, _)| number) + 1;
                store.put(cx, key, &number, timestamp)?;
                number
            }
        })
    }
}

impl ValueProcessor<Text, Text> for Numbers {
    type Value = Text;

    fn process(
        &mut self,
        cx: &mut ValueContext<'_, '_, Text, Text>,
        record: ProcessorRecord<'_, Text, Text>,
    ) -> Result<(), ProcessorError> {
        let value = match record.key {
            Some(_) => {
                let number = self.next(cx, record.key, record.timestamp)?;
                let text = format!("{number}{}", apply::shown(record.value));
                apply::value("append:#", &None, &Some(Str::from(text)))
            }
            None => record.value.clone(),
        };
        Ok(cx.forward(&value)?)
    }
}

/// The same as `map_values_with_key`.
pub(crate) fn transformed(table: &KTable<Text, Text>, f: String) -> KTable<Text, Text> {
    table.transform_values([], move |_| Ok(Mapper(f.clone())))
}

struct Mapper(String);

impl ValueTransformer<Text, Text> for Mapper {
    type Value = Text;

    fn transform(
        &mut self,
        _: &mut TransformContext<'_>,
        key: &Text,
        value: Option<&Text>,
    ) -> Result<Option<Text>, ProcessorError> {
        Ok(value.map(|value| apply::value(&self.0, key, value)))
    }
}

const GAP: i64 = 5;
const RETENTION: Duration = Duration::from_secs(3_600);
