//! Source `file`: the lines of files that grow.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::FileSourceSpec;
use super::tail::{
    Batch, FileId, Line, Now, Progress, Source as LineSource, TailSettings, Watcher,
};
use crate::config::connector::ReadFrom;
use crate::runtime::error::ConnectError;
use crate::runtime::source::{OffsetEntry, PositionTag, Source, SourceBatch, SourceRecord, Stored};

/// Reads lines on a thread for blocking work.
#[derive(Debug)]
pub(crate) struct FileSource {
    settings: TailSettings,
    poll_interval: Duration,
    /// The field `host`, if records have it.
    host: Option<Arc<str>>,
    watcher: Option<Watcher>,
    idle: bool,
}

impl FileSource {
    pub(crate) fn new(spec: &FileSourceSpec, host: &Arc<str>) -> Self {
        let settings = TailSettings {
            include: spec.include.clone(),
            exclude: spec.exclude.clone(),
            skip_existing: spec.read_from == ReadFrom::End,
            rotate_wait: spec.rotate_wait,
            discovery_interval: spec.poll_interval.max(DISCOVERY_INTERVAL),
            max_line_bytes: spec.max_line_bytes,
        };
        Self {
            settings,
            poll_interval: spec.poll_interval,
            host: spec.host.then(|| host.clone()),
            watcher: None,
            idle: false,
        }
    }

    fn record(&self, source: &LineSource, line: Line, timestamp: i64) -> SourceRecord {
        let mut value = Map::new();
        value.insert(
            "line".to_owned(),
            Value::from(String::from_utf8_lossy(&line.content)),
        );
        value.insert("path".to_owned(), Value::from(source.path.as_str()));
        if let Some(host) = &self.host {
            value.insert("host".to_owned(), Value::from(&**host));
        }
        if line.cut {
            value.insert("truncated".to_owned(), Value::from(true));
        }
        let tag = PositionTag {
            part: source.tag.clone(),
            position: line.end,
            check: check(&line.content),
        };
        SourceRecord {
            timestamp,
            default_key: Some(source.path.clone()),
            value: Value::Object(value),
            raw: Some(line.content),
            tag: Some(tag),
        }
    }
}

impl Source for FileSource {
    fn restore(&mut self, stored: Stored) -> Result<(), ConnectError> {
        let known = stored.entries.iter().filter_map(|(key, value)| {
            Some((FileId::from_json(key)?, Progress::from_json(value)?))
        });
        self.watcher = Some(Watcher::new(
            self.settings.clone(),
            known.collect(),
            stored.first_start,
        ));
        Ok(())
    }

    async fn poll(&mut self) -> Result<SourceBatch, ConnectError> {
        if self.idle {
            tokio::time::sleep(self.poll_interval).await;
        }
        let lost = || ConnectError::State("the file watcher is gone".to_owned());
        let mut watcher = self.watcher.take().ok_or_else(lost)?;
        let look = tokio::task::spawn_blocking(move || {
            let batch = watcher.poll(Now::read());
            (watcher, batch)
        });
        let (watcher, batch) = look.await.map_err(|_| lost())?;
        self.watcher = Some(watcher);
        self.idle = batch.lines.is_empty();
        let Batch {
            lines,
            before,
            after,
        } = batch;
        let timestamp = Now::read().wall_clock_ms;
        let records = lines
            .into_iter()
            .map(|(source, line)| self.record(&source, line, timestamp))
            .collect();
        Ok(SourceBatch {
            records,
            before: entries(before),
            after: entries(after),
            finished: false,
        })
    }
}

fn entries(progress: Vec<(FileId, Option<Progress>)>) -> Vec<OffsetEntry> {
    let entry = |(id, progress): (FileId, Option<Progress>)| OffsetEntry {
        key: id.to_json(),
        value: progress.map(|progress| progress.to_json()),
    };
    progress.into_iter().map(entry).collect()
}

/// FNV-1a with 32 bits.
fn check(content: &Bytes) -> u32 {
    content.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// A new file is found within this time.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(1);
