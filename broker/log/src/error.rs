//! Why an operation on a log failed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why an operation on a log failed; each variant asks for another reaction.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The log has no such offset: it was deleted, or not written yet.
    #[error(
        "offset {offset} is outside the log, which holds {log_start_offset} to {log_end_offset} (exclusive)"
    )]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: i64,
        /// First offset that can be read.
        log_start_offset: i64,
        /// First offset that is not written yet.
        log_end_offset: i64,
    },
    /// There is no room on the disk; nothing was changed, and the log goes on when there is room
    /// again.
    #[error("no space left to {action} {}: {source}; free space on the disk, nothing was lost", path.display())]
    DiskFull {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the file system.
        source: Arc<io::Error>,
    },
    /// An earlier write or sync failed, so the state of the disk is unknown; reads still work.
    #[error("log {} takes no appends since an earlier error: {failure}; it goes on by itself once the disk works again", directory.display())]
    Failed {
        /// The log's directory.
        directory: PathBuf,
        /// The first error.
        failure: Arc<Failure>,
    },
    /// The bytes of a file are not what was written.
    #[error("{} is corrupt at position {position}: {reason}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where in the file, in bytes.
        position: u64,
        /// What is wrong there, and what can be done.
        reason: String,
    },
    /// The caller's batch does not fit the log; nothing was changed.
    #[error("batch at offset {base_offset} cannot be appended: {reason}")]
    InvalidBatch {
        /// The batch's base offset.
        base_offset: i64,
        /// Why not.
        reason: String,
    },
    /// Another process works on the data directory.
    #[error("data directory {} is in use by another process; stop it, or choose another directory", directory.display())]
    Locked {
        /// The data directory.
        directory: PathBuf,
    },
    /// The directory holds the log of another topic with the same name.
    #[error("{} belongs to topic id {found}, not {expected}; move it away if that topic is gone", directory.display())]
    InconsistentTopicId {
        /// The log's directory.
        directory: PathBuf,
        /// The topic id that the caller gave.
        expected: String,
        /// The topic id on disk.
        found: String,
    },
    /// The file system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the file system.
        source: Arc<io::Error>,
    },
}

/// The error that put a log into its failed state.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}: {source}", path.display())]
pub struct Failure {
    /// What was tried.
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The error of the file system.
    pub source: io::Error,
}

impl LogError {
    pub(crate) fn corrupt(file: &Path, position: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            file: file.to_path_buf(),
            position,
            reason: reason.into(),
        }
    }

    /// Whether the file that was to be opened is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Says what was tried on which file when the file system refuses.
pub(crate) trait IoContext<T> {
    /// `action` reads well before a path: "open", "write".
    fn context(self, action: &'static str, path: &Path) -> Result<T, LogError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, LogError> {
        self.map_err(|source| {
            let full = is_disk_full(&source);
            let (path, source) = (path.to_path_buf(), Arc::new(source));
            if full {
                LogError::DiskFull {
                    action,
                    path,
                    source,
                }
            } else {
                LogError::Io {
                    action,
                    path,
                    source,
                }
            }
        })
    }
}

/// Whether room on the disk would have helped.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
