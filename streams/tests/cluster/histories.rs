//! A program that keeps the history of each key in a versioned store.

use std::sync::Arc;

use moldau_streams::runtime::{
    Application, Record, SourceIndex, SourceTopic, StoreIndex, StoreKind, StoreSpec, StreamsError,
    SubTopology, TaskContext, TaskProgram,
};

/// Puts each record into the store `prices`.
pub(crate) struct Histories;

impl Histories {
    pub(crate) fn application(application_id: &str, topic: &str) -> Application {
        let kind = StoreKind::Versioned {
            history_ms: 3_600_000,
        };
        Application {
            application_id: application_id.to_owned(),
            sub_topologies: vec![SubTopology {
                sources: vec![SourceTopic::stream(topic)],
                copartitioned: Vec::new(),
                repartition_topics: Vec::new(),
                stores: vec![StoreSpec::new(application_id, "prices", kind)],
                program: Arc::new(|_| Ok(Box::new(Self) as Box<dyn TaskProgram>)),
            }],
            global_tables: Vec::new(),
        }
    }
}

impl TaskProgram for Histories {
    fn process(
        &mut self,
        _source: SourceIndex,
        records: &[Record],
        task: &mut TaskContext<'_>,
    ) -> Result<(), StreamsError> {
        for record in records {
            let key = record.key.clone().unwrap_or_default();
            let store = task.versioned_store(StoreIndex(0))?;
            store.put(&key, record.value.as_deref(), record.timestamp)?;
        }
        Ok(())
    }

    fn flush(&mut self, _task: &mut TaskContext<'_>) -> Result<(), StreamsError> {
        Ok(())
    }
}
