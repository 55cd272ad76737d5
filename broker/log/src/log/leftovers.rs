//! Puts a partition's directory in order before its log is opened.
//!
//! - `.tmp`, `.deleted`: removed
//! - `.cleaned`: a compaction that did not end; removed
//! - `.swap`: a compaction that ended; takes the place of the segments that it covers
//! - an index without its `.log`: removed

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::error::{IoContext, LogError};
use crate::names::{FileKind, FileName, FileState, SWAP_SUFFIX, file_name};
use crate::segment::{BatchWalk, LazyFile};
use crate::storage::{DirectoryEntry, Storage, TEMPORARY_SUFFIX};

/// The live files of a partition's directory.
#[derive(Debug, Default)]
pub(super) struct LiveFiles {
    /// Base offset to size of the `.log` files.
    pub(super) logs: BTreeMap<i64, u64>,
    /// Sizes of the index files.
    pub(super) indexes: BTreeMap<(i64, FileKind), u64>,
}

/// Puts the directory in order, and returns what is left in it.
pub(super) fn clear<S: Storage>(storage: &S, directory: &Path) -> Result<LiveFiles, LogError> {
    let listed = storage.list(directory).context("list", directory)?;
    let is_abandoned = |entry: &DirectoryEntry| {
        let state = FileName::parse(&entry.name).map(|name| name.state);
        entry.name.ends_with(TEMPORARY_SUFFIX)
            || matches!(state, Some(FileState::Deleted | FileState::Cleaned))
    };
    let (abandoned, kept): (Vec<_>, Vec<_>) = listed.into_iter().partition(is_abandoned);
    let named = |entries: &[DirectoryEntry], state| -> Vec<FileName> {
        let names = entries
            .iter()
            .filter_map(|entry| FileName::parse(&entry.name));
        names.filter(|name| name.state == state).collect()
    };
    let swaps = named(&kept, FileState::Swap);
    // Swaps at or above an unfinished segment belong to the same compaction, which did not end.
    // What tells so must be there until they are gone.
    let unfinished = named(&abandoned, FileState::Cleaned)
        .iter()
        .map(|name| name.offset)
        .min();
    complete_swaps(storage, directory, &swaps, unfinished.unwrap_or(i64::MAX))?;
    for entry in &abandoned {
        remove(storage, &directory.join(&entry.name))?;
    }
    if swaps.is_empty() {
        return live_files(storage, directory, &kept);
    }
    let left = storage.list(directory).context("list", directory)?;
    live_files(storage, directory, &left)
}

fn live_files<S: Storage>(
    storage: &S,
    directory: &Path,
    entries: &[DirectoryEntry],
) -> Result<LiveFiles, LogError> {
    let mut files = LiveFiles::default();
    let names = |entry: &DirectoryEntry| Some((FileName::parse(&entry.name)?, entry.size));
    for (name, size) in entries
        .iter()
        .filter_map(names)
        .filter(|(name, _)| name.state == FileState::Live)
    {
        match name.kind {
            FileKind::Log => drop(files.logs.insert(name.offset, size)),
            FileKind::ProducerSnapshot => {}
            kind => drop(files.indexes.insert((name.offset, kind), size)),
        }
    }
    let orphans: Vec<_> = files
        .indexes
        .keys()
        .filter(|(offset, _)| !files.logs.contains_key(offset))
        .copied()
        .collect();
    for (offset, kind) in orphans {
        let path = directory.join(file_name(offset, kind));
        warn!(file = %path.display(), "removing an index without its log");
        remove(storage, &path)?;
        files.indexes.remove(&(offset, kind));
    }
    Ok(files)
}

fn complete_swaps<S: Storage>(
    storage: &S,
    directory: &Path,
    swaps: &[FileName],
    unfinished: i64,
) -> Result<(), LogError> {
    if swaps.is_empty() {
        return Ok(());
    }
    let is_complete = |swap: &&FileName| swap.offset < unfinished;
    for swap in swaps.iter().filter(|swap| !is_complete(swap)) {
        remove(storage, &swap_path(directory, swap))?;
    }
    let logs = swaps.iter().filter(|swap| swap.kind == FileKind::Log);
    for log in logs.filter(is_complete) {
        let indexes: Vec<_> = swaps
            .iter()
            .filter(|swap| swap.offset == log.offset && swap.kind != FileKind::Log)
            .collect();
        remove_covered(storage, directory, log, &indexes)?;
        // The log comes last: while it is here, the next start does the same again.
        for swap in indexes.into_iter().chain([log]) {
            let path = swap_path(directory, swap);
            let live = directory.join(file_name(swap.offset, swap.kind));
            storage.rename(&path, &live).context("rename", &path)?;
        }
        let segment = directory.join(file_name(log.offset, FileKind::Log));
        info!(file = %segment.display(), "completed a compaction");
    }
    storage
        .sync_directory(directory)
        .context("sync directory", directory)?;
    // Of indexes alone the log was not renamed yet.
    for entry in storage.list(directory).context("list", directory)? {
        let state = FileName::parse(&entry.name).map(|name| name.state);
        if state == Some(FileState::Swap) {
            remove(storage, &directory.join(&entry.name))?;
        }
    }
    Ok(())
}

/// Removes the live files that a compacted segment replaces.
///
/// Missing indexes are built anew, but for that of aborted transactions: if its `.swap` is gone,
/// the one that bears the segment's own name is the new one, as the old one went first.
fn remove_covered<S: Storage>(
    storage: &S,
    directory: &Path,
    swap: &FileName,
    indexes: &[&FileName],
) -> Result<(), LogError> {
    let end_offset = end_of_segment(storage, &swap_path(directory, swap), swap.offset)?;
    let covered = swap.offset..end_offset.max(swap.offset + 1);
    let is_new = |file: &FileName| {
        file.offset == swap.offset
            && file.kind == FileKind::TransactionIndex
            && !indexes.iter().any(|index| index.kind == file.kind)
    };
    let listed = storage.list(directory).context("list", directory)?;
    for file in listed
        .iter()
        .filter_map(|entry| FileName::parse(&entry.name))
    {
        let is_live = file.state == FileState::Live && file.kind != FileKind::ProducerSnapshot;
        if is_live && covered.contains(&file.offset) && !is_new(&file) {
            remove(storage, &directory.join(file_name(file.offset, file.kind)))?;
        }
    }
    Ok(())
}

fn swap_path(directory: &Path, swap: &FileName) -> PathBuf {
    directory.join(file_name(swap.offset, swap.kind) + SWAP_SUFFIX)
}

/// First offset after the batches of a file that must be sound.
fn end_of_segment<S: Storage>(storage: &S, path: &Path, base_offset: i64) -> Result<i64, LogError> {
    let file = LazyFile::new(storage.clone(), path.to_path_buf());
    let file = file.get()?;
    let size = crate::storage::StorageFile::size(file).context("read", path)?;
    let (mut walk, mut end_offset) = (
        BatchWalk::checked(file, path, size, base_offset),
        base_offset,
    );
    while let Some(batch) = walk.next()? {
        end_offset = batch.header.next_offset();
    }
    Ok(end_offset)
}

fn remove<S: Storage>(storage: &S, path: &Path) -> Result<(), LogError> {
    storage.remove_file(path).context("remove", path)
}
