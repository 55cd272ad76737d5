//! The catalog topic: one partition, compacted, replayed at start.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use moldau_client::admin::NewTopic;
use moldau_client::{Client, Producer, ProducerConfig, ProducerRecord, Record};
use tracing::warn;

use crate::catalog::Catalog;
use crate::catalog::record::{QueryRecord, SourceRecord};
use crate::catalog::source::Source;
use crate::error::SqlError;
use crate::scan::{RangeReader, pin};

/// Writes the catalog. There is one writer at a time: the engine holds it behind a lock.
#[derive(Debug)]
pub(super) struct CatalogLog {
    topic: String,
    producer: Producer,
    next_offset: i64,
}

/// One change of the catalog.
#[derive(Debug, Clone)]
pub(super) enum Change {
    PutSource(Arc<Source>),
    PutQuery(Arc<QueryRecord>),
    RemoveSource(String),
    RemoveQuery(String),
}

impl CatalogLog {
    /// Makes the topic if it is missing, and reads all of it.
    pub(super) async fn open(client: &Client, topic: &str) -> Result<(Self, Catalog), SqlError> {
        let new = NewTopic::new(topic, 1).config("cleanup.policy", "compact");
        client.admin().ensure_topic(new).await?;
        let ranges = pin(client, topic).await?.unwrap_or_default();
        let mut latest: BTreeMap<Bytes, Record> = BTreeMap::new();
        let mut next_offset = 0;
        for range in ranges {
            next_offset = range.end;
            let mut reader = RangeReader::new(client, topic, range)?;
            while let Some(records) = reader.next().await? {
                for record in records {
                    if let Some(key) = record.key.clone() {
                        latest.insert(key, record);
                    }
                }
            }
        }
        let mut catalog = Catalog::default();
        for (key, record) in &latest {
            if let Some(value) = &record.value {
                replay(key, value, &mut catalog);
            }
        }
        let producer = client.producer(ProducerConfig {
            linger_ms: 0,
            ..ProducerConfig::default()
        });
        let log = Self {
            topic: topic.to_owned(),
            producer,
            next_offset,
        };
        Ok((log, catalog))
    }

    /// A number that no earlier object has in its id.
    pub(super) fn next_number(&self) -> i64 {
        self.next_offset
    }

    /// Appends changes and waits until they are stored.
    pub(super) async fn append(&mut self, changes: &[Change]) -> Result<(), SqlError> {
        let mut deliveries = Vec::with_capacity(changes.len());
        for change in changes {
            let (key, value) = encode(change)?;
            let record = ProducerRecord::new(self.topic.clone(), Some(key), value);
            deliveries.push(self.producer.send(record).await?);
        }
        for delivery in deliveries {
            let stored = delivery.await?;
            self.next_offset = self.next_offset.max(stored.offset + 1);
        }
        Ok(())
    }

    pub(super) async fn close(self) {
        self.producer.close().await;
    }
}

impl Change {
    /// Makes the change in memory.
    pub(super) fn apply(&self, catalog: &mut Catalog) {
        match self {
            Self::PutSource(source) => {
                let source = Arc::clone(source);
                catalog.sources.insert(source.name.clone(), source);
            }
            Self::PutQuery(query) => {
                let query = Arc::clone(query);
                catalog.queries.insert(query.id.clone(), query);
            }
            Self::RemoveSource(name) => {
                catalog.sources.remove(name);
            }
            Self::RemoveQuery(id) => {
                catalog.queries.remove(id);
            }
        }
    }
}

fn encode(change: &Change) -> Result<(Bytes, Option<Bytes>), SqlError> {
    let json = |value: Result<Vec<u8>, serde_json::Error>| match value {
        Ok(bytes) => Ok(Some(Bytes::from(bytes))),
        Err(error) => Err(SqlError::internal(format!("catalog record: {error}"))),
    };
    let (key, value) = match change {
        Change::PutSource(source) => (
            format!("source/{}", source.name),
            json(serde_json::to_vec(&SourceRecord::new(source)))?,
        ),
        Change::PutQuery(query) => (
            format!("query/{}", query.id),
            json(serde_json::to_vec(query.as_ref()))?,
        ),
        Change::RemoveSource(name) => (format!("source/{name}"), None),
        Change::RemoveQuery(id) => (format!("query/{id}"), None),
    };
    Ok((Bytes::from(key), value))
}

/// Adds one object. Records that we do not understand stay in the topic for those who do.
fn replay(key: &[u8], value: &[u8], catalog: &mut Catalog) {
    let key = String::from_utf8_lossy(key);
    if key.starts_with("source/") {
        let source = serde_json::from_slice::<SourceRecord>(value)
            .map_err(|error| SqlError::internal(error.to_string()))
            .and_then(SourceRecord::into_source);
        match source {
            Ok(source) => Change::PutSource(Arc::new(source)).apply(catalog),
            Err(error) => warn!(%key, %error, "catalog record left out"),
        }
    } else if key.starts_with("query/") {
        match serde_json::from_slice::<QueryRecord>(value) {
            Ok(query) => Change::PutQuery(Arc::new(query)).apply(catalog),
            Err(error) => warn!(%key, %error, "catalog record left out"),
        }
    }
}
