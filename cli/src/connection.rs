//! The options that every client verb shares, and the connection they open.

use std::collections::BTreeMap;

use anyhow::Context;
use clap::Args;
use moldau_client::admin::OffsetSpec;
use moldau_client::{Admin, Client, ClientConfig, TopicPartition};

/// Which cluster to talk to.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectionArgs {
    /// Kafka address to connect to first; several are separated by commas.
    #[arg(
        short,
        long,
        global = true,
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

/// One offset of each partition; the answer names every partition that was asked for.
///
/// # Errors
/// The cluster cannot be asked or leaves a partition out.
pub(crate) async fn offsets(
    admin: &Admin,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> anyhow::Result<BTreeMap<TopicPartition, i64>> {
    let wanted: Vec<_> = partitions
        .iter()
        .map(|partition| (partition.clone(), spec))
        .collect();
    let found = admin.list_offsets(&wanted).await?;
    partitions
        .iter()
        .map(|partition| {
            let listed = found
                .get(partition)
                .with_context(|| format!("no offset reported for {partition}"))?;
            Ok((partition.clone(), listed.offset))
        })
        .collect()
}
