//! One binary for each target of `moldau_tests::fuzz`, by its name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use moldau_tests::fuzz::Target;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::named(env!("CARGO_BIN_NAME")).expect("a target of this name");
    (target.run)(bytes);
});
