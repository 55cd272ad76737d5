//! Attacks a broker of its own: `hostile [--minutes M] [--seed S]`.
//!
//! The exit code is 1 if the broker ended, hung, or grew beyond 256 MiB. `broker-process` must have
//! been built beside it: `cargo build --release -p moldau-tests --bins`.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use moldau_tests::hostile::Attack;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (mut minutes, mut seed) = (10, rand::random());
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments
            .next()
            .with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--minutes" => minutes = value.parse()?,
            "--seed" => seed = value.parse()?,
            _ => anyhow::bail!("unknown argument {name}\nusage: hostile [--minutes M] [--seed S]"),
        }
    }
    let program = std::env::current_exe()?.with_file_name("broker-process");
    let attack = Attack {
        seed,
        frames: 0,
        duration: Duration::from_secs(60 * minutes),
        memory_limit_kib: 256 * 1024,
    };
    writeln!(std::io::stdout(), "seed {seed}, {minutes} minutes")?;
    let outcome = attack.run(&program).await?;
    writeln!(std::io::stdout(), "{outcome:?}")?;
    Ok(())
}
