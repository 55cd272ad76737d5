//! Stores that outlive the process, on LSM trees (`docs/adr/0002-store-engine.md`).
//!
//! ```text
//! <state.dir>/<application id>/<task id>/
//!     format                      version of this layout
//!     lock                        locked by the task that uses the directory
//!     used                        changed when the task last began to run with the directory
//!     <store>/layout              what the directory holds: kind of store, length of segments
//!     <store>/main/               a tree: rows of the store, and what it knows about itself
//!     <store>/segment-<number>/   a tree per segment: rows of one interval of event time
//! ```
//!
//! A tree has no write-ahead log: the changelog topic is one. What is committed is in memory
//! until the tree writes it to disk as a whole, together with the changelog offset up to which
//! it is complete. After a crash the tree is as it was when it last wrote, and the rest is
//! replayed from the changelog. Segments are written before the `main` tree that has the offset,
//! so that rows may be ahead of the offset, but never behind it; replaying a record twice changes
//! nothing.
//!
//! Only what is committed reaches a tree. Until then it is in the rows' list of pending changes.

mod compactor;
mod engine;
mod key_value;
mod layout;
mod place;
mod row_key;
mod rows;
mod segments;
mod session;
mod short;
mod task_directory;
mod tree;
mod versioned;
mod window;

pub(super) use engine::Engine;
pub(super) use key_value::DiskKeyValueStore;
pub(super) use layout::Claim;
pub(super) use place::Place;
pub(super) use rows::is_empty_range;
pub(super) use session::DiskSessionStore;
pub(super) use task_directory::TaskDirectory;
pub(super) use versioned::DiskVersionedStore;
pub(super) use window::DiskWindowStore;
