//! A broker for trying things out: `cargo run --release -p moldau-broker --example broker -- DIR [setting=value ...]`.
//!
//! Prints the addresses it listens on, and runs until Ctrl-C.

use std::error::Error;

use moldau_broker::{Broker, BrokerConfig};
use tracing_subscriber::EnvFilter;

#[tokio::main]
#[expect(
    clippy::print_stdout,
    reason = "the address is for the person who started it"
)]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .unwrap_or_else(|| "./moldau-data".to_owned());
    let mut config = BrokerConfig::new(directory);
    for argument in arguments {
        let (name, value) = argument
            .split_once('=')
            .ok_or("settings look like `num.partitions=3`")?;
        config.set(name, value)?;
    }
    let broker = Broker::start(config).await?;
    for address in broker.kafka_addresses() {
        println!("{address}");
    }
    tokio::signal::ctrl_c().await?;
    broker.shutdown().await?;
    Ok(())
}
