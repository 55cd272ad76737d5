//! `moldau bench compare`: the same loads on two endpoints, alternating, as ratios.
//!
//! Both run on the same machine and share it with this program, so each figure is a median over rounds, and the
//! server's CPU-seconds say more than its rate: the rate is often what this program can send.

mod case;
mod endpoint;
mod loads;
mod report;

use anyhow::Context;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use case::{Case, cases};
use endpoint::Endpoint;
use report::{Comparison, Figure, Report};

use crate::connection::ConnectionArgs;
use crate::output::{Output, print_error};

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The first endpoint: Moldau.
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Kafka address of the endpoint to compare with.
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "list")]
    with: Option<String>,
    /// Process id of the first endpoint's server on this machine, for CPU-seconds and memory.
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Process id of the other endpoint's server.
    #[arg(long, value_name = "PID")]
    with_pid: Option<u32>,
    /// Rounds; figures are medians over them.
    #[arg(short, long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Run only the loads whose name contains one of these, for example `produce/100B,consume`.
    #[arg(long, value_delimiter = ',', value_name = "TEXT")]
    only: Vec<String>,
    /// Fewer loads, and an eighth of their data.
    #[arg(short, long)]
    quick: bool,
    /// Print the names of the loads and run none.
    #[arg(long)]
    list: bool,
    /// Megabytes that each produce and consume load moves.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    megabytes: u64,
    /// When a record counts as acknowledged, for both endpoints.
    #[arg(long, value_enum, default_value_t = Durability::Os)]
    durability: Durability,
    /// Empty the page cache before reading from files; needs root and slows the whole machine.
    #[arg(long)]
    drop_page_cache: bool,
    /// Command that stops (`COMMAND stop`) and starts (`COMMAND start`, prints the process id) the first server.
    #[arg(long, value_name = "COMMAND")]
    restart: Option<String>,
    /// The same for the other server.
    #[arg(long, value_name = "COMMAND")]
    with_restart: Option<String>,
}

/// When a record counts as acknowledged by one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// In the operating system's page cache: Kafka's default. A power failure may lose it.
    Os,
    /// On the disk, after `fdatasync`: Moldau's default for one replica (Kafka: `flush.messages=1`).
    Commit,
}

/// What all loads of a run share.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// Bytes that each produce and consume load moves.
    bytes: u64,
    /// Length of loads that take a fixed time.
    seconds: u64,
    drop_page_cache: bool,
}

/// Runs `moldau bench compare`.
///
/// # Errors
/// An endpoint cannot be reached or refuses a load.
pub(crate) async fn run(args: CompareArgs, output: Output) -> anyhow::Result<()> {
    let chosen: Vec<Case> = cases(args.quick)
        .into_iter()
        .filter(|case| {
            args.only.is_empty() || args.only.iter().any(|text| case.name().contains(text))
        })
        .collect();
    if args.list {
        return chosen.iter().try_for_each(|case| output.line(case.name()));
    }
    anyhow::ensure!(
        !chosen.is_empty(),
        "no load has a name that contains one of {:?}\nhint: `moldau bench compare --list` prints the names",
        args.only
    );
    let with = args
        .with
        .context("no endpoint to compare with: give `--with HOST:PORT`")?;
    let shrink = if args.quick { 8 } else { 1 };
    let scale = Scale {
        bytes: (args.megabytes * 1_000_000 / shrink).max(1_000_000),
        seconds: if args.quick { 3 } else { 10 },
        drop_page_cache: args.drop_page_cache,
    };
    let mut endpoints = [
        Endpoint::open(
            "moldau",
            &args.connection.bootstrap,
            args.server_pid,
            args.restart,
            args.durability,
        )
        .await?,
        Endpoint::open(
            "other",
            &with,
            args.with_pid,
            args.with_restart,
            args.durability,
        )
        .await?,
    ];
    let comparisons = measure(&chosen, &mut endpoints, args.rounds, scale).await;
    let [ours, theirs] = endpoints;
    Report {
        bootstrap: args.connection.bootstrap,
        with,
        durability: args.durability,
        settings: [ours.settings(), theirs.settings()],
        rounds: args.rounds,
        megabytes: scale.bytes / 1_000_000,
        loads: comparisons,
    }
    .print(output)
}

/// Runs every load in every round on both endpoints; the one that begins alternates.
async fn measure(
    cases: &[Case],
    endpoints: &mut [Endpoint; 2],
    rounds: u32,
    scale: Scale,
) -> Vec<Comparison> {
    let progress = progress_bar(cases.len() as u64 * u64::from(rounds) * 2);
    let mut comparisons: Vec<Comparison> = cases
        .iter()
        .map(|case| Comparison::new(case.name()))
        .collect();
    for round in 0..rounds {
        for (case, comparison) in cases.iter().zip(&mut comparisons) {
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                let endpoint = &mut endpoints[which];
                progress.set_message(format!("{} on {}", case.name(), endpoint.name));
                match loads::run(case, endpoint, scale).await {
                    Ok(figures) => comparison.add(which, figures),
                    // The other loads are worth having; this one shows no figure.
                    Err(error) => {
                        let (name, bootstrap) = (endpoint.name, &endpoint.bootstrap);
                        let failed =
                            error.context(format!("{} on {name} ({bootstrap})", case.name()));
                        progress.suspend(|| print_error(&failed));
                    }
                }
                progress.inc(1);
            }
        }
    }
    progress.finish_and_clear();
    comparisons
}

fn progress_bar(steps: u64) -> ProgressBar {
    let progress = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}") {
        progress.set_style(style);
    }
    progress.enable_steady_tick(std::time::Duration::from_millis(250));
    progress
}
