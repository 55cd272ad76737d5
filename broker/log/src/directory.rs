//! The data directory that holds the logs of all partitions.
//!
//! ```text
//! .lock                               locked while a process works here
//! .kafka_cleanshutdown                {"version":0,"brokerEpoch":-1}; there if all logs were closed
//! meta.properties                     cluster id, node id, directory id: lines of key=value
//! recovery-point-offset-checkpoint    below this offset a log is on the disk   (see `checkpoint`)
//! log-start-offset-checkpoint         first offset that can be read
//! replication-offset-checkpoint       high watermark
//! cleaner-offset-checkpoint           below this offset a log is compacted
//! ```
//!
//! The marker of a clean shutdown is removed as soon as the directory is opened, before any log
//! changes; it counts only if its name was synced after all logs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use moldau_protocol::Uuid;
use tracing::{info, warn};

use crate::checkpoint;
use crate::error::{IoContext, LogError};
use crate::log::LogStart;
use crate::names::{DELETE_DIRECTORY_SUFFIX, TopicPartition};
use crate::partition_metadata;
use crate::storage::{FileStorage, Storage};
use crate::sync::EPOCHS_FILE_NAME;

/// The data directory that holds the logs of all partitions; locked while it is open.
#[derive(Debug)]
pub struct LogDirectory<S: Storage = FileStorage> {
    storage: S,
    path: PathBuf,
    was_clean_shutdown: bool,
    recovery_points: BTreeMap<TopicPartition, i64>,
    log_start_offsets: BTreeMap<TopicPartition, i64>,
    high_watermarks: BTreeMap<TopicPartition, i64>,
    _lock: S::Lock,
}

impl<S: Storage> LogDirectory<S> {
    /// Opens a data directory, which is created if it is missing.
    ///
    /// Reads the checkpoints and removes what deleted topics have left.
    ///
    /// # Errors
    /// - [`LogError::Locked`]: another process works there
    /// - [`LogError::Io`], [`LogError::DiskFull`]: the file system refuses
    pub fn open(storage: S, path: impl Into<PathBuf>) -> Result<Self, LogError> {
        let path = path.into();
        create_directories(&storage, &path)?;
        let lock_path = path.join(LOCK_FILE_NAME);
        let lock = storage.lock(&lock_path).context("lock", &lock_path)?;
        let lock = lock.ok_or_else(|| LogError::Locked {
            directory: path.clone(),
        })?;
        let offsets = |name: &str| read_checkpoint(&storage, &path.join(name));
        let recovery_points = offsets(RECOVERY_POINTS_FILE_NAME)?;
        let log_start_offsets = offsets(LOG_START_OFFSETS_FILE_NAME)?;
        let high_watermarks = offsets(HIGH_WATERMARKS_FILE_NAME)?;
        let was_clean_shutdown = take_marker(&storage, &path)?;
        remove_deleted_logs(&storage, &path)?;
        Ok(Self {
            storage,
            path,
            was_clean_shutdown,
            recovery_points,
            log_start_offsets,
            high_watermarks,
            _lock: lock,
        })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether all logs were closed before, so that none needs to be scanned.
    #[must_use]
    pub const fn was_clean_shutdown(&self) -> bool {
        self.was_clean_shutdown
    }

    /// The partitions that have a directory, ordered.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn partitions(&self) -> Result<Vec<TopicPartition>, LogError> {
        let entries = self.storage.list(&self.path).context("list", &self.path)?;
        let directories = entries.iter().filter(|entry| entry.is_directory);
        let mut partitions: Vec<TopicPartition> = directories
            .filter_map(|entry| entry.name.parse().ok())
            .collect();
        partitions.sort();
        Ok(partitions)
    }

    /// The directory of a partition, whether it is there or not.
    #[must_use]
    pub fn partition_path(&self, partition: &TopicPartition) -> PathBuf {
        self.path.join(partition.to_string())
    }

    /// The id of the topic that a partition's directory belongs to; `None` if it does not say.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn topic_id(&self, partition: &TopicPartition) -> Result<Option<Uuid>, LogError> {
        partition_metadata::read(&self.storage, &self.partition_path(partition))
    }

    /// The newest leader epoch that wrote to a partition; `None` if none did.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn latest_leader_epoch(&self, partition: &TopicPartition) -> Result<Option<i32>, LogError> {
        let path = self.partition_path(partition).join(EPOCHS_FILE_NAME);
        let entries = checkpoint::read_epochs(&self.storage, &path)?.unwrap_or_default();
        Ok(entries.last().map(|entry| entry.epoch))
    }

    /// Gives something in the data directory another name there, durably.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), LogError> {
        self.storage.rename(from, to).context("rename", from)?;
        self.storage
            .sync_directory(&self.path)
            .context("sync directory", &self.path)
    }

    /// What the checkpoints, as they were when the directory was opened, say of a log.
    #[must_use]
    pub fn log_start(&self, partition: &TopicPartition) -> LogStart {
        let of =
            |offsets: &BTreeMap<TopicPartition, i64>| offsets.get(partition).copied().unwrap_or(0);
        LogStart {
            clean_shutdown: self.was_clean_shutdown,
            recovery_point: of(&self.recovery_points),
            log_start_offset: of(&self.log_start_offsets),
            ..LogStart::default()
        }
    }

    /// The high watermark of a partition when its checkpoint was written last.
    #[must_use]
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<i64> {
        self.high_watermarks.get(partition).copied()
    }

    /// Replaces the checkpoint of recovery points. Waits for the disk.
    ///
    /// # Errors
    /// The file cannot be written; the old one is still there.
    pub fn write_recovery_points(
        &self,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), LogError> {
        checkpoint::write_offsets(
            &self.storage,
            &self.path.join(RECOVERY_POINTS_FILE_NAME),
            offsets,
        )
    }

    /// Replaces the checkpoint of log start offsets. Waits for the disk.
    ///
    /// # Errors
    /// The file cannot be written; the old one is still there.
    pub fn write_log_start_offsets(
        &self,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), LogError> {
        checkpoint::write_offsets(
            &self.storage,
            &self.path.join(LOG_START_OFFSETS_FILE_NAME),
            offsets,
        )
    }

    /// Replaces the checkpoint of high watermarks. Waits for the disk.
    ///
    /// # Errors
    /// The file cannot be written; the old one is still there.
    pub fn write_high_watermarks(
        &self,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), LogError> {
        checkpoint::write_offsets(
            &self.storage,
            &self.path.join(HIGH_WATERMARKS_FILE_NAME),
            offsets,
        )
    }

    /// How far each log is compacted; see `Compaction`. A damaged file counts as none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn cleaner_offsets(&self) -> Result<BTreeMap<TopicPartition, i64>, LogError> {
        read_checkpoint(&self.storage, &self.path.join(CLEANER_OFFSETS_FILE_NAME))
    }

    /// Replaces the checkpoint of how far each log is compacted. Waits for the disk.
    ///
    /// # Errors
    /// The file cannot be written; the old one is still there.
    pub fn write_cleaner_offsets(
        &self,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), LogError> {
        checkpoint::write_offsets(
            &self.storage,
            &self.path.join(CLEANER_OFFSETS_FILE_NAME),
            offsets,
        )
    }

    /// Reads `meta.properties`; `None` if the directory is new.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_properties(&self) -> Result<Option<BTreeMap<String, String>>, LogError> {
        let path = self.path.join(PROPERTIES_FILE_NAME);
        let bytes = match self.storage.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("read", &path),
        };
        let text = String::from_utf8_lossy(&bytes);
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with(['#', '!']));
        let pairs = lines.filter_map(|line| line.split_once('='));
        Ok(Some(
            pairs
                .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
                .collect(),
        ))
    }

    /// Replaces `meta.properties`. Waits for the disk.
    ///
    /// # Errors
    /// The file cannot be written; the old one is still there.
    pub fn write_properties(&self, properties: &BTreeMap<String, String>) -> Result<(), LogError> {
        let path = self.path.join(PROPERTIES_FILE_NAME);
        let mut text = String::new();
        for (key, value) in properties {
            writeln!(text, "{key}={value}").expect("a string takes all text");
        }
        self.storage
            .replace(&path, text.as_bytes())
            .context("write", &path)
    }

    /// Says that nothing needs to be scanned at the next start. Only right if every log was
    /// closed and the checkpoints were written before.
    ///
    /// # Errors
    /// The file cannot be written; the next start recovers then.
    pub fn mark_clean_shutdown(&self) -> Result<(), LogError> {
        let path = self.path.join(CLEAN_SHUTDOWN_FILE_NAME);
        self.storage
            .replace(&path, CLEAN_SHUTDOWN_CONTENT)
            .context("write", &path)
    }
}

/// Creates a directory and those above it, and makes their names durable.
fn create_directories<S: Storage>(storage: &S, path: &Path) -> Result<(), LogError> {
    let is_missing = |path: &&Path| {
        let listed = storage.list(path);
        listed.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let named = path.ancestors().filter(|path| !path.as_os_str().is_empty());
    let missing: Vec<&Path> = named.take_while(is_missing).collect();
    storage
        .create_directory(path)
        .context("create directory", path)?;
    for created in missing {
        let parent = created
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        storage
            .sync_directory(parent)
            .context("sync directory", parent)?;
    }
    Ok(())
}

/// A damaged checkpoint counts as none: then more is scanned, and deleted records may come back,
/// but nothing is lost.
fn read_checkpoint<S: Storage>(
    storage: &S,
    path: &Path,
) -> Result<BTreeMap<TopicPartition, i64>, LogError> {
    match checkpoint::read_offsets(storage, path) {
        Err(error @ LogError::Corrupt { .. }) => {
            warn!(%error, "going on without this checkpoint");
            Ok(BTreeMap::new())
        }
        read => read,
    }
}

/// Removes the marker of a clean shutdown durably; returns whether it was there.
fn take_marker<S: Storage>(storage: &S, directory: &Path) -> Result<bool, LogError> {
    let path = directory.join(CLEAN_SHUTDOWN_FILE_NAME);
    match storage.remove_file(&path) {
        Ok(()) => {
            storage
                .sync_directory(directory)
                .context("sync directory", directory)?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("remove", &path),
    }
}

/// Removes the directories of logs that were being removed.
fn remove_deleted_logs<S: Storage>(storage: &S, directory: &Path) -> Result<(), LogError> {
    for entry in storage.list(directory).context("list", directory)? {
        let path = directory.join(&entry.name);
        if entry.is_directory && entry.name.ends_with(DELETE_DIRECTORY_SUFFIX) {
            info!(directory = %path.display(), "removing the rest of a deleted log");
            storage.remove_directory(&path).context("remove", &path)?;
        } else if entry.is_directory && entry.name.parse::<TopicPartition>().is_err() {
            warn!(directory = %path.display(), "ignoring a directory that is no partition's");
        }
    }
    Ok(())
}

const LOCK_FILE_NAME: &str = ".lock";
const CLEAN_SHUTDOWN_FILE_NAME: &str = ".kafka_cleanshutdown";
const CLEAN_SHUTDOWN_CONTENT: &[u8] = br#"{"version":0,"brokerEpoch":-1}"#;
const PROPERTIES_FILE_NAME: &str = "meta.properties";
const RECOVERY_POINTS_FILE_NAME: &str = "recovery-point-offset-checkpoint";
const LOG_START_OFFSETS_FILE_NAME: &str = "log-start-offset-checkpoint";
const CLEANER_OFFSETS_FILE_NAME: &str = "cleaner-offset-checkpoint";
const HIGH_WATERMARKS_FILE_NAME: &str = "replication-offset-checkpoint";
