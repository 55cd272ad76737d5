//! Checkpoint files: small text files that are replaced as a whole.
//!
//! ```text
//! 0                     version of the format
//! 2                     number of lines that follow
//! orders 0 1042         topic, partition, offset     (recovery point, log start, high watermark)
//! payments 3 17
//! ```
//!
//! A `leader-epoch-checkpoint` has lines of epoch and start offset instead. A file counts as
//! valid when all announced lines are there; it is written under another name, synced and
//! renamed, so a torn one is never seen.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::error::{IoContext, LogError};
use crate::leader_epochs::EpochEntry;
use crate::names::TopicPartition;
use crate::storage::Storage;

/// Reads a checkpoint of offsets; a missing file is an empty one.
pub(crate) fn read_offsets<S: Storage>(
    storage: &S,
    path: &Path,
) -> Result<BTreeMap<TopicPartition, i64>, LogError> {
    let entries = read(storage, path, |line| {
        let mut words = line.split(' ');
        let topic = words.next().filter(|topic| !topic.is_empty())?;
        let partition = words.next()?.parse().ok()?;
        let offset = words.next()?.parse().ok()?;
        words
            .next()
            .is_none()
            .then(|| (TopicPartition::new(topic, partition), offset))
    })?;
    Ok(entries.unwrap_or_default().into_iter().collect())
}

/// Replaces a checkpoint of offsets.
pub(crate) fn write_offsets<S: Storage>(
    storage: &S,
    path: &Path,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> Result<(), LogError> {
    let lines = offsets
        .iter()
        .map(|(partition, offset)| (&partition.topic, partition.partition, offset));
    let mut text = header(offsets.len());
    for (topic, partition, offset) in lines {
        writeln!(text, "{topic} {partition} {offset}").expect("a string takes all text");
    }
    storage
        .replace(path, text.as_bytes())
        .context("write checkpoint", path)
}

/// Reads a checkpoint of leader epochs; `None` if there is no file.
pub(crate) fn read_epochs<S: Storage>(
    storage: &S,
    path: &Path,
) -> Result<Option<Vec<EpochEntry>>, LogError> {
    read(storage, path, |line| {
        let (epoch, start_offset) = line.split_once(' ')?;
        Some(EpochEntry {
            epoch: epoch.parse().ok()?,
            start_offset: start_offset.parse().ok()?,
        })
    })
}

/// Replaces a checkpoint of leader epochs.
pub(crate) fn write_epochs<S: Storage>(
    storage: &S,
    path: &Path,
    epochs: &[EpochEntry],
) -> Result<(), LogError> {
    let mut text = header(epochs.len());
    for EpochEntry {
        epoch,
        start_offset,
    } in epochs
    {
        writeln!(text, "{epoch} {start_offset}").expect("a string takes all text");
    }
    storage
        .replace(path, text.as_bytes())
        .context("write checkpoint", path)
}

fn header(count: usize) -> String {
    format!("{VERSION}\n{count}\n")
}

fn read<S: Storage, T>(
    storage: &S,
    path: &Path,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, LogError> {
    let bytes = match storage.read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("read checkpoint", path),
    };
    if bytes.is_empty() {
        return Ok(None); // Kafka creates its checkpoints empty
    }
    let corrupt =
        |position: usize, reason: String| LogError::corrupt(path, position as u64, reason);
    let text = str::from_utf8(&bytes)
        .map_err(|error| corrupt(error.valid_up_to(), "the file is no text".to_owned()))?;
    let mut lines = text.lines();
    let version = lines.next().unwrap_or_default();
    if version.parse() != Ok(VERSION) {
        return Err(corrupt(
            0,
            format!("version {version:?} of the format is not supported, only {VERSION}"),
        ));
    }
    let announced = lines.next().unwrap_or_default();
    let count: usize = announced.parse().map_err(|_| {
        corrupt(
            version.len() + 1,
            format!("{announced:?} is no number of lines"),
        )
    })?;
    let mut entries = Vec::new();
    let mut position = version.len() + announced.len() + 2;
    for line in lines.filter(|line| !line.is_empty()) {
        entries.push(
            parse(line).ok_or_else(|| corrupt(position, format!("line {line:?} is malformed")))?,
        );
        position += line.len() + 1;
    }
    if entries.len() != count {
        return Err(corrupt(
            position,
            format!("{count} lines are announced, {} are there", entries.len()),
        ));
    }
    Ok(Some(entries))
}

const VERSION: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::SimStorage;

    fn path() -> &'static Path {
        Path::new("/checkpoint")
    }

    fn written(text: &str) -> SimStorage {
        let storage = SimStorage::new();
        storage.replace(path(), text.as_bytes()).unwrap();
        storage
    }

    #[test]
    fn offsets_are_read_as_they_were_written() {
        let storage = SimStorage::new();
        let offsets = BTreeMap::from([
            (TopicPartition::new("payments", 3), 17),
            (TopicPartition::new("orders", 0), 1042),
        ]);
        write_offsets(&storage, path(), &offsets).unwrap();
        assert_eq!(
            storage.read(path()).unwrap(),
            b"0\n2\norders 0 1042\npayments 3 17\n"
        );
        assert_eq!(read_offsets(&storage, path()).unwrap(), offsets);
    }

    #[test]
    fn epochs_are_read_as_they_were_written() {
        let storage = SimStorage::new();
        let epochs = [
            EpochEntry {
                epoch: 0,
                start_offset: 0,
            },
            EpochEntry {
                epoch: 4,
                start_offset: 99,
            },
        ];
        write_epochs(&storage, path(), &epochs).unwrap();
        assert_eq!(storage.read(path()).unwrap(), b"0\n2\n0 0\n4 99\n");
        assert_eq!(
            read_epochs(&storage, path()).unwrap().as_deref(),
            Some(&epochs[..])
        );
    }

    #[test]
    fn a_missing_or_empty_file_is_no_error() {
        assert_eq!(read_epochs(&written(""), path()).unwrap(), None);
        assert_eq!(
            read_offsets(&SimStorage::new(), path()).unwrap(),
            BTreeMap::new()
        );
        assert_eq!(read_epochs(&SimStorage::new(), path()).unwrap(), None);
    }

    #[test]
    fn a_malformed_file_is_named_with_the_place() {
        for (text, expected) in [
            (
                "1\n0\n",
                "/checkpoint is corrupt at position 0: version \"1\" of the format is not supported, only 0",
            ),
            (
                "0\nmany\n",
                "/checkpoint is corrupt at position 2: \"many\" is no number of lines",
            ),
            (
                "0\n2\na 0 1\n",
                "/checkpoint is corrupt at position 10: 2 lines are announced, 1 are there",
            ),
            (
                "0\n1\na 0 x\n",
                "/checkpoint is corrupt at position 4: line \"a 0 x\" is malformed",
            ),
        ] {
            assert_eq!(
                read_offsets(&written(text), path())
                    .unwrap_err()
                    .to_string(),
                expected
            );
        }
    }
}
