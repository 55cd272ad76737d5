//! Which crate may use which.

use std::collections::BTreeSet;

use crate::workspace::{CRATES, read};

/// For each crate of ours, the crates of ours that it may depend on outside its own tests.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("protocol", &[]),
    ("broker/core", &["protocol"]),
    ("broker/log", &["protocol"]),
    ("broker", &["core", "log", "protocol"]),
    ("client", &["protocol"]),
    ("schema", &["client", "protocol"]),
    ("streams", &["client", "protocol", "schema"]),
    ("connect", &["client", "protocol", "schema"]),
    ("sql", &["client", "protocol", "schema", "streams"]),
    (
        "cli",
        &[
            "broker", "client", "connect", "protocol", "schema", "sql", "streams",
        ],
    ),
    ("examples", &["client", "streams"]),
    (
        "tests",
        &[
            "broker", "client", "connect", "core", "log", "protocol", "streams",
        ],
    ),
];

/// Crates that bring Arrow or DataFusion with them.
const COLUMNAR: [&str; 4] = ["arrow", "datafusion", "parquet", "pgwire"];

/// Crates that a sans-IO state machine has no use for.
const IMPURE: [&str; 5] = ["tokio", "rand", "libc", "socket2", "chrono"];

#[test]
fn crates_depend_only_downwards() {
    for (folder, allowed) in ALLOWED {
        for dependency in dependencies(folder)
            .iter()
            .filter_map(|name| name.strip_prefix("moldau-"))
        {
            assert!(
                allowed.contains(&dependency),
                "{folder} depends on {dependency}; it may use only {allowed:?} (see ARCHITECTURE.md)"
            );
        }
    }
}

#[test]
fn only_sql_names_arrow_or_datafusion() {
    for folder in CRATES.iter().filter(|folder| **folder != "sql") {
        for dependency in dependencies(folder) {
            let columnar = COLUMNAR.iter().any(|name| dependency.starts_with(name));
            assert!(
                !columnar,
                "{folder} depends on {dependency}: columnar crates belong to sql alone"
            );
        }
    }
}

#[test]
fn the_state_machines_use_no_clock_no_io_and_no_randomness() {
    for folder in ["protocol", "broker/core"] {
        for dependency in dependencies(folder) {
            assert!(
                !IMPURE.contains(&dependency.as_str()),
                "{folder} depends on {dependency}"
            );
        }
    }
}

/// Names under `[dependencies]` of a crate's manifest.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = read(format!("{folder}/Cargo.toml"));
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}
