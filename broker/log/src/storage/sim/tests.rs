//! What the simulated disk promises to the tests that use it.

use super::*;
use crate::storage::write_all;

fn synced_file(storage: &SimStorage) -> SimFile {
    storage.create_directory(Path::new("/d")).unwrap();
    let file = storage.create(Path::new("/d/f")).unwrap();
    write_all(&file, b"synced").unwrap();
    file.sync().unwrap();
    storage.sync_directory(Path::new("/d")).unwrap();
    storage.sync_directory(Path::new("/")).unwrap();
    file
}

#[test]
fn a_crash_keeps_what_was_synced_and_at_most_what_was_written() {
    let mut seen = BTreeSet::new();
    for seed in 0..2_000 {
        let storage = SimStorage::new();
        let file = synced_file(&storage);
        write_all(&file, b"0123456789").unwrap();
        storage.crash(seed);
        let bytes = storage.read(Path::new("/d/f")).unwrap();
        assert!(bytes.starts_with(b"synced"));
        assert!(bytes.len() <= 16);
        for (index, byte) in bytes[6..].iter().enumerate() {
            assert!(*byte == 0 || *byte == b"0123456789"[index]);
        }
        seen.insert(bytes);
    }
    assert!(
        seen.len() > 40,
        "cuts and holes at many places: {}",
        seen.len()
    );
}

#[test]
fn the_same_seed_gives_the_same_crash() {
    let after = |seed| {
        let storage = SimStorage::new();
        let file = synced_file(&storage);
        for _ in 0..20 {
            write_all(&file, b"0123456789").unwrap();
        }
        storage.crash(seed);
        storage.read(Path::new("/d/f")).unwrap()
    };
    for seed in 0..20 {
        assert_eq!(after(seed), after(seed));
    }
}

#[test]
fn a_name_is_lost_in_a_crash_unless_its_directory_was_synced() {
    let lost = (0..20).any(|seed| {
        let storage = SimStorage::new();
        synced_file(&storage);
        storage.create(Path::new("/d/new")).unwrap().sync().unwrap();
        storage.crash(seed);
        storage.open(Path::new("/d/new")).is_err()
    });
    assert!(lost);
}

#[test]
fn a_file_opened_before_a_crash_is_unusable_after_it() {
    let storage = SimStorage::new();
    let file = synced_file(&storage);
    storage.crash(1);
    assert!(write_all(&file, b"late").is_err());
    assert!(file.sync().is_err());
}

#[test]
fn after_the_power_is_cut_nothing_is_done_until_the_crash() {
    let storage = SimStorage::new();
    let file = synced_file(&storage);
    storage.cut_power_after(1);
    write_all(&file, b"done").unwrap();
    assert!(storage.has_power());
    assert!(file.sync().is_err());
    assert!(!storage.has_power());
    assert!(write_all(&file, b"never").is_err());
    assert!(storage.create(Path::new("/d/g")).is_err());
    storage.crash(1);
    let bytes = storage.read(Path::new("/d/f")).unwrap();
    assert!(bytes.starts_with(b"synced") && bytes.len() <= 10);
}

#[test]
fn a_full_disk_takes_what_fits_and_refuses_the_rest() {
    let storage = SimStorage::new();
    let file = synced_file(&storage);
    storage.set_capacity(Some(10));
    let error = write_all(&file, b"more than four").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.size().unwrap(), 10);
    file.set_size(6).unwrap();
    write_all(&file, b"fits").unwrap();
}

#[test]
fn a_torn_write_leaves_the_bytes_before_the_error() {
    let storage = SimStorage::new();
    let file = synced_file(&storage);
    storage.tear_next_write(3, io::ErrorKind::TimedOut);
    assert_eq!(
        write_all(&file, b"abcdef").unwrap_err().kind(),
        io::ErrorKind::TimedOut
    );
    assert_eq!(storage.read(Path::new("/d/f")).unwrap(), b"syncedabc");
    write_all(&file, b"def").unwrap();
}

#[test]
fn a_lock_is_held_until_it_is_dropped_or_the_process_ends() {
    let storage = SimStorage::new();
    let held = storage.lock(Path::new("/lock")).unwrap();
    assert!(held.is_some());
    assert!(storage.lock(Path::new("/lock")).unwrap().is_none());
    drop(held);
    let held = storage.lock(Path::new("/lock")).unwrap();
    assert!(held.is_some());
    storage.kill();
    let next = storage.lock(Path::new("/lock")).unwrap();
    assert!(next.is_some());
    drop(held); // of the process that was killed: does not touch the new lock
    assert!(storage.lock(Path::new("/lock")).unwrap().is_none());
}
