//! A broker in a process of its own, for tests that kill it: `broker-process DATA_DIR ADDRESS`.
//!
//! Prints the address it listens on as its first line, then runs until it is killed or its standard
//! input ends, so that it never outlives the test.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use moldau_broker::{Broker, BrokerConfig};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let data_dir = PathBuf::from(
        arguments
            .next()
            .context("first argument: the data directory")?,
    );
    let address: SocketAddr = arguments
        .next()
        .and_then(|text| text.into_string().ok())
        .context("second argument: the address to listen on")?
        .parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut config = BrokerConfig::new(&data_dir);
        config.listeners = vec![address];
        let broker = Broker::start(config).await?;
        let bound = broker
            .kafka_addresses()
            .first()
            .copied()
            .context("the broker listens nowhere")?;
        writeln!(std::io::stdout(), "{bound}")?;
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
        broker.shutdown().await?;
        Ok(())
    })
}
