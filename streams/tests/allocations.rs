//! The stateless path allocates nothing per record: counted by the allocator itself.

#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use moldau_streams::runtime::{LocalDriver, LocalRecord};
use moldau_streams::{Builder, CommitMode, LocalConfig, Raw, Str, Topic};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of running this many records through filter, map and sink, topics included.
fn allocations(records: i64) -> u64 {
    let input = Topic::<Str, Str>::new("in");
    let builder = Builder::new("app");
    builder
        .stream(&input)
        .filter(|_, value| !value.is_empty())
        .map_values(|value| value.len() as i64)
        .filter(|_, length| *length > 1)
        .map(|key, length| (key.len() as i64, *length))
        .to(&Topic::<i64, i64>::new("out"));
    let topology = builder.build().expect("a topology");
    let config = LocalConfig::default().commit(CommitMode::Manual);
    let mut driver = LocalDriver::new(topology.application(), config).expect("a driver");
    let (key, value) = (Raw::from_static(b"key"), Raw::from_static(b"some value"));
    for at in 0..records {
        let record = LocalRecord::new(Some(key.clone()), Some(value.clone()), at);
        driver.append("in", record).expect("append");
    }
    let before = ALLOCATIONS.with(Cell::get);
    driver.run().expect("run");
    let after = ALLOCATIONS.with(Cell::get);
    assert_eq!(driver.topic("out").len() as i64, records);
    after - before
}

#[test]
fn filters_maps_and_sinks_allocate_nothing_per_record() {
    let (few, many) = (allocations(10_000), allocations(50_000));
    let more = many.saturating_sub(few);
    // Lists that grow and buffers of many records, but nothing for each of the 40,000 more.
    assert!(
        more < 4_000,
        "{more} allocations for 40,000 records, {few} for 10,000"
    );
}
