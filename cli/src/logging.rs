//! Where the process logs: everything from INFO into a file in the data directory, warnings to the terminal.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Context;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Environment variable with the filter of the log file, in `tracing`'s syntax.
const FILTER_VARIABLE: &str = "MOLDAU_LOG";

/// Name of the log file in the data directory.
const LOG_FILE: &str = "moldau.log";

/// Starts logging of a server into `data_dir`; returns the path of the file.
///
/// # Errors
/// The file cannot be opened for appending, or the filter in `MOLDAU_LOG` is malformed.
pub(crate) fn to_data_dir(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let path = data_dir.join(LOG_FILE);
    let file = open(&path).with_context(|| format!("open log file {}", path.display()))?;
    let in_file = fmt::layer()
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .with_filter(filter()?);
    let on_terminal = fmt::layer()
        .with_target(false)
        .without_time()
        .with_writer(std::io::stderr)
        .with_filter(LevelFilter::WARN);
    tracing_subscriber::registry()
        .with(in_file)
        .with(on_terminal)
        .try_init()?;
    Ok(path)
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn filter() -> anyhow::Result<EnvFilter> {
    match std::env::var(FILTER_VARIABLE) {
        Ok(text) => EnvFilter::try_new(&text).with_context(|| format!("{FILTER_VARIABLE}={text}")),
        Err(_) => Ok(EnvFilter::new("info")),
    }
}
