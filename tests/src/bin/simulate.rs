//! Runs the simulator: `simulate --seeds N [--seed S] [--steps K] [--mistake NAME]`.
//!
//! `simulate --help` says what that means. The exit code is 1 if an invariant was broken.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::Context;
use moldau_tests::simulate::{Mistake, Run, Summary};

fn main() -> anyhow::Result<ExitCode> {
    if std::env::args()
        .skip(1)
        .any(|name| name == "--help" || name == "-h")
    {
        writeln!(std::io::stdout(), "{}", help())?;
        return Ok(ExitCode::SUCCESS);
    }
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let started = Instant::now();
    let next = AtomicU64::new(0);
    let broken = AtomicBool::new(false);
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let totals = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| work(&arguments, &next, &broken)))
            .collect();
        let totals = workers.into_iter().map(|worker| worker.join());
        totals.collect::<Result<Vec<_>, _>>()
    });
    let totals = totals.map_err(|_| anyhow::anyhow!("a worker ended early"))?;
    let total = |pick: fn(&Summary) -> u64| totals.iter().map(pick).sum::<u64>();
    writeln!(
        std::io::stdout(),
        "{} seeds from {} in {:.1} s: {} batches, {} duplicates found, {} restarts, \
         {} generations, {} offset commits, {} transactions committed, {} aborted",
        next.load(Ordering::Relaxed).min(arguments.seeds),
        arguments.seed,
        started.elapsed().as_secs_f64(),
        total(|summary| summary.batches),
        total(|summary| summary.duplicates),
        total(|summary| summary.restarts),
        total(|summary| summary.generations),
        total(|summary| summary.commits),
        total(|summary| summary.transactions),
        total(|summary| summary.aborted),
    )?;
    Ok(match broken.into_inner() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// Runs seeds until none is left, or one breaks.
fn work(arguments: &Arguments, next: &AtomicU64, broken: &AtomicBool) -> Summary {
    let mut total = Summary::default();
    while !broken.load(Ordering::Relaxed) {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= arguments.seeds {
            break;
        }
        let run = Run {
            seed: arguments.seed.wrapping_add(index),
            steps: arguments.steps,
            mistake: arguments.mistake,
        };
        match run.execute() {
            Ok(summary) => {
                total.batches += summary.batches;
                total.duplicates += summary.duplicates;
                total.restarts += summary.restarts;
                total.generations += summary.generations;
                total.commits += summary.commits;
                total.transactions += summary.transactions;
                total.aborted += summary.aborted;
            }
            Err(failure) => {
                broken.store(!arguments.keep_going, Ordering::Relaxed);
                // If nobody reads, there is nobody to tell.
                let _told = writeln!(std::io::stdout(), "{failure}\n");
            }
        }
    }
    total
}

struct Arguments {
    seed: u64,
    seeds: u64,
    steps: u32,
    mistake: Option<Mistake>,
    keep_going: bool,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let (mut seed, mut seeds) = (None, None);
        let (mut steps, mut mistake, mut keep_going) = (DEFAULT_STEPS, None, false);
        while let Some(name) = given.next() {
            if name == "--keep-going" {
                keep_going = true;
                continue;
            }
            let value = given
                .next()
                .with_context(|| format!("{name} needs a value\n{USAGE}"))?;
            let wrong = || format!("{name}: {value} is no number");
            match name.as_str() {
                "--seed" => seed = Some(value.parse().with_context(wrong)?),
                "--seeds" => seeds = Some(value.parse().with_context(wrong)?),
                "--steps" => steps = value.parse().with_context(wrong)?,
                "--mistake" => mistake = Some(value.parse().map_err(anyhow::Error::msg)?),
                _ => anyhow::bail!("unknown argument {name}\n{USAGE}"),
            }
        }
        let seeds = seeds.unwrap_or(1);
        let seed = match (seed, seeds) {
            (Some(seed), _) => seed,
            (None, 1) => rand::random(),
            (None, _) => 0,
        };
        Ok(Self {
            seed,
            seeds,
            steps,
            mistake,
            keep_going,
        })
    }
}

/// What `--help` says.
fn help() -> String {
    let mistakes: Vec<String> = Mistake::ALL.iter().map(ToString::to_string).collect();
    let mistakes = mistakes.join("\n                     ");
    format!(
        "{USAGE}

Runs a whole broker with its clients in one thread, on virtual time, on a network that delays,
doubles and drops, and on a disk that fails and loses its power. After each step it checks what
must always hold.

A seed is the whole input of a run: the same seed and steps give the same run on every machine.
A step is one thing that happens: a request arrives, a log is written or synced, a client acts,
time passes, the power goes. After the last one all trouble ends, and everyone must get on.

Options:
  --seed S           the seed, or the first of several (default: a fresh one, or 0 with --seeds)
  --seeds N          how many seeds to run, one after another on all cores (default: 1)
  --steps K          steps of each run (default: {DEFAULT_STEPS})
  --keep-going       run all seeds, also after one that breaks
  --mistake NAME     make the broker do this wrong, to see that it is noticed:
                     {mistakes}
  -h, --help         this text

Output: one line that counts what was done. A run that breaks prints its seed and step, what did
not hold, the steps before it with the oldest first, and the command that replays it; the exit
code is then 1.

Examples:
  simulate                               one fresh seed
  simulate --seeds 20000                 many, until one breaks
  simulate --seeds 3000 --steps 3000     longer lives
  simulate --seed 4711 --steps 600       replays one"
    )
}

const USAGE: &str =
    "usage: simulate [--seed S] [--seeds N] [--steps K] [--mistake NAME] [--keep-going] [--help]";
const DEFAULT_STEPS: u32 = 600;
