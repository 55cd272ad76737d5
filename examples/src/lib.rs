//! Short jobs that show how Moldau is used, and what they share: arguments and log output.
//!
//! Each job is one file in `src/bin` with its test below it; `README.md` lists them and says how
//! to run each.

use tracing_subscriber::EnvFilter;

/// Switches log output on (set `RUST_LOG` for more of it) and gives the bootstrap servers: the
/// first argument, by default `localhost:9092`.
#[must_use]
pub fn start() -> String {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    std::env::args()
        .nth(1)
        .unwrap_or_else(|| "localhost:9092".to_owned())
}
