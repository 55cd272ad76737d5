//! Faults of the real file system, for tests of what stands on it: a full or broken disk.
//!
//! Only with the feature `faults`, which no release has.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a path prefix refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The error of every write and creation below it.
    pub write: Option<io::ErrorKind>,
    /// The error of every sync below it.
    pub sync: Option<io::ErrorKind>,
}

/// Lets the file system refuse below `prefix` from now on; no faults end it.
pub fn set_faults(prefix: &Path, faults: Faults) {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    if faults == Faults::default() {
        all.remove(prefix);
    } else {
        all.insert(prefix.to_path_buf(), faults);
    }
}

pub(super) fn on_write(path: &Path) -> io::Result<()> {
    refuse(path, |faults| faults.write)
}

pub(super) fn on_sync(path: &Path) -> io::Result<()> {
    refuse(path, |faults| faults.sync)
}

fn refuse(path: &Path, kind: impl Fn(&Faults) -> Option<io::ErrorKind>) -> io::Result<()> {
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let mut hit = all.iter().filter(|(prefix, _)| path.starts_with(prefix));
    hit.find_map(|(_, faults)| kind(faults))
        .map_or(Ok(()), |kind| Err(kind.into()))
}

static ALL: Mutex<BTreeMap<PathBuf, Faults>> = Mutex::new(BTreeMap::new());
