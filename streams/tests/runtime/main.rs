//! Programs of the runtime itself, without the DSL, in the local driver.

mod descriptions;
mod global_tables;
mod probe;
mod punctuation;
