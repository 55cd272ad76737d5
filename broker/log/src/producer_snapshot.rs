//! Producer snapshots: the state of the idempotent producers below some offset.
//!
//! ```text
//! 00000000000000000042.snapshot    state below offset 42
//!   0   2  version, always 1
//!   2   4  CRC32C of all that follows
//!   6   4  number of entries
//!  10  46  each entry: producer id 8, epoch 2, last sequence 4, last offset 8, offset delta 4,
//!          timestamp 8, coordinator epoch 4, first offset of the open transaction 8 or -1
//! ```
//!
//! A file counts as valid when its checksum is right; it is replaced as a whole.

use std::path::Path;

use bytes::Bytes;
use moldau_protocol::records::producer_snapshot::ProducerSnapshot;
use moldau_protocol::{Decoder, Encoder, Message};

use crate::error::{IoContext, LogError};
use crate::names::{FileKind, FileName, FileState, file_name};
use crate::storage::Storage;

/// Writes the snapshot of the state below `offset`.
pub(crate) fn write<S: Storage>(
    storage: &S,
    directory: &Path,
    offset: i64,
    snapshot: &ProducerSnapshot,
) -> Result<(), LogError> {
    let path = directory.join(file_name(offset, FileKind::ProducerSnapshot));
    let mut output = Encoder::new();
    output.i16(VERSION);
    let encoded = snapshot
        .encode(&mut output, VERSION)
        .ok()
        .and_then(|()| output.finish().to_bytes());
    let mut bytes = encoded
        .expect("a producer snapshot has fields of fixed size only")
        .to_vec();
    let crc = crc32c::crc32c(&bytes[CRC_COVERS_FROM..]);
    bytes[CRC_AT..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
    storage
        .replace(&path, &bytes)
        .context("write producer snapshot", &path)
}

/// Reads the snapshot of the state below `offset`.
pub(crate) fn read<S: Storage>(
    storage: &S,
    directory: &Path,
    offset: i64,
) -> Result<ProducerSnapshot, LogError> {
    let path = directory.join(file_name(offset, FileKind::ProducerSnapshot));
    let bytes = storage
        .read(&path)
        .context("read producer snapshot", &path)?;
    let crc = bytes.get(CRC_COVERS_FROM..).map(crc32c::crc32c);
    let mut input = Decoder::new(Bytes::from(bytes));
    let decoded = input
        .i16()
        .and_then(|version| ProducerSnapshot::decode(&mut input, version));
    let snapshot = decoded.map_err(|error| LogError::corrupt(&path, 0, error.to_string()))?;
    if crc != Some(snapshot.crc) {
        return Err(LogError::corrupt(
            &path,
            CRC_AT as u64,
            "the checksum is wrong",
        ));
    }
    Ok(snapshot)
}

/// The offsets of all snapshots, rising.
pub(crate) fn list<S: Storage>(storage: &S, directory: &Path) -> Result<Vec<i64>, LogError> {
    let entries = storage.list(directory).context("list", directory)?;
    let names = entries
        .iter()
        .filter_map(|entry| FileName::parse(&entry.name));
    let live = names
        .filter(|name| name.kind == FileKind::ProducerSnapshot && name.state == FileState::Live);
    Ok(live.map(|name| name.offset).collect())
}

/// Removes the snapshots for which `obsolete` holds; returns whether there were any.
///
/// Their names may come back in a crash until the directory is synced.
pub(crate) fn remove_where<S: Storage>(
    storage: &S,
    directory: &Path,
    obsolete: impl Fn(i64) -> bool,
) -> Result<bool, LogError> {
    let mut removed = false;
    for offset in list(storage, directory)?
        .into_iter()
        .filter(|offset| obsolete(*offset))
    {
        let path = directory.join(file_name(offset, FileKind::ProducerSnapshot));
        storage.remove_file(&path).context("remove", &path)?;
        removed = true;
    }
    Ok(removed)
}

/// Removes the snapshots above the log end, for good: one that came back after the log had grown
/// past its offset again would tell of batches that are not there.
pub(crate) fn remove_above<S: Storage>(
    storage: &S,
    directory: &Path,
    log_end_offset: i64,
) -> Result<(), LogError> {
    if remove_where(storage, directory, |offset| offset > log_end_offset)? {
        storage
            .sync_directory(directory)
            .context("sync directory", directory)?;
    }
    Ok(())
}

const VERSION: i16 = 1;
const CRC_AT: usize = 2;
const CRC_COVERS_FROM: usize = 6;

#[cfg(test)]
mod tests {
    use moldau_protocol::records::producer_snapshot::ProducerEntry;

    use super::*;
    use crate::storage::SimStorage;

    fn snapshot() -> ProducerSnapshot {
        let entry = ProducerEntry {
            producer_id: 4711,
            epoch: 3,
            last_sequence: 9,
            last_offset: 41,
            ..Default::default()
        };
        ProducerSnapshot {
            crc: 0,
            producer_entries: vec![entry],
        }
    }

    #[test]
    fn a_snapshot_is_read_as_it_was_written() {
        let (storage, root) = (SimStorage::new(), Path::new("/"));
        write(&storage, root, 42, &snapshot()).unwrap();
        let bytes = storage
            .read(Path::new("/00000000000000000042.snapshot"))
            .unwrap();
        assert_eq!(bytes.len(), 56);
        assert_eq!(bytes[..2], [0, 1]);
        assert_eq!(
            read(&storage, root, 42).unwrap().producer_entries,
            snapshot().producer_entries
        );
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let (storage, root) = (SimStorage::new(), Path::new("/"));
        for position in 0..56 {
            write(&storage, root, 42, &snapshot()).unwrap();
            storage
                .corrupt(
                    Path::new("/00000000000000000042.snapshot"),
                    position,
                    &[0xa5],
                )
                .unwrap();
            assert!(
                matches!(read(&storage, root, 42), Err(LogError::Corrupt { .. })),
                "byte {position}"
            );
        }
    }

    #[test]
    fn obsolete_snapshots_are_removed() {
        let (storage, root) = (SimStorage::new(), Path::new("/"));
        for offset in [10, 20, 30] {
            write(&storage, root, offset, &snapshot()).unwrap();
        }
        remove_where(&storage, root, |offset| offset < 25).unwrap();
        assert_eq!(list(&storage, root).unwrap(), [30]);
    }
}
