//! Targets for fuzzing: whatever reads bytes from a socket or a disk, as plain functions.
//!
//! A target takes any bytes and returns. It must neither panic nor run long, and what it allocates
//! is bounded by [`Target::allocation_limit`]. `cargo test` runs each over its [`Target::examples`],
//! the committed corpus in `tests/fuzz/corpus/<target>/` and seeded [`Mutator`] changes of both;
//! `cargo fuzz` runs the same functions from `tests/fuzz` (see the README there).

mod golden;
mod log_files;
mod messages;
mod mutator;
mod records;

use std::fmt;
use std::path::PathBuf;

pub use golden::{golden, request_frame};
pub use mutator::Mutator;

/// The folder of this crate: as cargo says when it runs tests, since several checkouts may share one build directory.
#[must_use]
pub fn folder() -> PathBuf {
    let said = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    said.filter(|folder| folder.join("golden").is_dir())
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")))
}

/// Something that reads bytes which anybody may have made.
#[derive(Clone, Copy)]
pub struct Target {
    /// Names the target and the folder of its corpus.
    pub name: &'static str,
    /// Reads the bytes.
    pub run: fn(&[u8]),
    /// Good inputs to start from.
    pub examples: fn() -> Vec<Vec<u8>>,
    /// How many bytes may be allocated in all: this many, and [`Self::per_byte`] for each of input.
    base: usize,
    per_byte: usize,
}

impl Target {
    /// How many bytes the target may allocate in all for an input of this length.
    #[must_use]
    pub const fn allocation_limit(&self, length: usize) -> usize {
        self.base + self.per_byte * length
    }

    /// The target of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("name", &self.name).finish()
    }
}

/// All targets.
///
/// The largest structure of a message has some hundred bytes where an element has one on the wire,
/// and a target reads twice what it wrote again. A log has a fixed cost: its open files and maps.
pub const TARGETS: [Target; 8] = [
    Target {
        name: "requests",
        run: messages::request,
        examples: messages::request_examples,
        base: 1 << 16,
        per_byte: 1_024,
    },
    Target {
        name: "responses",
        run: messages::response,
        examples: messages::response_examples,
        base: 1 << 16,
        per_byte: 1_024,
    },
    Target {
        name: "frames",
        run: messages::frame,
        examples: messages::frame_examples,
        base: 1 << 16,
        per_byte: 1_024,
    },
    Target {
        name: "batches",
        run: records::batches,
        examples: records::batch_examples,
        base: 16 << 20,
        per_byte: 1_024,
    },
    Target {
        name: "compression",
        run: records::compression,
        examples: records::compression_examples,
        base: 16 << 20,
        per_byte: 1_024,
    },
    Target {
        name: "coordinator_records",
        run: records::coordinator_records,
        examples: records::coordinator_examples,
        base: 1 << 18,
        per_byte: 2_048,
    },
    Target {
        name: "metadata_records",
        run: records::metadata_records,
        examples: records::metadata_examples,
        base: 1 << 16,
        per_byte: 1_024,
    },
    Target {
        name: "log_files",
        run: log_files::recover,
        examples: log_files::examples,
        base: 32 << 20,
        per_byte: 4_096,
    },
];
