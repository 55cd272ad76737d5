//! Reading a moldau.yaml: the document itself, and the SQL inside it.

use std::path::{Path, PathBuf};

use moldau_connect::config::{Document, ParseContext};

/// Where the data of a `start` without `--data-dir` goes; also what `lint` assumes.
pub(crate) const DEFAULT_DATA_DIR: &str = "./moldau-data";

/// Parses `text` as `lint` does; the error is the text to show, every mistake with its place.
///
/// # Errors
/// The YAML or the SQL in it has mistakes.
pub(crate) fn check(text: &str, origin: &Path) -> Result<Document, String> {
    parse(text, origin, PathBuf::from(DEFAULT_DATA_DIR))
}

/// Parses `text`; placeholders for the data directory become `data_dir`.
///
/// # Errors
/// As [`check`].
pub(crate) fn parse(text: &str, origin: &Path, data_dir: PathBuf) -> Result<Document, String> {
    let name = origin.display().to_string();
    let document = Document::parse(text, &name, &ParseContext { data_dir }).map_err(|found| found.to_string())?;
    let mistakes: Vec<String> = document
        .sql
        .iter()
        .flat_map(|block| {
            moldau_sql::check(&block.text)
                .into_iter()
                .map(|mistake| format!("{name}:{}: {mistake}", block.line + mistake.line.saturating_sub(1)))
        })
        .collect();
    if mistakes.is_empty() { Ok(document) } else { Err(mistakes.join("\n")) }
}
