//! The one number behind everything random in a test.

use std::fmt;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Environment variable that repeats a run.
const VARIABLE: &str = "MOLDAU_TEST_SEED";

/// A fresh seed, or the one to repeat; printed with a failure because tests show their output then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// The seed in `MOLDAU_TEST_SEED`, or a fresh one, printed with how to repeat the run.
    ///
    /// # Panics
    /// The variable is set but holds no number.
    #[expect(
        clippy::print_stdout,
        reason = "shown by the test harness if the test fails"
    )]
    pub fn fresh() -> Self {
        let seed = match std::env::var(VARIABLE) {
            Ok(text) => Self(
                text.parse()
                    .unwrap_or_else(|error| panic!("{VARIABLE}={text}: {error}")),
            ),
            Err(_) => Self(rand::rng().random()),
        };
        println!("repeat this run with {VARIABLE}={seed}");
        seed
    }

    /// A generator that gives the same numbers for the same seed.
    pub fn random(self) -> SmallRng {
        SmallRng::seed_from_u64(self.0)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
