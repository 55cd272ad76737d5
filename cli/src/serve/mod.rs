//! `moldau start` and `moldau broker`: the servers, from the first line on the terminal to the last.

pub(crate) mod address;
mod broker_settings;
pub(crate) mod document;
mod ready;
mod services;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use moldau_broker::BrokerConfig;
use moldau_connect::config::{Document, ParseContext};

use self::address::ListenAddress;
use self::services::{Plan, Services};
use crate::output::{Output, UsageError};
use crate::shutdown::Shutdown;
use crate::{logging, terminal};

const DEFAULT_DATA_DIR: &str = "./moldau-data";
const DEFAULT_HTTP: &str = "127.0.0.1:8080";
const DEFAULT_POSTGRES: &str = "127.0.0.1:5433";

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Directory for everything that is kept; created if missing [default: ./moldau-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address for Kafka clients; port 0 picks a free one [default: `[::]:9092`].
    #[arg(long, value_name = "ADDR")]
    kafka: Option<ListenAddress>,
    /// A broker setting, for example `-o log.retention.hours=24`; can be given again and again, and beats
    /// every other place that gives the setting.
    #[arg(short = 'o', long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// Address for the console, metrics and health.
    #[arg(long, default_value = DEFAULT_HTTP, value_name = "ADDR")]
    http: ListenAddress,
    /// Address for SQL clients such as psql; `start` listens on 127.0.0.1:5433 if not given,
    /// `broker` runs SQL only if it is given.
    #[arg(long, value_name = "ADDR")]
    postgres: Option<ListenAddress>,
    /// Write this file once everything answers: JSON with the addresses and the cluster id.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// A moldau.yaml with topics, connectors and SQL to run.
    file: Option<PathBuf>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    /// A file of broker settings: YAML if its name ends so, else a Kafka `server.properties` as it is.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    serve: ServeArgs,
}

/// Runs `moldau start`: everything in this process, until it is asked to stop.
///
/// # Errors
/// The file has mistakes, an address is taken, or the data directory cannot be used.
pub(crate) async fn start(args: StartArgs, output: Output) -> anyhow::Result<()> {
    let default = PathBuf::from(DEFAULT_DATA_DIR);
    let data_dir = args.serve.data_dir.as_ref().unwrap_or(&default);
    let document = match &args.file {
        Some(file) => Some(read_document(file, data_dir)?),
        None => None,
    };
    let base = match &document {
        Some(document) => broker_settings::from_document(document)?,
        None => BrokerConfig::default(),
    };
    let mut serve = args.serve;
    if serve.postgres.is_none() {
        serve.postgres = Some(DEFAULT_POSTGRES.parse().map_err(anyhow::Error::msg)?);
    }
    serve_until_stopped(&serve, base, document, output).await
}

/// Runs `moldau broker`: the broker and its HTTP port, until it is asked to stop.
///
/// # Errors
/// As [`start`].
pub(crate) async fn broker(args: BrokerArgs, output: Output) -> anyhow::Result<()> {
    let base = match &args.config {
        Some(file) => broker_settings::from_file(file)?,
        None => BrokerConfig::default(),
    };
    serve_until_stopped(&args.serve, base, None, output).await
}

fn read_document(file: &Path, data_dir: &Path) -> anyhow::Result<Document> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    document::parse(&text, file, &ParseContext::new(data_dir))
        .map_err(|mistakes| UsageError(mistakes.to_string()).into())
}

async fn serve_until_stopped(
    args: &ServeArgs,
    base: BrokerConfig,
    document: Option<Document>,
    output: Output,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let broker = broker_settings::with_arguments(base, args)?;
    let mut shutdown = Shutdown::listen()?;
    std::fs::create_dir_all(&broker.data_dir)
        .with_context(|| format!("create data directory {}", broker.data_dir.display()))?;
    let log_file = logging::to_data_dir(&broker.data_dir)?;
    let plan = Plan {
        broker,
        http: args.http.0,
        postgres: args.postgres.map(|address| address.0),
    };
    let services = tokio::select! {
        services = Services::start(plan, document) => services?,
        () = shutdown.requested() => return Ok(()),
    };
    let addresses = services.addresses();
    if let Some(path) = &args.ready_file {
        ready::write(path, &addresses)?;
    }
    if output.is_json() {
        output.object(&addresses)?;
    } else {
        banner(&addresses, &log_file, began, output)?;
    }
    tokio::select! {
        () = shutdown.requested() => {}
        result = terminal::show(services.terminal(), output) => result?,
        result = services.failed() => result?,
    }
    output.line("stopping…")?;
    if let Some(path) = &args.ready_file {
        ready::remove(path)?;
    }
    services.close().await?;
    output.line("stopped")
}

fn banner(
    addresses: &ready::Addresses,
    log_file: &Path,
    began: Instant,
    output: Output,
) -> anyhow::Result<()> {
    output.line(format_args!("moldau {}", env!("CARGO_PKG_VERSION")))?;
    output.line(format_args!("  kafka     {}", addresses.kafka))?;
    output.line(format_args!("  console   http://{}/", addresses.http))?;
    if let Some(postgres) = &addresses.postgres {
        let (host, port) = postgres
            .rsplit_once(':')
            .unwrap_or((postgres.as_str(), "5433"));
        output.line(format_args!(
            "  sql       moldau sql --postgres {postgres}   or   psql -h {host} -p {port}"
        ))?;
    }
    output.line(format_args!("  data      {}", addresses.data_dir.display()))?;
    output.line(format_args!("  log       {}", log_file.display()))?;
    output.line(format_args!(
        "  ready in {:.2} s; Ctrl-C stops, a second Ctrl-C stops at once",
        began.elapsed().as_secs_f64()
    ))
}
