//! The committed files are those that the generator writes.

use std::fs;

use moldau_protocol_generator::{generate, protocol_folder};

#[test]
fn regenerating_changes_nothing() {
    let source = protocol_folder().join("src");
    let files = generate().expect("generate");
    for (path, text) in &files {
        let committed = fs::read_to_string(source.join(path)).unwrap_or_default();
        assert!(
            committed == *text,
            "{path} is out of date: run `cargo run -p moldau-protocol-generator`"
        );
    }
    for folder in ["messages", "records"] {
        for entry in fs::read_dir(source.join(folder)).expect("folder of generated files") {
            let path = format!(
                "{folder}/{}",
                entry.expect("entry").file_name().to_string_lossy()
            );
            assert!(files.contains_key(&path), "{path} is not generated");
        }
    }
}
