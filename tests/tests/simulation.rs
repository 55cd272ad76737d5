//! The simulator over a fixed set of seeds and one fresh one, and over brokers with a mistake.
//!
//! Many more: `cargo run --release -p moldau-tests --bin simulate -- --seeds 20000`.

use moldau_tests::Seed;
use moldau_tests::simulate::{Mistake, Run};
use rand::RngExt;

const STEPS: u32 = 400;

fn run(seed: u64) -> Run {
    Run {
        seed,
        steps: STEPS,
        mistake: None,
    }
}

#[test]
fn the_invariants_hold_for_a_fixed_set_of_seeds() {
    for seed in 0..60 {
        if let Err(broken) = run(seed).execute() {
            panic!("{broken}");
        }
    }
}

#[test]
fn the_invariants_hold_for_a_fresh_seed() {
    let mut random = Seed::fresh().random();
    for _ in 0..5 {
        if let Err(broken) = run(random.random()).execute() {
            panic!("{broken}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..3 {
        let summary = || run(seed).execute().expect("the invariants hold");
        assert_eq!(summary(), summary(), "seed {seed}");
    }
}

#[test]
fn every_mistake_of_the_list_is_noticed() {
    for mistake in Mistake::ALL {
        let noticed = (0..MISTAKE_SEEDS).any(|seed| {
            let run = Run {
                mistake: Some(mistake),
                ..run(seed)
            };
            run.execute().is_err()
        });
        assert!(noticed, "{mistake} goes unnoticed in {MISTAKE_SEEDS} seeds");
    }
}

/// Seeds in which each mistake must be noticed at least once.
const MISTAKE_SEEDS: u64 = 200;
