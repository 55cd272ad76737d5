//! All stores of one task, and what the stores of a process share.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::disk::{Claim, Engine, Place, TaskDirectory};
use super::{StorePlace, StoreSlot, StoreSpec};
use crate::runtime::error::StreamsError;
use crate::runtime::task_id::TaskId;

/// Where the stores of a process are, and their memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreEnvironment {
    engine: Option<Arc<Engine>>,
    /// Changes of persistent stores that are not committed, of all tasks together.
    pending_bytes: Arc<AtomicUsize>,
    max_pending_bytes: usize,
    /// Stores whose content was thrown away since the start.
    wiped: Arc<AtomicU64>,
}

impl StoreEnvironment {
    /// With a directory, stores that have a changelog outlive the process in
    /// `<state_dir>/<application id>`; without, all stores are in memory.
    pub(crate) fn new(
        state_dir: Option<&Path>,
        application_id: &str,
        memory_bytes: usize,
    ) -> Result<Self, StreamsError> {
        let engine = |state_dir: &Path| Engine::new(state_dir.join(application_id), memory_bytes);
        Ok(Self {
            engine: state_dir.map(engine).transpose()?.map(Arc::new),
            pending_bytes: Arc::default(),
            max_pending_bytes: memory_bytes / 4,
            wiped: Arc::default(),
        })
    }

    /// Stores on disk whose content was thrown away since the start, because it does not belong to
    /// the changelog or to the topology any more.
    pub(crate) fn wiped(&self) -> u64 {
        self.wiped.load(Ordering::Relaxed)
    }

    /// Tasks with state on the disk, and since when each ran here the last time, in milliseconds
    /// since 1970.
    pub(crate) fn tasks_on_disk(&self) -> BTreeMap<TaskId, u64> {
        let engine = self.engine.as_ref();
        engine.map_or_else(BTreeMap::new, |engine| TaskDirectory::used(engine))
    }

    fn open(
        &self,
        spec: &StoreSpec,
        directory: Option<&TaskDirectory>,
    ) -> Result<StoreSlot, StreamsError> {
        let (Some(engine), Some(directory), true) = (&self.engine, directory, spec.is_persistent())
        else {
            return Ok(StoreSlot::in_memory(spec));
        };
        let place = Place::new(directory.path(), &spec.name)?;
        if place.claim(spec)? == Claim::Anew {
            self.wiped.fetch_add(1, Ordering::Relaxed);
        }
        StoreSlot::on_disk(spec, &place, engine)
    }
}

/// All stores of one task.
///
/// Persistent ones stay as they were at the last [`commit`](Self::commit) when this is dropped
/// or the process ends; opened again, each says by its changelog position from where it has to
/// be restored.
#[derive(Debug, Default)]
pub(crate) struct TaskStores {
    slots: Vec<StoreSlot>,
    environment: StoreEnvironment,
    pending_bytes: usize,
    /// Last, so that it is unlocked when the stores are closed.
    directory: Option<TaskDirectory>,
}

impl TaskStores {
    /// Opens the stores of a task.
    pub(crate) fn open(
        id: TaskId,
        specs: &[StoreSpec],
        environment: &StoreEnvironment,
    ) -> Result<Self, StreamsError> {
        let engine = environment.engine.as_ref();
        let homeless = specs.iter().find(|spec| {
            spec.place == StorePlace::Persistent && (engine.is_none() || !spec.is_persistent())
        });
        if let Some(spec) = homeless {
            return Err(StreamsError::Store {
                store: spec.name.clone(),
                reason: "it is to be persistent, but has no state directory or no changelog\n  hint: set `state_dir`, and leave its changelog on"
                    .to_owned(),
            });
        }
        let engine = engine.filter(|_| specs.iter().any(StoreSpec::is_persistent));
        let directory = engine.map(|engine| TaskDirectory::open(id, engine));
        let directory = directory.transpose()?;
        let open = |spec: &StoreSpec| environment.open(spec, directory.as_ref());
        Ok(Self {
            slots: specs.iter().map(open).collect::<Result<_, _>>()?,
            environment: environment.clone(),
            pending_bytes: 0,
            directory,
        })
    }

    /// Drops what has changed since the last commit. Stores on disk are opened again as they were
    /// committed; one in memory that cannot go back becomes empty, and is restored as a whole.
    pub(crate) fn roll_back(&mut self) -> Result<(), StreamsError> {
        for slot in &mut self.slots {
            if slot.roll_back() {
                continue;
            }
            let spec = slot.spec().clone();
            // Closes the files first.
            *slot = StoreSlot::in_memory(&spec);
            *slot = self.environment.open(&spec, self.directory.as_ref())?;
        }
        self.count_pending();
        Ok(())
    }

    /// Throws away what a store holds and makes it empty, because it is not what its changelog
    /// says.
    pub(crate) fn wipe(&mut self, index: usize) -> Result<(), StreamsError> {
        let Some(slot) = self.slots.get_mut(index) else {
            return Ok(());
        };
        let spec = slot.spec().clone();
        slot.abandon();
        // Closes the files first.
        *slot = StoreSlot::in_memory(&spec);
        if let Some(directory) = &self.directory
            && spec.is_persistent()
        {
            Place::new(directory.path(), &spec.name)?.remove()?;
            self.environment.wiped.fetch_add(1, Ordering::Relaxed);
            *slot = self.environment.open(&spec, Some(directory))?;
        }
        Ok(())
    }

    /// Makes all changes permanent, after their changelog records and the offsets of the inputs
    /// are. `position_of` says how far each changelog topic is written: the offset after the last
    /// record of this task; where it does not know, more than needed is replayed some day.
    ///
    /// Nothing may have changed since the changes were taken.
    pub(crate) fn commit(
        &mut self,
        position_of: impl Fn(&str) -> Option<i64>,
    ) -> Result<(), StreamsError> {
        for slot in &mut self.slots {
            if let Some(position) = slot.changelog_topic().and_then(&position_of) {
                slot.set_changelog_position(position);
            }
            slot.commit()?;
        }
        self.count_pending();
        Ok(())
    }

    /// Notes that the task runs with these stores from now on.
    pub(crate) fn mark_used(&self) {
        if let Some(directory) = &self.directory {
            directory.mark_used();
        }
    }

    /// Whether others cannot open these stores before this is dropped.
    pub(crate) const fn holds_directory(&self) -> bool {
        self.directory.is_some()
    }

    /// Whether so much is uncommitted in the process that this task should commit early.
    pub(crate) fn wants_commit(&mut self) -> bool {
        self.count_pending() > self.environment.max_pending_bytes && self.pending_bytes > 0
    }

    /// Does not write what is only in memory when this is dropped, as if the process had crashed.
    pub(crate) fn abandon(&mut self) {
        self.slots.iter_mut().for_each(StoreSlot::abandon);
    }

    /// The sum over all tasks.
    fn count_pending(&mut self) -> usize {
        let before = self.pending_bytes;
        self.pending_bytes = self.slots.iter().map(StoreSlot::pending_bytes).sum();
        let all = &self.environment.pending_bytes;
        if self.pending_bytes >= before {
            let added = self.pending_bytes - before;
            all.fetch_add(added, Ordering::Relaxed) + added
        } else {
            let freed = before - self.pending_bytes;
            all.fetch_sub(freed, Ordering::Relaxed) - freed
        }
    }
}

impl Drop for TaskStores {
    fn drop(&mut self) {
        let all = &self.environment.pending_bytes;
        all.fetch_sub(self.pending_bytes, Ordering::Relaxed);
        // The stores before the lock.
        self.slots.clear();
        self.directory = None;
    }
}

impl Deref for TaskStores {
    type Target = [StoreSlot];

    fn deref(&self) -> &[StoreSlot] {
        &self.slots
    }
}

impl DerefMut for TaskStores {
    fn deref_mut(&mut self) -> &mut [StoreSlot] {
        &mut self.slots
    }
}
