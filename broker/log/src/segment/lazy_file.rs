//! A file that is opened when it is first needed.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::{IoContext, LogError};
use crate::storage::Storage;

/// A file that is opened when it is first needed, so that thousands of sealed segments cost no
/// file descriptor until somebody reads them.
#[derive(Debug)]
pub(crate) struct LazyFile<S: Storage> {
    storage: S,
    path: PathBuf,
    file: OnceLock<S::File>,
}

impl<S: Storage> LazyFile<S> {
    pub(crate) const fn new(storage: S, path: PathBuf) -> Self {
        Self {
            storage,
            path,
            file: OnceLock::new(),
        }
    }

    pub(crate) fn opened(storage: S, path: PathBuf, file: S::File) -> Self {
        Self {
            storage,
            path,
            file: OnceLock::from(file),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn get(&self) -> Result<&S::File, LogError> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = self.storage.open(&self.path).context("open", &self.path)?;
        Ok(self.file.get_or_init(|| file))
    }

    /// The same file; opened already if this one is.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            storage: self.storage.clone(),
            path: self.path.clone(),
            file: self.file.clone(),
        }
    }
}
