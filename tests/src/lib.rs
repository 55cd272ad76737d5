//! Tests of everything that crosses crates, and what those tests share.
//!
//! The crate does not depend on the SQL engine, so that the broker's test loop stays quick; tests of
//! SQL lie in `sql/tests`, tests of the whole binary in `cli/tests`.

mod broker_process;
pub mod fuzz;
pub mod hostile;
mod seed;
pub mod simulate;

pub use broker_process::BrokerProcess;
pub use seed::Seed;
