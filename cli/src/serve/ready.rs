//! The ready file: tells scripts that everything answers, and where.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

/// Where a running server is found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Addresses {
    pub(crate) cluster_id: String,
    /// Address for Kafka clients on this machine.
    pub(crate) kafka: String,
    pub(crate) http: String,
    pub(crate) postgres: Option<String>,
    pub(crate) data_dir: PathBuf,
    pub(crate) pid: u32,
}

/// Writes the file as a whole or not at all, so that a reader never sees half of it.
///
/// # Errors
/// The file cannot be written or moved into place.
pub(crate) fn write(path: &Path, addresses: &Addresses) -> anyhow::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".part");
    let mut file = std::fs::File::create(&unfinished)
        .with_context(|| format!("create ready file {}", path.display()))?;
    serde_json::to_writer(&mut file, addresses)?;
    file.write_all(b"\n")?;
    std::fs::rename(&unfinished, path)
        .with_context(|| format!("move ready file to {}", path.display()))
}

/// Removes the file when the server stops; that it is gone already is fine.
///
/// # Errors
/// The file cannot be removed.
pub(crate) fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove ready file {}", path.display()))
        }
        _ => Ok(()),
    }
}
