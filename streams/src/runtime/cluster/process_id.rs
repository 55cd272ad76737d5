//! The id of this process in the application, kept in the state directory.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::runtime::error::StreamsError;

/// The id of this process in the application. Nobody else has it as long as this value lives.
#[derive(Debug)]
pub(super) struct ProcessId {
    id: String,
    /// Locked; `None` for an id that is in no file.
    _file: Option<File>,
}

/// The file's content, as Kafka Streams writes it.
#[derive(Serialize, Deserialize)]
struct ProcessFile {
    #[serde(rename = "processId")]
    process_id: String,
}

impl ProcessId {
    /// The id in the state directory; a new one if there is none, or no directory. Two processes
    /// with one id would throw each other out for ever, so the second is refused; one that is
    /// just ending is waited for.
    pub(super) async fn of(
        state_dir: Option<&Path>,
        application_id: &str,
    ) -> Result<Self, StreamsError> {
        Self::within(LOCK_LIMIT, state_dir, application_id).await
    }

    async fn within(
        limit: Duration,
        state_dir: Option<&Path>,
        application_id: &str,
    ) -> Result<Self, StreamsError> {
        let Some(state_dir) = state_dir else {
            return Ok(Self {
                id: random_uuid(),
                _file: None,
            });
        };
        let directory = state_dir.join(application_id);
        let path = directory.join(FILE);
        let failed = |error: io::Error| StreamsError::Config {
            setting: "state_dir",
            reason: format!("{} cannot be read or written: {error}", path.display()),
        };
        fs::create_dir_all(&directory).map_err(failed)?;
        let mut file = File::options();
        let file = file.create(true).truncate(false).read(true).write(true);
        let mut file = file.open(&path).map_err(failed)?;
        let deadline = Instant::now() + limit;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(LOCK_RETRY).await;
                }
                Err(TryLockError::WouldBlock) => return Err(in_use(&directory)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        let id = read_or_write(&mut file).map_err(failed)?;
        Ok(Self {
            id,
            _file: Some(file),
        })
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.id)
    }
}

/// The id in a file; a new one, which is written there, if it has none.
fn read_or_write(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    // The file is some 60 bytes long.
    Read::by_ref(file)
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    if let Ok(file) = serde_json::from_slice::<ProcessFile>(&bytes) {
        return Ok(file.process_id);
    }
    if !bytes.is_empty() {
        tracing::warn!("the process id in the state directory cannot be read, taking a new one");
    }
    let new = ProcessFile {
        process_id: random_uuid(),
    };
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&serde_json::to_vec(&new)?)?;
    Ok(new.process_id)
}

fn in_use(directory: &Path) -> StreamsError {
    StreamsError::Config {
        setting: "state_dir",
        reason: format!(
            "{} is used by another process\n  hint: give each process a `state_dir` of its own",
            directory.display()
        ),
    }
}

/// A random UUID (version 4), from the randomness of the standard library's hash maps.
fn random_uuid() -> String {
    let random = || u128::from(RandomState::new().build_hasher().finish());
    let bits = (random() << 64 | random()) & !(0xf << 76) & !(0x3 << 62);
    let bits = bits | 4 << 76 | 2 << 62;
    let hex = format!("{bits:032x}");
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

const FILE: &str = "kafka-streams-process-metadata";
const MAX_FILE_BYTES: u64 = 4 * 1024;
const LOCK_LIMIT: Duration = Duration::from_secs(10);
const LOCK_RETRY: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    async fn id(path: Option<&Path>) -> String {
        let id = ProcessId::of(path, "app").await;
        id.expect("an id").to_string()
    }

    #[tokio::test]
    async fn the_id_stays_with_the_state_directory_and_is_random_without_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Some(directory.path());
        assert_eq!(id(path).await, id(path).await);
        let random = id(None).await;
        assert_ne!(random, id(None).await);
        assert_eq!(random.len(), 36);
        assert_eq!(&random[14..15], "4", "{random}");
        assert!("89ab".contains(&random[19..20]), "{random}");
    }

    #[tokio::test]
    async fn a_state_directory_that_another_process_uses_is_refused_and_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Some(directory.path());
        let first = ProcessId::of(path, "app").await.expect("an id");
        let second = ProcessId::within(Duration::ZERO, path, "app").await;
        let error = second.expect_err("in use");
        let text = error.to_string();
        assert!(text.contains("is used by another process"), "{text}");
        assert!(text.contains("hint: give each process"), "{text}");
        let id = first.to_string();
        drop(first);
        let again = ProcessId::of(path, "app").await.expect("an id");
        assert_eq!(again.to_string(), id);
    }
}
