//! What a store's directory holds, so that a changed topology does not take it for something else.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::place::Place;
use super::segments::segment_interval_ms;
use crate::runtime::error::StreamsError;
use crate::runtime::store::{StoreKind, StoreSpec};

/// Whether a directory was fit for a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime::store) enum Claim {
    /// It is empty, or holds this store.
    Fits,
    /// Its rows lay in segments of another length. They were thrown away; all of them are in the
    /// changelog.
    Anew,
}

impl Place {
    /// Makes the directory ready for a store.
    ///
    /// A store of another kind is refused: its changelog cannot be read either.
    pub(in crate::runtime::store) fn claim(&self, spec: &StoreSpec) -> Result<Claim, StreamsError> {
        let failed = |error: io::Error| self.io("prepare the directory", &error);
        // What a process that was killed had begun to delete.
        delete(self.deleted()).map_err(failed)?;
        let wanted = layout(spec.kind);
        let path = self.directory().join(FILE);
        let claim = match fs::read_to_string(&path) {
            Ok(held) if held == wanted => return Ok(Claim::Fits),
            Ok(held) if held.lines().next() == wanted.lines().next() => {
                tracing::warn!(
                    store = spec.name,
                    "the windows of a store have changed, it is restored as a whole"
                );
                self.remove()?;
                Claim::Anew
            }
            Ok(held) => return Err(self.other_kind(spec, held.lines().next().unwrap_or(""))),
            // Directories of earlier versions have no such file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Claim::Fits,
            Err(error) => return Err(failed(error)),
        };
        fs::create_dir_all(self.directory()).map_err(failed)?;
        // Renamed into place, so that a crash leaves no half of it.
        let new = self.directory().join(FILE_NEW);
        fs::write(&new, wanted)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(failed)?;
        Ok(claim)
    }

    /// Deletes the directory. A half of it is never seen as a store.
    pub(in crate::runtime::store) fn remove(&self) -> Result<(), StreamsError> {
        let failed = |error: io::Error| self.io("delete the store", &error);
        match fs::rename(self.directory(), self.deleted()) {
            Ok(()) => delete(self.deleted()).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Where the directory goes before it is deleted. No store has such a name.
    fn deleted(&self) -> PathBuf {
        let mut name = self.directory().as_os_str().to_owned();
        name.push("~");
        PathBuf::from(name)
    }

    fn other_kind(&self, spec: &StoreSpec, held: &str) -> StreamsError {
        let topic = spec.changelog.as_ref().map_or("", |topic| &topic.name);
        self.error(&format!(
            "{} holds a {held}, but the topology has a {} of this name now\n  hint: give the new \
             store another name; or, to begin it anew, delete this directory in all instances and \
             the topic \"{topic}\"",
            self.directory().display(),
            spec.kind.name()
        ))
    }
}

fn delete(path: PathBuf) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The first line says what is stored, the second in which pieces.
fn layout(kind: StoreKind) -> String {
    let segments = match kind {
        StoreKind::Window { retention_ms }
        | StoreKind::JoinWindow { retention_ms }
        | StoreKind::Session { retention_ms } => Some(segment_interval_ms(retention_ms)),
        StoreKind::KeyValue | StoreKind::SuppressBuffer | StoreKind::Versioned { .. } => None,
    };
    let segments = segments.map(|interval| format!("segments of {interval} ms\n"));
    format!("{}\n{}", kind.name(), segments.unwrap_or_default())
}

const FILE: &str = "layout";
const FILE_NEW: &str = "layout.new";
