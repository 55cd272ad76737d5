//! A whole broker and its clients in one thread, on virtual time, with a disk that fails.
//!
//! The broker's own cores (partition leader, producer states, group coordinator) and its own log run
//! on [`moldau_log::SimStorage`]. Around them stands a thin shell (`node`) that does what the
//! broker's runtime does with threads: writer rounds, group commit, answers after the commit,
//! maintenance, checkpoints, start and stop. Simulated clients send requests over a network that
//! delays, reorders, doubles and drops; the power is cut in the middle of any call to the disk.
//!
//! One seed is the whole input: the same seed gives the same run, so a failure is replayed by its
//! seed and number of steps. After each step the invariants of a single node are checked:
//!
//! - nothing that was acknowledged is lost, by the promise of the topic's `flush` mode
//! - offsets are dense, the high watermark never falls, `start <= LSO <= high watermark <= end`
//! - a batch of an idempotent producer is there once, in the producer's order, and every answer
//!   names the same offset
//! - a committed offset is never lost, nor replaced by an older one
//! - no two members own one partition in the same generation or, with the new protocol, epoch
//! - a coordinator equals the replay of its partition
//! - transactions are not torn: all partitions agree how each ended, readers of committed records see
//!   exactly the committed ones, what was acknowledged as committed stays, what nobody committed is
//!   never seen, and the last stable offset is the first undecided one
//! - at the end, with all faults healed, every producer and every member gets on
//!
//! [`Mistake`] lists deliberate errors in the shell; a test makes each of them, and expects that the
//! simulation notices.

mod consumers;
mod groups;
mod members;
mod mistake;
mod model;
mod network;
mod node;
mod partition;
mod producers;
mod recovery;
mod shard;
mod transaction_model;
mod transaction_shard;
mod transactors;
mod weather;
mod world;

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;

pub use mistake::Mistake;

use world::World;

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// From which everything follows.
    pub seed: u64,
    /// How many steps it takes, apart from the healing at the end.
    pub steps: u32,
    /// What the shell does wrong, to see that it is noticed.
    pub mistake: Option<Mistake>,
}

/// What a run did, so that one sees that it was worth something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Batches that were appended.
    pub batches: u64,
    /// Repeated batches that were found to be in the log already.
    pub duplicates: u64,
    /// Times that the broker started again.
    pub restarts: u64,
    /// Generations that groups had.
    pub generations: u64,
    /// Offset commits that were acknowledged.
    pub commits: u64,
    /// Transactions that were committed.
    pub transactions: u64,
    /// Transactions that their producers aborted.
    pub aborted: u64,
    /// A digest of all steps: equal for equal runs.
    pub digest: u64,
}

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Broken {
    run: Run,
    step: u32,
    what: String,
    trace: Vec<String>,
}

impl Broken {
    /// What did not hold.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, step, .. } = self;
        writeln!(f, "seed {} broke at step {step}: {}", run.seed, self.what)?;
        for line in &self.trace {
            writeln!(f, "    {line}")?;
        }
        write!(
            f,
            "replay: cargo run -p moldau-tests --bin simulate -- --seed {} --steps {}",
            run.seed, run.steps
        )?;
        if let Some(mistake) = run.mistake {
            write!(f, " --mistake {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Broken {}

impl Run {
    /// Runs it.
    ///
    /// # Errors
    /// The first invariant that does not hold, or panic of the code under test.
    pub fn execute(self) -> Result<Summary, Box<Broken>> {
        let mut world = None;
        let done = catch(|| {
            let world = world.insert(World::new(self));
            for _ in 0..self.steps {
                world.step();
            }
            world.heal();
        });
        match (done, world) {
            (Ok(()), Some(world)) => Ok(world.into_summary()),
            (Ok(()), None) => unreachable!("the world is made first"),
            (Err(what), world) => {
                let (step, trace) = world.map_or((0, Vec::new()), World::into_trace);
                Err(Box::new(Broken {
                    run: self,
                    step,
                    what,
                    trace,
                }))
            }
        }
    }
}

/// Turns a panic into its message, without printing it.
fn catch(work: impl FnOnce()) -> Result<(), String> {
    install_hook();
    MESSAGE.with(|message| *message.borrow_mut() = Some(String::new()));
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    let message = MESSAGE.with(|message| message.borrow_mut().take());
    done.map_err(|_| message.unwrap_or_default())
}

thread_local! {
    /// The message of the last panic, while this thread simulates.
    static MESSAGE: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
}

/// Keeps the panics of simulating threads quiet; all others are reported as ever.
fn install_hook() {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if std::mem::replace(&mut *installed, true) {
        return;
    }
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let simulating = MESSAGE.with(|message| {
            let mut message = message.borrow_mut();
            message.as_mut().map(|message| {
                let place = info.location().map(ToString::to_string);
                let text = info.payload_as_str().unwrap_or("panic");
                *message = format!("{text} ({})", place.unwrap_or_default());
            })
        });
        if simulating.is_none() {
            before(info);
        }
    }));
}
