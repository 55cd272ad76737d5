//! Every fuzz target over its examples, the committed corpus, golden data and seeded changes of
//! them: no panic, no hang, no large allocation.

mod allocation {
    //! Counts what each thread allocates.

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    /// How many bytes `work` allocates in all, freed or not.
    pub(crate) fn allocated_by(work: impl FnOnce()) -> usize {
        let before = ALLOCATED.get();
        work();
        ALLOCATED.get() - before
    }

    struct Counting;

    thread_local! {
        static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    fn count(size: usize) {
        // The counter is gone while a thread ends.
        let _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get() + size));
    }

    // SAFETY: every call is passed on to the system's allocator as it is.
    #[expect(unsafe_code, reason = "an allocator is unsafe by its nature")]
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            count(layout.size());
            // SAFETY: the caller keeps the rules of `alloc`.
            unsafe { System.alloc(layout) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            count(layout.size());
            // SAFETY: the caller keeps the rules of `alloc_zeroed`.
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: the caller keeps the rules of `dealloc`.
            unsafe { System.dealloc(pointer, layout) }
        }

        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            count(new_size);
            // SAFETY: the caller keeps the rules of `realloc`.
            unsafe { System.realloc(pointer, layout, new_size) }
        }
    }
}

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use moldau_tests::Seed;
use moldau_tests::fuzz::{self, Mutator, Target, golden};
use rand::RngExt;

/// Changed inputs per target; `MOLDAU_FUZZ_INPUTS` sets another number.
const INPUTS: usize = 3_000;

/// No input takes so long, even on a machine that does much else.
const HANG: Duration = Duration::from_secs(20);

#[test]
fn requests_of_any_bytes_are_decoded_or_refused() {
    check("requests");
}

#[test]
fn responses_of_any_bytes_are_decoded_or_refused() {
    check("responses");
}

#[test]
fn frames_of_any_bytes_are_parsed_or_refused() {
    check("frames");
}

#[test]
fn batches_of_any_bytes_are_read_or_refused() {
    check("batches");
}

#[test]
fn compressed_bytes_of_any_kind_are_unpacked_or_refused() {
    check("compression");
}

#[test]
fn coordinators_survive_records_of_any_bytes() {
    check("coordinator_records");
}

#[test]
fn metadata_records_of_any_bytes_are_decoded_or_refused() {
    check("metadata_records");
}

#[test]
fn logs_of_any_files_are_recovered_or_refused() {
    check("log_files");
}

fn check(name: &str) {
    let target = Target::named(name).expect("a target of this name");
    let mut inputs = (target.examples)();
    inputs.extend(corpus(name));
    inputs.extend(golden(name));
    for input in &inputs {
        run(target, input);
    }
    let mut mutator = Mutator::new(Seed::fresh().random().random());
    for _ in 0..count() {
        run(target, &mutator.next(&inputs));
    }
}

fn run(target: Target, input: &[u8]) {
    let started = Instant::now();
    let mut allocated = 0;
    let done = catch_unwind(AssertUnwindSafe(|| {
        allocated = allocation::allocated_by(|| (target.run)(input));
    }));
    let limit = target.allocation_limit(input.len());
    let complaint = if done.is_err() {
        "panics".to_owned()
    } else if allocated > limit {
        format!("allocates {allocated} bytes, more than {limit}")
    } else if started.elapsed() > HANG {
        format!("takes {:?}", started.elapsed())
    } else {
        return;
    };
    let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
    panic!("{} {complaint} with the input {hex}", target.name);
}

fn count() -> usize {
    let given = std::env::var("MOLDAU_FUZZ_INPUTS");
    given
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(INPUTS)
}

/// Inputs that once found something, one in each file.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = fuzz::folder().join("fuzz/corpus").join(name);
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let read = |entry: std::io::Result<fs::DirEntry>| fs::read(entry.ok()?.path()).ok();
    entries.filter_map(read).collect()
}
