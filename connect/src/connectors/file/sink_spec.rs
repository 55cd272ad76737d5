//! The settings of sink `file`.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::reader::{Keys, Reader};
use crate::config::tree::Node;
use crate::formats::LineFormat;

/// Where the lines go, and when they count as written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FileSinkSpec {
    pub(crate) path: PathBuf,
    pub(crate) fsync: Fsync,
    /// Longest time between a line and the commit of its offset.
    pub(crate) commit_interval: Duration,
    pub(crate) format: LineFormat,
}

/// When the file is forced to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fsync {
    /// Before each commit of offsets: lines survive a power failure.
    Commit,
    /// Left to the operating system: lines survive the end of the process only.
    Never,
}

impl FileSinkSpec {
    pub(crate) fn read(reader: &mut Reader<'_, '_>, node: &Node) -> Self {
        let fields = reader.fields(node, "sink `file`", KEYS);
        let path = reader.required_text(&fields, "path", "path: ${data_dir}/alerts.jsonl");
        let choices = [("commit", Fsync::Commit), ("never", Fsync::Never)];
        let fsync = reader.one_of(&fields, "fsync", &choices);
        let range = Duration::from_millis(10)..=Duration::from_secs(600);
        let commit_interval = reader.duration(&fields, "commit_interval", range);
        Self {
            path: PathBuf::from(path),
            fsync: fsync.unwrap_or(Fsync::Commit),
            commit_interval: commit_interval.unwrap_or(DEFAULT_COMMIT_INTERVAL),
            format: LineFormat::read(reader, &fields),
        }
    }
}

const DEFAULT_COMMIT_INTERVAL: Duration = Duration::from_secs(1);
const KEYS: Keys = Keys {
    known: &["path", "fsync", "commit_interval", "envelope"],
    aliases: &[
        ("file", "`path`"),
        ("offset.flush.interval.ms", "`commit_interval`"),
        ("topics", "`topics` beside `sink`"),
    ],
    later: &["format", "compression", "rotate"],
};
