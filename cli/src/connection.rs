//! The options that every client verb shares, and the connection they open.

use clap::Args;
use moldau_client::{Client, ClientConfig};

/// Which cluster to talk to.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectionArgs {
    /// Kafka address to connect to first; several are separated by commas.
    #[arg(
        short,
        long,
        env = "MOLDAU_BOOTSTRAP",
        default_value = "localhost:9092",
        value_name = "HOST:PORT"
    )]
    pub(crate) bootstrap: String,
}

impl ConnectionArgs {
    /// Connects to the cluster.
    ///
    /// # Errors
    /// No bootstrap address answers.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(ClientConfig::new(&self.bootstrap)).await?)
    }
}
