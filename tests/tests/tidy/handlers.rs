//! One file for each Kafka API, and its first line agrees with the dispatch table.

use std::collections::BTreeMap;
use std::fs;

use moldau_broker::handlers::DISPATCH_TABLE;

use crate::workspace::root;

#[test]
fn every_api_has_a_file_whose_first_line_is_true() {
    let mut heads = first_lines();
    for entry in DISPATCH_TABLE {
        let (min, max) = (entry.versions.min, entry.versions.max);
        let versions = if min == max {
            format!("v{min}")
        } else {
            format!("v{min}–{max}")
        };
        let wanted = format!(
            "//! {} {versions} (key {}).",
            entry.key.name(),
            entry.key as i16
        );
        let found = heads.remove(&snake_case(entry.key.name()));
        assert_eq!(
            found.as_deref(),
            Some(wanted.as_str()),
            "broker/src/handlers/{}.rs",
            snake_case(entry.key.name())
        );
    }
    heads.retain(|_, head| head.contains("(key "));
    assert!(
        heads.is_empty(),
        "handlers that the dispatch table does not name: {heads:?}"
    );
}

/// First line of each file in the handlers' folder, by the file's name.
fn first_lines() -> BTreeMap<String, String> {
    let folder = root().join("broker/src/handlers");
    fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("list {}: {error}", folder.display()))
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
            let name = path
                .file_stem()
                .and_then(|name| name.to_str())
                .expect("a readable name");
            (
                name.to_owned(),
                text.lines().next().unwrap_or_default().to_owned(),
            )
        })
        .collect()
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (index, character) in name.char_indices() {
        if character.is_ascii_uppercase() && index > 0 {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}
