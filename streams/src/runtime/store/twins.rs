//! Each persistent store beside its twin in memory: under any operations, commits, crashes and
//! restarts they hold the same.

use std::ops::Bound;

use bytes::Bytes;
use tempfile::TempDir;

use super::{
    ChangelogRecord, SessionWindow, StoreEnvironment, StoreKind, StoreSlot, StoreSpec, TaskStores,
};
use crate::runtime::task_id::TaskId;

/// A store on disk, the same in memory, and the changelog of both.
struct Twins {
    directory: TempDir,
    spec: StoreSpec,
    disk: TaskStores,
    memory: StoreSlot,
    changelog: Vec<ChangelogRecord>,
}

const TASK: TaskId = TaskId {
    sub_topology: 0,
    partition: 3,
};
/// So little that trees are written to disk all the time.
const LITTLE_MEMORY: usize = 8 * 1024;

impl Twins {
    fn new(kind: StoreKind) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let spec = StoreSpec::new("app", "store", kind);
        Self {
            disk: open(&directory, &spec),
            memory: StoreSlot::in_memory(&spec),
            changelog: Vec::new(),
            directory,
            spec,
        }
    }

    /// Writes the changes to the changelog, which must be the same for both.
    fn log(&mut self) {
        let disk = self.disk[0].take_changes().expect("changes");
        let memory = self.memory.take_changes().expect("changes");
        assert_eq!(disk, memory);
        self.changelog.extend(disk);
    }

    fn commit(&mut self) {
        self.log();
        let end = i64::try_from(self.changelog.len()).expect("an offset");
        self.disk.commit(|_| Some(end)).expect("commit");
        self.memory.commit().expect("commit");
    }

    /// Loses what is not committed, and on disk what is not written, or not.
    fn reopen(&mut self, is_crash: bool) {
        if is_crash {
            self.disk.abandon();
        }
        self.disk = TaskStores::default();
        self.disk = open(&self.directory, &self.spec);
        let from = self.disk[0].changelog_position().unwrap_or(0);
        replay(&mut self.disk[0], &self.changelog, from);
        let end = i64::try_from(self.changelog.len()).expect("an offset");
        self.disk.commit(|_| Some(end)).expect("commit");
        self.memory = StoreSlot::in_memory(&self.spec);
        replay(&mut self.memory, &self.changelog, 0);
        self.memory.commit().expect("commit");
    }

    /// Drops what is not committed, as after an aborted transaction.
    fn roll_back(&mut self, is_logged: bool) {
        if is_logged {
            self.disk[0].take_changes().expect("changes");
            self.memory.take_changes().expect("changes");
        }
        self.disk.roll_back().expect("rolled back");
        assert!(self.memory.roll_back());
    }

    /// Mostly nothing; else a commit, a crash at any place in it, or a restart.
    fn maybe_disturb(&mut self, random: &mut Random) {
        match random.below(40) {
            0..4 => self.commit(),
            4 => self.reopen(true),
            5 => {
                self.log();
                self.reopen(true);
            }
            6 => self.reopen(false),
            7 => self.roll_back(false),
            8 => self.roll_back(true),
            _ => {}
        }
    }
}

fn open(directory: &TempDir, spec: &StoreSpec) -> TaskStores {
    let environment = StoreEnvironment::new(Some(directory.path()), "app", LITTLE_MEMORY);
    let environment = environment.expect("an environment");
    TaskStores::open(TASK, std::slice::from_ref(spec), &environment).expect("stores")
}

fn replay(store: &mut StoreSlot, changelog: &[ChangelogRecord], from: i64) {
    let from = usize::try_from(from).expect("an offset");
    for record in &changelog[from..] {
        store
            .restore(Some(&record.key), record.value.as_deref(), record.timestamp)
            .expect("restore");
    }
}

/// A small generator of random numbers; the seed is all it depends on.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: i64) -> i64 {
        i64::try_from(self.next() % limit.unsigned_abs()).expect("a small number")
    }

    /// Keys of several lengths, some the beginning of others.
    fn key(&mut self) -> Vec<u8> {
        let length = usize::try_from(self.below(4)).expect("a length");
        (0..length)
            .map(|_| if self.below(2) == 0 { 0 } else { 255 })
            .collect()
    }

    fn value(&mut self) -> Vec<u8> {
        let length = usize::try_from(self.below(60)).expect("a length");
        vec![self.next().to_be_bytes()[0]; length]
    }

    /// Around a time that moves on, in steps that segments notice.
    fn time(&mut self, step: i64) -> i64 {
        (step * 5_000 + self.below(300_000) - 250_000).max(0)
    }
}

fn runs(kind: StoreKind, mut step: impl FnMut(&mut Twins, &mut Random, i64)) {
    for seed in 1..=SEEDS {
        let mut random = Random(seed * 0x9E37_79B9);
        let mut twins = Twins::new(kind);
        for at in 0..STEPS {
            step(&mut twins, &mut random, at);
            twins.maybe_disturb(&mut random);
        }
        twins.commit();
        twins.reopen(false);
        let position = twins.disk[0].changelog_position();
        assert_eq!(position, i64::try_from(twins.changelog.len()).ok());
    }
}

const SEEDS: u64 = 6;
const STEPS: i64 = 250;
/// Two segments and a bit.
const RETENTION_MS: i64 = 130_000;

#[test]
fn a_key_value_store_on_disk_is_as_its_twin_in_memory() {
    runs(StoreKind::KeyValue, |twins, random, _| {
        let (key, value, time) = (random.key(), random.value(), random.below(1_000));
        let (from, to) = (random.key(), random.key());
        let is_put = random.below(3) > 0;
        let mut seen = Vec::new();
        for slot in [&mut twins.disk[0], &mut twins.memory] {
            let store = slot.key_value().expect("a key-value store");
            if is_put {
                store.put(&key, &value, time).expect("put");
            } else {
                store.delete(&key, time).expect("delete");
            }
            let range = store.range(Bound::Excluded(&from), Bound::Included(&to));
            let range: Vec<_> = range.expect("range").map(|e| e.expect("entry")).collect();
            let all: Vec<_> = store
                .all()
                .expect("all")
                .map(|e| e.expect("entry"))
                .collect();
            seen.push((store.get(&to).expect("get"), range, all));
        }
        assert_eq!(seen[0], seen[1]);
    });
}

fn window_step(twins: &mut Twins, random: &mut Random, at: i64) {
    let (key, value, start) = (random.key(), random.value(), random.time(at));
    let (from, to) = (random.time(at), random.time(at));
    let is_put = random.below(4) > 0;
    let mut seen = Vec::new();
    for slot in [&mut twins.disk[0], &mut twins.memory] {
        let store = slot.window().expect("a window store");
        let mut stored = false;
        if is_put {
            stored = store.put(&key, start, &value, start + 1).expect("put");
        } else {
            store.delete(&key, start, start + 1).expect("delete");
        }
        let one = store.fetch(&key, from, to).expect("fetch");
        let one: Vec<_> = one.map(|e| e.expect("entry")).collect();
        let all = store.fetch_all(from, to).expect("fetch");
        let all: Vec<_> = all.map(|e| e.expect("entry")).collect();
        let every = store.fetch_all(0, i64::MAX).expect("fetch");
        let every: Vec<_> = every.map(|e| e.expect("entry")).collect();
        seen.push((
            stored,
            store.get(&key, start).expect("get"),
            one,
            all,
            every,
        ));
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn a_window_store_on_disk_is_as_its_twin_in_memory() {
    let kind = StoreKind::Window {
        retention_ms: RETENTION_MS,
    };
    runs(kind, window_step);
}

#[test]
fn a_join_window_store_on_disk_is_as_its_twin_in_memory() {
    let kind = StoreKind::JoinWindow {
        retention_ms: RETENTION_MS,
    };
    runs(kind, window_step);
}

#[test]
fn a_session_store_on_disk_is_as_its_twin_in_memory() {
    let kind = StoreKind::Session {
        retention_ms: RETENTION_MS,
    };
    runs(kind, |twins, random, at| {
        let (key, value, start) = (random.key(), random.value(), random.time(at));
        let session = SessionWindow {
            start,
            end: start + random.below(3) * 7_000,
        };
        let (from, to) = (random.time(at), random.time(at));
        let is_put = random.below(4) > 0;
        let mut seen = Vec::new();
        for slot in [&mut twins.disk[0], &mut twins.memory] {
            let store = slot.session().expect("a session store");
            let mut stored = false;
            if is_put {
                stored = store.put(&key, session, &value, start).expect("put");
            } else {
                store.remove(&key, session, start).expect("remove");
            }
            let one = store.find(&key, from, to).expect("find");
            let one: Vec<_> = one.map(|e| e.expect("entry")).collect();
            let all = store.find_ended(from, to).expect("find");
            let all: Vec<_> = all.map(|e| e.expect("entry")).collect();
            seen.push((stored, store.get(&key, session).expect("get"), one, all));
        }
        assert_eq!(seen[0], seen[1]);
    });
}

#[test]
fn a_versioned_store_on_disk_is_as_its_twin_in_memory() {
    let kind = StoreKind::Versioned {
        history_ms: RETENTION_MS,
    };
    runs(kind, |twins, random, at| {
        let (key, value, time) = (random.key(), random.value(), random.time(at));
        let (from, to) = (random.time(at), random.time(at));
        let value = (random.below(4) > 0).then_some(value);
        let mut seen = Vec::new();
        for slot in [&mut twins.disk[0], &mut twins.memory] {
            let store = slot.versioned().expect("a versioned store");
            let put = store.put(&key, value.as_deref(), time).expect("put");
            let history = store.history(&key, from, to).expect("history");
            let history: Vec<_> = history.map(|e| e.expect("version")).collect();
            let latest = store.get(&key).expect("get");
            seen.push((
                put,
                latest,
                store.get_as_of(&key, to).expect("get"),
                history,
            ));
        }
        assert_eq!(seen[0], seen[1]);
    });
}

/// Sets two values, the second of a time at which the first is too old; both are logged.
fn logs_what_time_leaves_behind(kind: StoreKind, put: impl Fn(&mut StoreSlot, i64)) {
    let mut twins = Twins::new(kind);
    for start in [0, 10 * RETENTION_MS] {
        put(&mut twins.disk[0], start);
        put(&mut twins.memory, start);
    }
    twins.commit();
    let values = twins.changelog.iter().map(|record| record.value.as_deref());
    assert_eq!(values.collect::<Vec<_>>(), [Some(b"value".as_slice()); 2]);
}

#[test]
fn a_window_is_logged_although_it_is_too_old_by_the_time_of_the_commit() {
    let kind = StoreKind::Window {
        retention_ms: RETENTION_MS,
    };
    logs_what_time_leaves_behind(kind, |slot, start| {
        let store = slot.window().expect("a window store");
        assert!(store.put(b"key", start, b"value", start).expect("put"));
    });
}

#[test]
fn a_session_is_logged_although_it_is_too_old_by_the_time_of_the_commit() {
    let kind = StoreKind::Session {
        retention_ms: RETENTION_MS,
    };
    logs_what_time_leaves_behind(kind, |slot, start| {
        let store = slot.session().expect("a session store");
        let session = SessionWindow { start, end: start };
        assert!(store.put(b"key", session, b"value", start).expect("put"));
    });
}

#[test]
fn old_windows_are_deleted_from_disk_as_whole_segments() {
    let kind = StoreKind::Window {
        retention_ms: RETENTION_MS,
    };
    let mut twins = Twins::new(kind);
    let segments = |twins: &Twins| {
        let store = twins.directory.path().join("app/0_3/store");
        let names = std::fs::read_dir(store).expect("a directory");
        let names = names.map(|entry| entry.expect("an entry").file_name());
        let names = names.filter_map(|name| name.to_str().map(str::to_owned));
        let mut names: Vec<_> = names.filter(|name| name.starts_with("segment-")).collect();
        names.sort();
        names
    };
    for start in [0, 70_000, 140_000] {
        for slot in [&mut twins.disk[0], &mut twins.memory] {
            let store = slot.window().expect("a window store");
            store.put(b"k", start, b"v", start).expect("put");
        }
    }
    twins.commit();
    assert_eq!(segments(&twins), ["segment-0", "segment-1", "segment-2"]);
    for slot in [&mut twins.disk[0], &mut twins.memory] {
        let store = slot.window().expect("a window store");
        store.put(b"k", 270_000, b"v", 270_000).expect("put");
    }
    // Nothing is deleted before the commit.
    let all = ["segment-0", "segment-1", "segment-2", "segment-4"];
    assert_eq!(segments(&twins), all);
    twins.commit();
    assert_eq!(segments(&twins), ["segment-2", "segment-4"]);
}

#[test]
fn a_directory_of_a_newer_version_is_refused_and_left_alone() {
    let mut twins = Twins::new(StoreKind::KeyValue);
    twins.disk = TaskStores::default();
    let marker = twins.directory.path().join("app/0_3/format");
    std::fs::write(&marker, "2\n").expect("write");
    let environment = StoreEnvironment::new(Some(twins.directory.path()), "app", LITTLE_MEMORY);
    let environment = environment.expect("an environment");
    let refused = TaskStores::open(TASK, std::slice::from_ref(&twins.spec), &environment);
    let error = refused.expect_err("an error").to_string();
    assert!(
        error.contains("state.dir") && error.contains("format 2"),
        "{error}"
    );
    assert!(error.contains("hint: run the newer version"), "{error}");
    assert!(marker.exists());
}

#[test]
fn a_key_too_long_for_the_disk_is_an_error_that_names_the_store() {
    let mut twins = Twins::new(StoreKind::KeyValue);
    let store = twins.disk[0].key_value().expect("a key-value store");
    let error = store.put(&vec![0; 70_000], b"v", 0).expect_err("an error");
    assert!(
        error
            .to_string()
            .starts_with("store \"store\": a key of 70000 bytes")
    );
}

#[test]
fn uncommitted_changes_of_all_tasks_together_ask_for_a_commit() {
    let directory = tempfile::tempdir().expect("a directory");
    let environment = StoreEnvironment::new(Some(directory.path()), "app", LITTLE_MEMORY);
    let environment = environment.expect("an environment");
    let spec = [StoreSpec::key_value("app", "store")];
    let mut tasks: Vec<_> = (0..2)
        .map(|partition| {
            let id = TaskId {
                sub_topology: 0,
                partition,
            };
            TaskStores::open(id, &spec, &environment).expect("stores")
        })
        .collect();
    let fill = |task: &mut TaskStores| {
        let store = task[0].key_value().expect("a key-value store");
        let value = Bytes::from(vec![1; LITTLE_MEMORY / 6]);
        store.put(b"k", &value, 0).expect("put");
    };
    fill(&mut tasks[0]);
    assert!(!tasks[0].wants_commit());
    fill(&mut tasks[1]);
    assert!(tasks[1].wants_commit());
    assert!(tasks[0].wants_commit());
    tasks[1].commit(|_| None).expect("commit");
    assert!(!tasks[0].wants_commit());
}

fn opened(twins: &Twins, spec: &StoreSpec) -> Result<(TaskStores, StoreEnvironment), String> {
    let environment = StoreEnvironment::new(Some(twins.directory.path()), "app", LITTLE_MEMORY);
    let environment = environment.expect("an environment");
    let stores = TaskStores::open(TASK, std::slice::from_ref(spec), &environment);
    let stores = stores.map_err(|error| error.to_string())?;
    Ok((stores, environment))
}

#[test]
fn a_store_that_has_become_another_kind_is_refused_with_directory_topic_and_remedy() {
    let mut twins = Twins::new(StoreKind::KeyValue);
    twins.commit();
    twins.disk = TaskStores::default();
    let changed = StoreSpec::window("app", "store", RETENTION_MS);
    let text = opened(&twins, &changed).expect_err("another kind");
    assert!(text.starts_with("store \"store\": "), "{text}");
    assert!(
        text.contains("app/0_3/store holds a key-value store, but the topology has a window store"),
        "{text}"
    );
    assert!(
        text.contains("hint: give the new store another name"),
        "{text}"
    );
    assert!(text.contains("\"app-store-changelog\""), "{text}");
    // What is there stays.
    let (stores, environment) = opened(&twins, &twins.spec).expect("as it was");
    assert_eq!((stores.len(), environment.wiped()), (1, 0));
}

#[test]
fn a_store_whose_windows_have_changed_is_read_anew_from_its_changelog_and_counted_as_wiped() {
    let kind = StoreKind::Window {
        retention_ms: RETENTION_MS,
    };
    let mut twins = Twins::new(kind);
    let store = twins.disk[0].window().expect("a window store");
    store.put(b"k", 200_000, b"v", 200_000).expect("put");
    let changes = twins.disk[0].take_changes().expect("changes");
    twins.disk.commit(|_| Some(1)).expect("commit");
    twins.disk = TaskStores::default();
    let longer = StoreSpec::window("app", "store", 10 * RETENTION_MS);
    let (mut stores, environment) = opened(&twins, &longer).expect("anew");
    assert_eq!(environment.wiped(), 1);
    assert_eq!(stores[0].changelog_position(), None, "all of it is read");
    replay(&mut stores[0], &changes, 0);
    let store = stores[0].window().expect("a window store");
    assert!(store.get(b"k", 200_000).expect("get").is_some());
    drop(stores);
    let (_, environment) = opened(&twins, &longer).expect("as it is");
    assert_eq!(environment.wiped(), 0);
}

#[test]
fn a_wiped_store_is_empty_has_no_position_and_is_counted() {
    let mut twins = Twins::new(StoreKind::KeyValue);
    let store = twins.disk[0].key_value().expect("a key-value store");
    store.put(b"k", b"v", 1).expect("put");
    twins.disk[0].take_changes().expect("changes");
    twins.disk.commit(|_| Some(7)).expect("commit");
    twins.disk = TaskStores::default();
    let (mut stores, environment) = opened(&twins, &twins.spec).expect("stores");
    assert_eq!(stores[0].changelog_position(), Some(7));
    stores.wipe(0).expect("wiped");
    assert_eq!(environment.wiped(), 1);
    assert_eq!(stores[0].changelog_position(), None);
    let store = stores[0].key_value().expect("a key-value store");
    assert_eq!(store.get(b"k").expect("get"), None);
    store.put(b"l", b"w", 2).expect("put");
    stores.commit(|_| Some(1)).expect("commit");
    drop(stores);
    let (mut stores, _) = opened(&twins, &twins.spec).expect("stores");
    assert_eq!(stores[0].changelog_position(), Some(1));
    let store = stores[0].key_value().expect("a key-value store");
    assert!(store.get(b"l").expect("get").is_some());
}
