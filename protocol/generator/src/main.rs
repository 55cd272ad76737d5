//! Writes the generated files of moldau-protocol and removes those that are no longer generated.

use std::fs;

use anyhow::Result;
use moldau_protocol_generator::{generate, protocol_folder};

fn main() -> Result<()> {
    let files = generate()?;
    let source = protocol_folder().join("src");
    for folder in ["messages", "records"] {
        fs::create_dir_all(source.join(folder))?;
        for entry in fs::read_dir(source.join(folder))? {
            let entry = entry?;
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if !files.contains_key(&path) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    for (path, text) in &files {
        fs::write(source.join(path), text)?;
    }
    Ok(())
}
