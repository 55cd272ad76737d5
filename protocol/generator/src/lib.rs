//! Writes moldau-protocol's messages and records from the schemas of the Kafka protocol.
//!
//! `cargo run -p moldau-protocol-generator` writes the files; a test proves that they are up to date.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

mod code;
mod files;
mod index;
mod model;
mod names;
mod schema;

use schema::Schema;

/// The files that follow from the schemas, by their path below `protocol/src`.
///
/// # Errors
/// A schema cannot be read, or rustfmt is missing.
pub fn generate() -> Result<BTreeMap<String, String>> {
    let schemas = protocol_folder().join("schema");
    let mut files = files::messages(&Schema::read_all(&schemas.join("message"))?)?;
    files.extend(files::records(&Schema::read_all(&schemas.join("record"))?)?);
    for (path, text) in &mut files {
        *text = format(text).with_context(|| format!("format {path}"))?;
    }
    Ok(files)
}

/// The folder of the crate moldau-protocol.
#[must_use]
pub fn protocol_folder() -> PathBuf {
    // Asked for at run time: several checkouts may share one build directory.
    let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR");
    crate_folder
        .map_or_else(|| PathBuf::from("."), PathBuf::from)
        .join("..")
}

fn format(text: &str) -> Result<String> {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("run rustfmt")?;
    rustfmt
        .stdin
        .take()
        .context("rustfmt has no input")?
        .write_all(text.as_bytes())?;
    let output = rustfmt.wait_with_output()?;
    ensure!(output.status.success(), "rustfmt refuses the code:\n{text}");
    Ok(String::from_utf8(output.stdout)?)
}
