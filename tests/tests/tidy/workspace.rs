//! Reading the workspace's files.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders of all crates, relative to the root.
pub(crate) const CRATES: [&str; 12] = [
    "protocol",
    "broker",
    "broker/core",
    "broker/log",
    "client",
    "schema",
    "streams",
    "connect",
    "sql",
    "cli",
    "examples",
    "tests",
];

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&folder)
        .parent()
        .expect("the tests crate lies in the workspace")
        .to_path_buf()
}

/// The text of a file, named relative to the root.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

/// All Rust files of the workspace, relative to the root.
pub(crate) fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in CRATES
        .iter()
        .filter(|folder| !folder.starts_with("broker/"))
    {
        collect(&root().join(folder), &mut files);
    }
    assert!(
        files.len() > 50,
        "only {} Rust files found: the walk is broken",
        files.len()
    );
    files
        .iter()
        .map(|path| {
            path.strip_prefix(root())
                .expect("below the root")
                .to_path_buf()
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("list {}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
