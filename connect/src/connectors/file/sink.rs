//! Sink `file`: a line for each record, none lost and none twice.
//!
//! The metadata of each commit says how long the file was when the records below the committed
//! offsets were in it:
//!
//! ```text
//! {"v":1,"device":66306,"inode":7,"length":8120,"anchor":[256,"90f1.."]}
//! ```
//!
//! A start cuts the file back to that length and reads on from the offsets, so what a killed
//! process had written beyond them is written again, once. The file is cut only if it is the same
//! one (device, inode, the bytes before that length); to any other file lines are appended.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moldau_client::TopicPartition;
use serde_json::{Value, json};
use tracing::warn;

use super::tail::{ANCHOR_BYTES, FileId, Print};
use super::{FileSinkSpec, Fsync};
use crate::runtime::cluster::{Committed, Reader};
use crate::runtime::error::ConnectError;
use crate::runtime::sink::{Lines, Sink};
use crate::runtime::status::StatusBoard;

/// Appends lines and commits how far they reach.
#[derive(Debug)]
pub(crate) struct FileSink {
    path: PathBuf,
    fsync: Fsync,
    commit_interval: Duration,
    status: Arc<StatusBoard>,
    open: Option<OpenFile>,
    /// Next offset of each partition that is in the file.
    offsets: BTreeMap<TopicPartition, i64>,
    /// Since when something is not committed.
    dirty_since: Option<Instant>,
    /// Written and not committed: records and bytes, for the status.
    uncommitted: (u64, u64),
}

/// The file as it is now.
#[derive(Debug, Clone)]
struct OpenFile {
    file: Arc<File>,
    mark: Mark,
}

/// A length of a certain file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    id: FileId,
    length: u64,
    anchor: Print,
}

impl FileSink {
    pub(crate) fn new(spec: &FileSinkSpec, status: Arc<StatusBoard>) -> Self {
        Self {
            path: spec.path.clone(),
            fsync: spec.fsync,
            commit_interval: spec.commit_interval,
            status,
            open: None,
            offsets: BTreeMap::new(),
            dirty_since: None,
            uncommitted: (0, 0),
        }
    }

    /// Runs file work on a thread for it.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ConnectError> {
        let path = self.path.clone();
        let result = tokio::task::spawn_blocking(move || work(&path)).await;
        let result = result.map_err(io::Error::other).and_then(|result| result);
        result.map_err(|source| {
            let object = self.path.display().to_string();
            ConnectError::File {
                action,
                object,
                source,
            }
        })
    }

    async fn open(&mut self, marks: Vec<Mark>) -> Result<(), ConnectError> {
        self.open = Some(
            self.blocking("open", move |path| open(path, &marks))
                .await?,
        );
        Ok(())
    }

    async fn commit(&mut self, reader: &mut impl Reader) -> Result<(), ConnectError> {
        let Some(open) = self.open.clone() else {
            return Ok(());
        };
        let sync = self.fsync == Fsync::Commit && self.dirty_since.is_some();
        let (mark, moved) = self
            .blocking("write", move |path| {
                if sync {
                    open.file.sync_data()?;
                }
                let mark = Mark::of(&open.file)?;
                // Somebody may have renamed the file, as logrotate does.
                let moved = std::fs::metadata(path).map_or(true, |m| FileId::of(&m) != mark.id);
                Ok((mark, moved))
            })
            .await?;
        self.commit_mark(reader, mark).await?;
        if moved {
            self.open(Vec::new()).await?;
            if let Some(open) = &self.open {
                let mark = open.mark;
                self.commit_mark(reader, mark).await?;
            }
        }
        Ok(())
    }

    /// Commits all partitions in one piece, since they share the file.
    async fn commit_mark(
        &mut self,
        reader: &mut impl Reader,
        mark: Mark,
    ) -> Result<(), ConnectError> {
        let metadata = mark.to_json().to_string();
        let commit = |(partition, offset): (&TopicPartition, &i64)| {
            (
                partition.clone(),
                Committed {
                    offset: *offset,
                    metadata: metadata.clone(),
                },
            )
        };
        reader
            .commit(self.offsets.iter().map(commit).collect())
            .await?;
        let (records, bytes) = std::mem::take(&mut self.uncommitted);
        self.dirty_since = None;
        if records > 0 {
            self.status.done(records, bytes);
        }
        Ok(())
    }
}

impl Sink for FileSink {
    async fn assigned(
        &mut self,
        reader: &mut impl Reader,
        partitions: Vec<(TopicPartition, Committed)>,
    ) -> Result<(), ConnectError> {
        let marks = partitions
            .iter()
            .filter_map(|(_, start)| Mark::from_json(&start.metadata));
        if self.open.is_none() {
            self.open(marks.collect()).await?;
        }
        self.offsets.extend(
            partitions
                .into_iter()
                .map(|(partition, start)| (partition, start.offset)),
        );
        // Before the first line, so that a start after a kill knows where to cut.
        self.commit(reader).await
    }

    async fn revoked(
        &mut self,
        reader: &mut impl Reader,
        partitions: &[TopicPartition],
    ) -> Result<(), ConnectError> {
        self.commit(reader).await?;
        self.offsets
            .retain(|partition, _| !partitions.contains(partition));
        Ok(())
    }

    async fn write(
        &mut self,
        _reader: &mut impl Reader,
        partition: &TopicPartition,
        lines: Lines,
    ) -> Result<(), ConnectError> {
        let (Some(open), Some(last)) = (&self.open, lines.entries.last()) else {
            return Ok(());
        };
        let next = last.offset + 1;
        self.uncommitted.0 += lines.count();
        self.uncommitted.1 += lines.bytes.len() as u64;
        let file = open.file.clone();
        self.blocking("write", move |_| (&*file).write_all(&lines.bytes))
            .await?;
        self.offsets.insert(partition.clone(), next);
        self.dirty_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    async fn tick(&mut self, reader: &mut impl Reader) -> Result<(), ConnectError> {
        if self
            .deadline()
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            self.commit(reader).await?;
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.dirty_since.map(|since| since + self.commit_interval)
    }

    async fn close(&mut self, reader: &mut impl Reader) -> Result<(), ConnectError> {
        if self.dirty_since.is_some() {
            self.commit(reader).await?;
        }
        Ok(())
    }
}

impl Mark {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let length = metadata.len();
        let anchor_length = length.min(ANCHOR_BYTES as u64);
        let anchor = Print::of_piece(file, length - anchor_length, anchor_length)?;
        Ok(Self {
            id: FileId::of(&metadata),
            length,
            anchor,
        })
    }

    fn to_json(self) -> Value {
        let Self { id, length, anchor } = self;
        let mut value = id.to_json();
        value["v"] = Value::from(1);
        value["length"] = Value::from(length);
        value["anchor"] = json!([anchor.length, format!("{:016x}", anchor.hash)]);
        value
    }

    fn from_json(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let anchor = value.get("anchor")?;
        let hash = u64::from_str_radix(anchor.get(1)?.as_str()?, 16).ok()?;
        let anchor = Print {
            length: anchor.get(0)?.as_u64()?,
            hash,
        };
        let length = value.get("length")?.as_u64()?;
        (anchor.length <= length).then_some(Self {
            id: FileId::from_json(&value)?,
            length,
            anchor,
        })
    }
}

/// Opens or creates the file and cuts it back to the longest mark that is about it.
fn open(path: &Path, marks: &[Mark]) -> io::Result<OpenFile> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(path)?;
    let metadata = file.metadata()?;
    let (id, length) = (FileId::of(&metadata), metadata.len());
    let mark = marks
        .iter()
        .filter(|mark| mark.id == id)
        .max_by_key(|mark| mark.length);
    if let Some(mark) = mark {
        if mark.length <= length
            && mark
                .anchor
                .matches(&file, mark.length - mark.anchor.length)?
        {
            file.set_len(mark.length)?;
        } else {
            warn!(path = %path.display(), "the file was changed by somebody else, lines are appended to it");
        }
    }
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        // The name of a new file is on disk with its folder.
        File::open(folder)?.sync_all()?;
    }
    let mark = Mark::of(&file)?;
    Ok(OpenFile {
        file: Arc::new(file),
        mark,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_back_to_its_mark_and_no_other_file_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/out.jsonl");
        let open_file = open(&path, &[]).expect("created");
        (&*open_file.file).write_all(b"one\ntwo\n").expect("write");
        let mark = Mark::of(&open_file.file).expect("a mark");
        (&*open_file.file).write_all(b"three\n").expect("write");
        let mark = Mark::from_json(&mark.to_json().to_string()).expect("the same mark");

        let again = open(&path, &[mark]).expect("opened");
        assert_eq!(std::fs::read(&path).expect("read"), b"one\ntwo\n");
        (&*again.file).write_all(b"3\n").expect("write");

        let other = Mark {
            anchor: Print::of(b"xx"),
            ..mark
        };
        open(&path, &[other]).expect("opened");
        assert_eq!(std::fs::read(&path).expect("read"), b"one\ntwo\n3\n");
        let other = Mark {
            id: FileId {
                inode: 1,
                device: 1,
            },
            ..mark
        };
        open(&path, &[other]).expect("opened");
        assert_eq!(std::fs::read(&path).expect("read"), b"one\ntwo\n3\n");
    }

    #[test]
    fn metadata_of_somebody_else_is_no_mark() {
        for text in ["", "{}", "{\"v\":1,\"cuts\":[]}", "nonsense"] {
            assert_eq!(Mark::from_json(text), None);
        }
    }
}
