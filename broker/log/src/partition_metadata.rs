//! `partition.metadata`: which topic a directory belongs to.
//!
//! ```text
//! version: 0
//! topic_id: mJ3Kq1XbTPWwWqO0mMKyEg     22 characters of base64url
//! ```
//!
//! Written once, when the log is created, and synced before the first record counts as durable: a
//! file that ends early belongs to a log without durable records.

use std::io;
use std::path::{Path, PathBuf};

use moldau_protocol::Uuid;

use crate::error::{IoContext, LogError};
use crate::storage::{Storage, write_all};

/// Reads the topic id of a directory; `None` if there is no file.
pub(crate) fn read<S: Storage>(storage: &S, directory: &Path) -> Result<Option<Uuid>, LogError> {
    let path = directory.join(FILE_NAME);
    let bytes = match storage.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("read", &path),
    };
    let text = String::from_utf8_lossy(&bytes);
    let value = |name: &str| {
        text.lines()
            .find_map(|line| Some(line.strip_prefix(name)?.trim()))
    };
    if value("version:") != Some("0") {
        return Err(LogError::corrupt(
            &path,
            0,
            "there is no line \"version: 0\"",
        ));
    }
    let topic_id = value("topic_id:").and_then(|id| id.parse().ok());
    topic_id
        .map(Some)
        .ok_or_else(|| LogError::corrupt(&path, 0, "there is no line \"topic_id: <id>\""))
}

/// Writes the topic id of a directory; returns the file, which is not synced yet.
pub(crate) fn write<S: Storage>(
    storage: &S,
    directory: &Path,
    topic_id: Uuid,
) -> Result<(PathBuf, S::File), LogError> {
    let path = directory.join(FILE_NAME);
    let file = storage.create(&path).context("create", &path)?;
    let text = format!("version: 0\ntopic_id: {topic_id}");
    write_all(&file, text.as_bytes()).context("write", &path)?;
    Ok((path, file))
}

const FILE_NAME: &str = "partition.metadata";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::SimStorage;

    #[test]
    fn the_topic_id_is_read_as_it_was_written() {
        let storage = SimStorage::new();
        let root = Path::new("/");
        assert_eq!(read(&storage, root).unwrap(), None);
        write(&storage, root, Uuid([7; 16])).unwrap();
        assert_eq!(
            storage.read(&root.join(FILE_NAME)).unwrap(),
            b"version: 0\ntopic_id: BwcHBwcHBwcHBwcHBwcHBw"
        );
        assert_eq!(read(&storage, root).unwrap(), Some(Uuid([7; 16])));
    }

    #[test]
    fn a_malformed_file_is_an_error() {
        let storage = SimStorage::new();
        storage
            .replace(Path::new("/partition.metadata"), b"version: 0\ntopic_id: x")
            .unwrap();
        assert!(matches!(
            read(&storage, Path::new("/")),
            Err(LogError::Corrupt { .. })
        ));
    }
}
