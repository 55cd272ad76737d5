//! What every file must have, and names that say nothing.

use crate::workspace::{CRATES, read, root, rust_files};

/// Names under which anything ends up.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "misc"];

#[test]
fn every_crate_root_says_what_the_crate_is() {
    for folder in CRATES {
        let path = ["src/lib.rs", "src/main.rs"]
            .iter()
            .map(|file| format!("{folder}/{file}"))
            .find(|path| root().join(path).exists())
            .unwrap_or_else(|| panic!("{folder} has no root file"));
        let text = read(&path);
        let docs = text.lines().filter(|line| line.starts_with("//!")).count();
        assert!(
            docs >= 3,
            "{path}: say in a few `//!` lines what the crate is and where to begin"
        );
    }
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    for path in rust_files() {
        let says_nothing = path
            .iter()
            .filter_map(|part| part.to_str())
            .any(|part| EMPTY_NAMES.contains(&part.trim_end_matches(".rs")));
        assert!(
            !says_nothing,
            "{}: name it for what is in it",
            path.display()
        );
    }
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    let marks = [
        concat!("#[", "ignore"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    for path in rust_files() {
        let text = read(&path);
        for mark in marks {
            assert!(!text.contains(mark), "{}: {mark}", path.display());
        }
    }
}

#[test]
fn long_files_say_why_they_are_one_thing() {
    for path in rust_files() {
        let text = read(&path);
        let code = text
            .split("#[cfg(test)]")
            .next()
            .unwrap_or_default()
            .lines()
            .count();
        let generated = text.starts_with("// @generated") || text.contains("@generated");
        let explained = text
            .lines()
            .take(30)
            .any(|line| line.starts_with("//!") && line.contains("one file"));
        assert!(
            code <= 1_000 || generated || explained,
            "{}: {code} lines; find the seam, or say in the module doc why it is one file",
            path.display()
        );
    }
}

#[test]
fn every_example_is_listed() {
    let readme = read("examples/README.md");
    let mut examples = Vec::new();
    for folder in [
        "examples/src/bin",
        "examples/yaml",
        "examples/sql",
        "examples/monitoring",
    ] {
        let Ok(entries) = std::fs::read_dir(root().join(folder)) else {
            continue;
        };
        examples.extend(entries.map(|entry| entry.expect("a directory entry").path()));
    }
    assert!(
        !examples.is_empty(),
        "no examples found: the walk is broken"
    );
    for example in examples {
        let name = example
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("a readable name");
        assert!(
            readme.contains(name),
            "examples/README.md does not list {name}"
        );
    }
}
