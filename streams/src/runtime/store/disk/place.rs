//! Which store in which directory: what errors must name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::runtime::error::StreamsError;

/// A store and its directory.
#[derive(Clone, Debug)]
pub(in crate::runtime::store) struct Place(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: String,
    directory: PathBuf,
}

impl Place {
    /// The directory of `store` within the task's. A name that is no file name is refused.
    pub(in crate::runtime::store) fn new(task: &Path, store: &str) -> Result<Self, StreamsError> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if store.is_empty() || store == "." || store == ".." || !store.chars().all(is_name) {
            return Err(StreamsError::Store {
                store: store.to_owned(),
                reason: "its name cannot be that of a directory\n  hint: use letters, digits, \
                         `.`, `_` and `-` only"
                    .to_owned(),
            });
        }
        Ok(Self(Arc::new(Inner {
            store: store.to_owned(),
            directory: task.join(store),
        })))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Refuses keys that no tree can hold.
    pub(super) fn check_key(&self, key: &[u8]) -> Result<(), StreamsError> {
        if key.len() <= MAX_KEY {
            return Ok(());
        }
        Err(self.error(&format!(
            "a key of {} bytes is longer than the {MAX_KEY} that a persistent store holds\n  \
             hint: use shorter keys, for example a hash of them, or keep the stores in memory by \
             leaving `state_dir` out",
            key.len()
        )))
    }

    pub(super) fn error(&self, reason: &str) -> StreamsError {
        StreamsError::Store {
            store: self.0.store.clone(),
            reason: reason.to_owned(),
        }
    }

    pub(super) fn io(&self, action: &str, error: &io::Error) -> StreamsError {
        let directory = self.0.directory.display();
        if matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        ) {
            return self.error(&format!(
                "cannot {action} in {directory}: the disk is full ({error})\n  hint: free some space and \
                 start again; nothing is lost, the changelog has what is not on disk"
            ));
        }
        self.error(&format!("cannot {action} in {directory}: {error}"))
    }

    pub(super) fn tree(&self, action: &str, error: &lsm_tree::Error) -> StreamsError {
        match error {
            lsm_tree::Error::Io(error) => self.io(action, error),
            error => self.error(&format!(
                "cannot {action} in {}: its files are damaged ({error})\n  hint: delete the \
                 directory; the store comes back from its changelog",
                self.0.directory.display()
            )),
        }
    }
}

/// Keys of trees have at most 65,535 bytes; the rest is for what stores put around them.
const MAX_KEY: usize = 65_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_with_store_directory_and_remedy() {
        let place = Place::new(Path::new("/state/app/0_1"), "counts").expect("a place");
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let text = place.tree("write", &lsm_tree::Error::Io(full)).to_string();
        assert!(text.starts_with("store \"counts\": cannot write in /state/app/0_1/counts:"));
        assert!(
            text.contains("the disk is full (") && text.contains("hint: free some space"),
            "{text}"
        );
    }

    #[test]
    fn a_store_cannot_leave_the_directory_of_its_task() {
        for name in ["", ".", "..", "a/b", "a\\b", "ä"] {
            assert!(Place::new(Path::new("/state"), name).is_err(), "{name}");
        }
    }
}
