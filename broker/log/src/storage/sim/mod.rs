//! A disk in memory that crashes, tears writes, refuses and runs full as a test wishes.
//!
//! Everything it does follows from the calls and the seeds given to [`SimStorage::crash`], so a
//! failing test can be replayed.

mod content;
mod random;
mod tree;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use content::Content;
use random::Random;
use tree::{Node, Tree};

use super::{DirectoryEntry, Storage, StorageFile};

/// A disk in memory with a page cache: what was not synced may be lost in a crash.
#[derive(Clone, Debug, Default)]
pub struct SimStorage {
    disk: Arc<Mutex<Disk>>,
}

/// An open file of a [`SimStorage`]; unusable after a crash.
#[derive(Clone, Debug)]
pub struct SimFile {
    disk: Arc<Mutex<Disk>>,
    id: u64,
    generation: u64,
}

/// A lock of a [`SimStorage`]; released when dropped, or by a crash.
#[derive(Debug)]
pub struct SimLock {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
    generation: u64,
}

/// A kind of call that can be made to fail and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SimOperation {
    /// Opening an existing file.
    Open,
    /// Creating a file.
    Create,
    /// Appending to a file.
    Write,
    /// Reading from a file.
    Read,
    /// Syncing a file.
    Sync,
    /// Syncing a directory.
    SyncDirectory,
    /// Cutting a file.
    SetSize,
    /// Renaming a file or directory.
    Rename,
    /// Removing a file or directory.
    Remove,
}

impl SimStorage {
    /// An empty disk without limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the process and the power: open files and locks are gone, and so is what was not
    /// synced, apart from what `seed` lets survive.
    ///
    /// Of the unsynced writes any may survive, whole, cut at any byte or with a hole. Of the
    /// unsynced names of a directory the first few survive, as with a journal.
    pub fn crash(&self, seed: u64) {
        let mut disk = self.disk();
        let mut random = Random::new(seed);
        disk.generation += 1;
        disk.locks.clear();
        disk.faults.clear();
        disk.power = None;
        disk.tree.crash(&mut random);
        for content in disk.contents.values_mut() {
            content.crash(&mut random);
        }
        let reachable: BTreeSet<u64> = disk.tree.files().into_iter().collect();
        disk.contents.retain(|id, _| reachable.contains(id));
    }

    /// Ends the process only, as `kill -9` does: open files and locks are gone, all bytes stay.
    pub fn kill(&self) {
        let mut disk = self.disk();
        disk.generation += 1;
        disk.locks.clear();
        disk.faults.clear();
    }

    /// Cuts the power in the middle of a later call: `calls` more that change something are done,
    /// the next one and all after it fail until [`SimStorage::crash`]. Of a write at that moment,
    /// the bytes may survive. Reading goes on, as nobody learns of what is read then.
    pub fn cut_power_after(&self, calls: u64) {
        self.disk().power = Some(calls.saturating_add(1));
    }

    /// Whether changes are still made: false from the moment that [`SimStorage::cut_power_after`]
    /// set, until the crash.
    #[must_use]
    pub fn has_power(&self) -> bool {
        self.disk().power != Some(0)
    }

    /// Makes the next call of this kind fail. Several calls queue up.
    pub fn fail_next(&self, operation: SimOperation, kind: io::ErrorKind) {
        self.fail_after(operation, 0, kind);
    }

    /// Makes a call of this kind fail after `passed` others that do not.
    pub fn fail_after(&self, operation: SimOperation, passed: usize, kind: io::ErrorKind) {
        self.disk().faults.push_back(Fault {
            operation,
            kind,
            passed,
            written_before: 0,
        });
    }

    /// Makes the next write fail after `written_before` bytes.
    pub fn tear_next_write(&self, written_before: usize, kind: io::ErrorKind) {
        self.disk().faults.push_back(Fault {
            operation: SimOperation::Write,
            kind,
            passed: 0,
            written_before,
        });
    }

    /// Forgets the failures that were ordered and did not come yet.
    pub fn clear_faults(&self) {
        self.disk().faults.clear();
    }

    /// Limits the bytes that all files have together; `None` lifts the limit.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.disk().capacity = capacity;
    }

    /// How many calls of this kind there were, failed ones included.
    #[must_use]
    pub fn count(&self, operation: SimOperation) -> u64 {
        self.disk().counts.get(&operation).copied().unwrap_or(0)
    }

    /// How many bytes all files have together.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.disk().used()
    }

    /// Overwrites bytes of a file durably, as decay of the medium would.
    ///
    /// # Errors
    /// There is no such file, or it is shorter.
    pub fn corrupt(&self, path: &Path, position: usize, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        let id = disk.tree.file(path)?;
        disk.content(id)?.overwrite(position, bytes)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    fn file(&self, disk: &Disk, id: u64) -> SimFile {
        SimFile {
            disk: Arc::clone(&self.disk),
            id,
            generation: disk.generation,
        }
    }
}

impl Storage for SimStorage {
    type File = SimFile;
    type Lock = SimLock;

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let mut disk = self.disk();
        disk.enter(SimOperation::Open)?;
        let id = disk.tree.file(path)?;
        Ok(self.file(&disk, id))
    }

    fn create(&self, path: &Path) -> io::Result<SimFile> {
        let mut disk = self.disk();
        disk.enter(SimOperation::Create)?;
        let id = match disk.tree.file(path) {
            Ok(id) => id,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = disk.next_id;
                disk.tree.set(path, Node::File(id))?;
                disk.next_id += 1;
                id
            }
            Err(error) => return Err(error),
        };
        disk.contents.entry(id).or_default().set_size(0);
        Ok(self.file(&disk, id))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.spend_power()?;
        disk.tree.create_directory(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let mut disk = self.disk();
        let names = disk.tree.names(directory)?;
        names
            .into_iter()
            .map(|(name, node)| {
                let (is_directory, size) = match node {
                    Node::Directory(_) => (true, 0),
                    Node::File(id) => (false, disk.content(id)?.size()),
                };
                Ok(DirectoryEntry {
                    name,
                    is_directory,
                    size,
                })
            })
            .collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.enter(SimOperation::Rename)?;
        disk.tree.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.enter(SimOperation::Remove)?;
        disk.tree.file(path)?;
        disk.tree.remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.enter(SimOperation::Remove)?;
        disk.tree.names(path)?;
        disk.tree.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.enter(SimOperation::SyncDirectory)?;
        disk.tree.sync(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<SimLock>> {
        let mut disk = self.disk();
        let generation = disk.generation;
        let path = path.to_path_buf();
        let free = disk.locks.insert(path.clone());
        Ok(free.then(|| SimLock {
            disk: Arc::clone(&self.disk),
            path,
            generation,
        }))
    }
}

impl SimFile {
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = lock(&self.disk);
        if disk.generation == self.generation {
            Ok(disk)
        } else {
            Err(io::Error::other(
                "the process that opened this file has crashed",
            ))
        }
    }
}

impl StorageFile for SimFile {
    fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = buffers
            .iter()
            .flat_map(|buffer| buffer.iter().copied())
            .collect();
        let mut disk = self.disk()?;
        *disk.counts.entry(SimOperation::Write).or_default() += 1;
        let (mut room, mut refusal) = (bytes.len(), io::ErrorKind::StorageFull);
        if let Some(capacity) = disk.capacity {
            room = room
                .min(usize::try_from(capacity.saturating_sub(disk.used())).unwrap_or(usize::MAX));
        }
        if let Some(index) = disk.due_fault(SimOperation::Write) {
            let fault = &mut disk.faults[index];
            room = room.min(fault.written_before);
            refusal = fault.kind;
            fault.written_before = 0; // what is left of the write fails at the next call
            if room == 0 {
                disk.faults.remove(index);
            }
        }
        if room == 0 && !bytes.is_empty() {
            return Err(refusal.into());
        }
        let powered = disk.has_power();
        let refused = disk.spend_power();
        if powered {
            disk.content(self.id)?.write(&bytes[..room]);
        }
        refused.map(|()| room)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut disk = self.disk()?;
        disk.enter(SimOperation::Read)?;
        Ok(disk.content(self.id)?.read(buffer, position))
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.enter(SimOperation::Sync)?;
        disk.content(self.id)?.sync();
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.enter(SimOperation::SetSize)?;
        disk.content(self.id)?
            .set_size(usize::try_from(size).map_err(io::Error::other)?);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk()?.content(self.id)?.size())
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = lock(&self.disk);
        if disk.generation == self.generation {
            disk.locks.remove(&self.path);
        }
    }
}

#[derive(Debug, Default)]
struct Disk {
    /// Counts the crashes; a file opened before one is unusable.
    generation: u64,
    tree: Tree,
    contents: BTreeMap<u64, Content>,
    next_id: u64,
    locks: BTreeSet<PathBuf>,
    faults: VecDeque<Fault>,
    capacity: Option<u64>,
    counts: BTreeMap<SimOperation, u64>,
    /// Calls until the power is cut; none while it is not to be.
    power: Option<u64>,
}

#[derive(Debug)]
struct Fault {
    operation: SimOperation,
    kind: io::ErrorKind,
    /// How many calls get through before.
    passed: usize,
    /// Only for writes: how many bytes get through before.
    written_before: usize,
}

impl Disk {
    /// Counts the call, and fails if a test wants it to.
    fn enter(&mut self, operation: SimOperation) -> io::Result<()> {
        *self.counts.entry(operation).or_default() += 1;
        if !matches!(operation, SimOperation::Open | SimOperation::Read) {
            self.spend_power()?;
        }
        match self.due_fault(operation) {
            Some(index) => {
                let kind = self
                    .faults
                    .remove(index)
                    .map_or(io::ErrorKind::Other, |fault| fault.kind);
                Err(kind.into())
            }
            None => Ok(()),
        }
    }

    /// The fault that hits this call, if there is one.
    fn due_fault(&mut self, operation: SimOperation) -> Option<usize> {
        let index = self
            .faults
            .iter()
            .position(|fault| fault.operation == operation)?;
        let fault = &mut self.faults[index];
        if fault.passed > 0 {
            fault.passed -= 1;
            return None;
        }
        Some(index)
    }

    fn has_power(&self) -> bool {
        self.power != Some(0)
    }

    /// Counts down to the moment when the power is cut.
    fn spend_power(&mut self) -> io::Result<()> {
        match &mut self.power {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is cut")),
            Some(calls) => {
                *calls -= 1;
                if *calls == 0 {
                    return Err(io::Error::other("the power is cut"));
                }
                Ok(())
            }
        }
    }

    fn content(&mut self, id: u64) -> io::Result<&mut Content> {
        self.contents
            .get_mut(&id)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        self.tree
            .files()
            .iter()
            .filter_map(|id| self.contents.get(id))
            .map(Content::size)
            .sum()
    }
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
