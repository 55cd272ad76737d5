//! The admin client: topics, settings, offsets, groups, transactions, the cluster.

mod cluster;
mod configs;
mod group_offsets;
mod groups;
mod topics;
mod transactions;
mod types;

use crate::client::Client;

pub use crate::admin::cluster::{ElectionType, FeatureDescription};
pub use crate::admin::transactions::{
    HangingTransaction, ProducerDescription, TransactionDescription, TransactionFilter,
    TransactionListing,
};
pub use crate::admin::types::{
    ClusterDescription, ConfigChange, ConfigEntry, ConfigOperation, ConfigResource,
    GroupDescription, GroupListing, ListedOffset, MemberDescription, NewTopic, OffsetSpec,
    PartitionListing, TopicListing,
};

/// Administers a cluster. Clones are cheap.
///
/// Calls that fail in a way that may pass are made again within the client's `default_api_timeout_ms`.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

impl Admin {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }
}
