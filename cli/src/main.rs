//! `moldau`: a whole event-streaming platform in one binary.
//!
//! `start` and `broker` run servers; every other verb is a client that works against any Kafka
//! endpoint. Each verb is one module here, and this file only picks the verb and sets the exit code:
//! 0 done, 1 failed, 2 wrong usage or a mistake in a file that was given.
#![expect(
    clippy::print_stderr,
    reason = "a command-line tool talks to the person who runs it"
)]

mod bench;
mod connection;
mod consume;
mod group;
mod http;
mod lint;
mod logging;
mod output;
mod produce;
mod serve;
mod shutdown;
mod sql;
mod terminal;
mod topic;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// A whole event-streaming platform in one binary.
#[derive(Debug, Parser)]
#[command(name = "moldau", version, about, propagate_version = true)]
struct Cli {
    /// Print JSON instead of tables: one object or array, or one object a line for streams.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run everything in one process: broker, SQL, connectors, console.
    Start(serve::StartArgs),
    /// Run the broker alone.
    Broker(serve::BrokerArgs),
    /// List, describe, create, grow and delete topics.
    Topic(topic::TopicArgs),
    /// Write lines from standard input to a topic.
    Produce(produce::ProduceArgs),
    /// Print the records of a topic.
    Consume(consume::ConsumeArgs),
    /// List, describe and reset consumer groups.
    Group(group::GroupArgs),
    /// Run SQL: interactive, from an argument, or from standard input.
    Sql(sql::SqlArgs),
    /// Check a moldau.yaml without a broker.
    Lint(lint::LintArgs),
    /// Measure a Kafka endpoint: throughput, latency, server CPU and memory.
    Bench(bench::BenchArgs),
    /// Print a completion script for a shell.
    Completion {
        /// The shell to complete for.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = output::Output::new(cli.json);
    match run(cli.verb, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(&error);
            if error.is::<output::UsageError>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run(verb: Verb, output: output::Output) -> anyhow::Result<()> {
    if let Verb::Completion { shell } = verb {
        clap_complete::generate(shell, &mut Cli::command(), "moldau", &mut std::io::stdout());
        return Ok(());
    }
    if let Verb::Lint(args) = verb {
        return lint::run(&args, output);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        match verb {
            Verb::Start(args) => serve::start(args, output).await,
            Verb::Broker(args) => serve::broker(args, output).await,
            Verb::Topic(args) => topic::run(args, output).await,
            Verb::Produce(args) => produce::run(args, output).await,
            Verb::Consume(args) => consume::run(args, output).await,
            Verb::Group(args) => group::run(args, output).await,
            Verb::Sql(args) => sql::run(args, output).await,
            Verb::Bench(args) => bench::run(args, output).await,
            Verb::Completion { .. } | Verb::Lint(_) => Ok(()),
        }
    });
    // Standard input may still be blocked in a read that nothing can interrupt.
    runtime.shutdown_background();
    result
}

/// Two at least, so that one long computation never stops the network; eight at most, for memory.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8))
}
