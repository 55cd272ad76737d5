//! Look-ups in indexes, in memory and in files.

use std::path::PathBuf;

use super::*;
use crate::segment::LazyFile;
use crate::storage::SimStorage;

const BASE: i64 = 1000;

fn offset_index() -> OffsetIndex<SimStorage> {
    let index = OffsetIndex::in_memory(BASE);
    for step in 1..=100 {
        index.push(OffsetEntry {
            offset: BASE + 10 * step,
            position: 4096 * step as u64,
        });
    }
    index
}

fn time_index() -> TimeIndex<SimStorage> {
    let index = TimeIndex::in_memory(BASE);
    for step in 1..=100 {
        index.push(TimeEntry {
            timestamp: -500 + 100 * step,
            offset: BASE + 10 * step,
        });
    }
    index
}

fn stored<T>(
    write: impl FnOnce(&crate::SimFile) -> std::io::Result<usize>,
    open: impl FnOnce(IndexFile<SimStorage>) -> T,
) -> T {
    let storage = SimStorage::new();
    let path = PathBuf::from("/index");
    let size = write(&storage.create(&path).unwrap()).unwrap();
    open(IndexFile::new(LazyFile::new(storage, path), size))
}

#[test]
fn a_look_up_gives_the_last_entry_at_or_below() {
    let in_file = stored(
        |file| offset_index().write_to(file),
        |file| OffsetIndex::in_file(BASE, file),
    );
    for index in [offset_index(), in_file] {
        let floor = |offset| {
            index
                .floor_of_offset(offset)
                .unwrap()
                .map(|entry| entry.position)
        };
        assert_eq!(floor(BASE + 9), None);
        assert_eq!(floor(BASE + 10), Some(4096));
        assert_eq!(floor(BASE + 19), Some(4096));
        assert_eq!(floor(BASE + 500), Some(4096 * 50));
        assert_eq!(floor(i64::MAX), Some(4096 * 100));
        let at = |position| {
            index
                .floor_of_position(position)
                .unwrap()
                .map(|entry| entry.offset)
        };
        assert_eq!(at(4095), None);
        assert_eq!(at(4096 * 7 + 1), Some(BASE + 70));
    }
}

#[test]
fn a_timestamp_may_be_negative() {
    let in_file = stored(
        |file| time_index().write_to(file),
        |file| TimeIndex::in_file(BASE, file),
    );
    for index in [time_index(), in_file] {
        let floor = |timestamp| {
            index
                .floor_of_timestamp(timestamp)
                .unwrap()
                .map(|entry| entry.offset)
        };
        assert_eq!(floor(-401), None);
        assert_eq!(floor(-400), Some(BASE + 10));
        assert_eq!(floor(99), Some(BASE + 50));
        assert_eq!(
            index.last().unwrap(),
            Some(TimeEntry {
                timestamp: 9500,
                offset: BASE + 1000
            })
        );
    }
}

#[test]
fn the_bytes_of_an_entry_are_kafkas() {
    let storage = SimStorage::new();
    let (offsets, times) = (PathBuf::from("/o"), PathBuf::from("/t"));
    let index = OffsetIndex::<SimStorage>::in_memory(BASE);
    index.push(OffsetEntry {
        offset: BASE + 2,
        position: 0x0102_0304,
    });
    index.write_to(&storage.create(&offsets).unwrap()).unwrap();
    assert_eq!(storage.read(&offsets).unwrap(), [0, 0, 0, 2, 1, 2, 3, 4]);
    let index = TimeIndex::<SimStorage>::in_memory(BASE);
    index.push(TimeEntry {
        timestamp: 0x0a0b,
        offset: BASE + 3,
    });
    index.write_to(&storage.create(&times).unwrap()).unwrap();
    assert_eq!(
        storage.read(&times).unwrap(),
        [0, 0, 0, 0, 0, 0, 10, 11, 0, 0, 0, 3]
    );
}
