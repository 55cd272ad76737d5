//! Follows growing files and knows, for each, the place after the last line it gave out.
//!
//! - A file that is renamed is read on under its new name, and to its end if the new name is out
//!   of the patterns; also when it was renamed while nobody watched.
//! - A file that is emptied and written anew (copytruncate) begins at its first byte. What was
//!   written between our last look and the emptying is gone; no reader can prevent that.
//! - A line is given out when its line end is there, or when its file is gone for good.

mod discovery;
mod identity;
mod tailed_file;
mod watcher;

pub(crate) use identity::{ANCHOR_BYTES, FileId, Print, Progress};
pub(crate) use tailed_file::Line;
pub(crate) use watcher::{Batch, Now, Source, TailSettings, Watcher};

#[cfg(test)]
mod tests;
