//! `moldau lint`: checks a moldau.yaml without a broker.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use moldau_connect::config::ParseContext;

use crate::output::{Output, UsageError};
use crate::serve::document;

#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Files to check.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Runs `moldau lint …`.
///
/// # Errors
/// A file cannot be read or has a mistake; the text shows each with its place.
pub(crate) fn run(args: &LintArgs, output: Output) -> anyhow::Result<()> {
    let mut mistakes = Vec::new();
    for file in &args.files {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        match document::parse(&text, file, &ParseContext::check_only()) {
            Ok(_) => output.line(format_args!("{}: ok", file.display()))?,
            Err(found) => mistakes.push(found.to_string()),
        }
    }
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(UsageError(mistakes.join("\n")).into())
}
