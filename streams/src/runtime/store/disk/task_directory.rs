//! The directory of a task's stores: locked, and marked with its format.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::engine::Engine;
use crate::runtime::error::StreamsError;
use crate::runtime::task_id::TaskId;

/// A directory that no other task or process uses, as long as this value lives.
#[derive(Debug)]
pub(in crate::runtime::store) struct TaskDirectory {
    path: PathBuf,
    _lock: File,
}

impl TaskDirectory {
    /// Makes the directory if it is missing. A task that has just moved from another thread may
    /// hold it for a moment longer.
    pub(in crate::runtime::store) fn open(
        id: TaskId,
        engine: &Arc<Engine>,
    ) -> Result<Self, StreamsError> {
        let path = engine.directory.join(id.to_string());
        fs::create_dir_all(&path)
            .map_err(|error| refused(&path, &format!("cannot be made: {error}")))?;
        let lock = lock(&path)?;
        check_format(&path)?;
        Ok(Self { path, _lock: lock })
    }

    pub(in crate::runtime::store) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that the task runs with this directory from now on, so that it is known later which
    /// of several processes has had it last.
    pub(in crate::runtime::store) fn mark_used(&self) {
        let path = self.path.join(USED);
        let marked = File::create(&path).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = marked {
            // The task may go elsewhere after a restart, and be restored there.
            tracing::warn!(path = %path.display(), %error, "cannot note that a task runs here");
        }
    }

    /// Tasks that have run with a directory of this process, and since when the last time, in
    /// milliseconds since 1970. It only guides who gets a task, so what cannot be read is left out.
    pub(in crate::runtime::store) fn used(engine: &Engine) -> BTreeMap<TaskId, u64> {
        let entries = fs::read_dir(&engine.directory).into_iter().flatten();
        let used = |entry: io::Result<DirEntry>| {
            let entry = entry.ok()?;
            let id = TaskId::parse(entry.file_name().to_str()?)?;
            let used = fs::metadata(entry.path().join(USED))
                .ok()?
                .modified()
                .ok()?;
            let since = used.duration_since(UNIX_EPOCH).ok()?;
            Some((id, u64::try_from(since.as_millis()).ok()?))
        };
        entries.filter_map(used).collect()
    }
}

fn lock(path: &Path) -> Result<File, StreamsError> {
    let failed = |error: io::Error| refused(path, &format!("cannot be locked: {error}"));
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join("lock"))
        .map_err(failed)?;
    let deadline = Instant::now() + LOCK_LIMIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_RETRY);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(refused(
                    path,
                    "is used by another process or task\n  hint: give each process a `state.dir` \
                     of its own",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

fn check_format(path: &Path) -> Result<(), StreamsError> {
    let marker = path.join("format");
    let failed = |error: io::Error| refused(path, &format!("has no format marker: {error}"));
    let text = match fs::read_to_string(&marker) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Renamed into place, so that a crash leaves no half of a marker.
            let new = path.join("format.new");
            let written = fs::write(&new, format!("{FORMAT}\n"));
            return written
                .and_then(|()| fs::rename(&new, &marker))
                .map_err(failed);
        }
        Err(error) => return Err(failed(error)),
    };
    match text.trim().parse::<u32>() {
        Ok(FORMAT) => Ok(()),
        Ok(other) if other > FORMAT => Err(refused(
            path,
            &format!(
                "has format {other}, but this version knows only up to {FORMAT}\n  hint: run the \
                 newer version that wrote it, or delete the directory; its stores come back from \
                 their changelogs"
            ),
        )),
        _ => Err(refused(
            path,
            &format!(
                "has an unknown format \"{}\"\n  hint: delete it; its stores come back from their \
                 changelogs",
                text.trim()
            ),
        )),
    }
}

fn refused(path: &Path, reason: &str) -> StreamsError {
    StreamsError::Config {
        setting: "state.dir",
        reason: format!("directory {} {reason}", path.display()),
    }
}

/// Version of the layout in `disk/mod.rs`.
const FORMAT: u32 = 1;
/// Its modification time says when the task began to run with this directory last.
const USED: &str = "used";
const LOCK_LIMIT: Duration = Duration::from_secs(10);
const LOCK_RETRY: Duration = Duration::from_millis(10);
