//! Runs the simulator: `simulate --seeds N [--seed S] [--steps K] [--mistake NAME]`.
//!
//! With `--seeds` it runs that many seeds from `--seed` on, on all cores, and stops at the first
//! that breaks; with `--seed` alone that one. The exit code is 1 if an invariant was broken.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::Context;
use moldau_tests::simulate::{Mistake, Run, Summary};

fn main() -> anyhow::Result<ExitCode> {
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
         {} generations, {} offset commits, {} transactions",
        next.load(Ordering::Relaxed).min(arguments.seeds),
        arguments.seed,
        started.elapsed().as_secs_f64(),
        total(|summary| summary.batches),
        total(|summary| summary.duplicates),
        total(|summary| summary.restarts),
        total(|summary| summary.generations),
        total(|summary| summary.commits),
        total(|summary| summary.transactions),
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

const USAGE: &str =
    "usage: simulate [--seed S] [--seeds N] [--steps K] [--mistake NAME] [--keep-going]";
const DEFAULT_STEPS: u32 = 600;
