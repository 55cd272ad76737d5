//! One file per API, and the table that says which versions of it are served.
//!
//! [`DISPATCH_TABLE`] is what ApiVersions advertises; `start` leads each request to its handler. The header of each
//! handler's file names the same versions: a test compares them.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod answer;
mod api_versions;
mod client_info;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_transactions;
mod elect_leaders;
mod end_txn;
mod fetch;
mod fetch_plan;
mod fetch_read;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod operations;
mod produce;
mod sync_group;
mod transaction_check;
mod txn_offset_commit;
mod unregister_broker;
mod update_features;
mod write_txn_markers;

use std::sync::Arc;

use moldau_protocol::{ApiKey, RequestKind, VersionRange};

pub(crate) use answer::{Admission, Answer};
pub(crate) use api_versions::unsupported as unsupported_api_versions;
pub(crate) use client_info::{ClientInfo, RequestContext};

use crate::node::Node;

/// An API that is served, and in which versions.
#[derive(Debug, Clone, Copy)]
pub struct DispatchEntry {
    /// The API.
    pub key: ApiKey,
    /// The versions that are advertised. Produce advertises more than it accepts; see its file.
    pub versions: VersionRange,
}

const fn entry(key: ApiKey, min: i16, max: i16) -> DispatchEntry {
    DispatchEntry {
        key,
        versions: VersionRange::new(min, max),
    }
}

/// Every API that is served, by key.
pub const DISPATCH_TABLE: &[DispatchEntry] = &[
    entry(ApiKey::Produce, 0, 13),
    entry(ApiKey::Fetch, 4, 18),
    entry(ApiKey::ListOffsets, 1, 11),
    entry(ApiKey::Metadata, 0, 13),
    entry(ApiKey::OffsetCommit, 2, 10),
    entry(ApiKey::OffsetFetch, 1, 10),
    entry(ApiKey::FindCoordinator, 0, 6),
    entry(ApiKey::JoinGroup, 0, 9),
    entry(ApiKey::Heartbeat, 0, 4),
    entry(ApiKey::LeaveGroup, 0, 5),
    entry(ApiKey::SyncGroup, 0, 5),
    entry(ApiKey::DescribeGroups, 0, 6),
    entry(ApiKey::ListGroups, 0, 5),
    entry(ApiKey::ApiVersions, 0, 4),
    entry(ApiKey::CreateTopics, 2, 7),
    entry(ApiKey::DeleteTopics, 1, 6),
    entry(ApiKey::DeleteRecords, 0, 2),
    entry(ApiKey::InitProducerId, 0, 5),
    entry(ApiKey::OffsetForLeaderEpoch, 2, 4),
    entry(ApiKey::AddPartitionsToTxn, 0, 5),
    entry(ApiKey::AddOffsetsToTxn, 0, 4),
    entry(ApiKey::EndTxn, 0, 5),
    entry(ApiKey::WriteTxnMarkers, 1, 2),
    entry(ApiKey::TxnOffsetCommit, 0, 5),
    entry(ApiKey::DescribeConfigs, 1, 4),
    entry(ApiKey::AlterConfigs, 0, 2),
    entry(ApiKey::AlterReplicaLogDirs, 1, 2),
    entry(ApiKey::DescribeLogDirs, 1, 5),
    entry(ApiKey::CreatePartitions, 0, 3),
    entry(ApiKey::DeleteGroups, 0, 2),
    entry(ApiKey::ElectLeaders, 0, 2),
    entry(ApiKey::IncrementalAlterConfigs, 0, 1),
    entry(ApiKey::AlterPartitionReassignments, 0, 1),
    entry(ApiKey::ListPartitionReassignments, 0, 0),
    entry(ApiKey::OffsetDelete, 0, 0),
    entry(ApiKey::DescribeQuorum, 0, 2),
    entry(ApiKey::UpdateFeatures, 0, 2),
    entry(ApiKey::DescribeCluster, 0, 2),
    entry(ApiKey::DescribeProducers, 0, 0),
    entry(ApiKey::UnregisterBroker, 0, 0),
    entry(ApiKey::DescribeTransactions, 0, 0),
    entry(ApiKey::ListTransactions, 0, 2),
    entry(ApiKey::ConsumerGroupHeartbeat, 0, 1),
    entry(ApiKey::ConsumerGroupDescribe, 0, 1),
    entry(ApiKey::ListConfigResources, 0, 1),
    entry(ApiKey::DescribeTopicPartitions, 0, 0),
];

/// The entry of the API with this key on the wire.
pub(crate) fn served(key: i16) -> Option<&'static DispatchEntry> {
    DISPATCH_TABLE
        .iter()
        .find(|served| served.key as i16 == key)
}

/// Starts the handler of `request`.
///
/// When this returns, a Produce request stands in the queues of its writers; all others have not begun.
pub(crate) async fn start(
    node: &Arc<Node>,
    context: RequestContext,
    request: RequestKind,
) -> Admission {
    use RequestKind as R;
    let node = Arc::clone(node);
    match request {
        R::Produce(request) => produce::start(&node, context, request).await,
        R::Fetch(request) => Admission::running(fetch::handle(node, context, request)),
        R::ListOffsets(request) => Admission::running(list_offsets::handle(node, context, request)),
        R::Metadata(request) => Admission::running(metadata::handle(node, context, request)),
        R::OffsetCommit(request) => {
            Admission::running(offset_commit::handle(node, context, request))
        }
        R::OffsetFetch(request) => Admission::running(offset_fetch::handle(node, context, request)),
        R::FindCoordinator(request) => {
            Admission::running(find_coordinator::handle(node, context, request))
        }
        R::JoinGroup(request) => Admission::running(join_group::handle(node, context, request)),
        R::Heartbeat(request) => Admission::running(heartbeat::handle(node, context, request)),
        R::LeaveGroup(request) => Admission::running(leave_group::handle(node, context, request)),
        R::SyncGroup(request) => Admission::running(sync_group::handle(node, context, request)),
        R::DescribeGroups(request) => {
            Admission::running(describe_groups::handle(node, context, request))
        }
        R::ListGroups(request) => Admission::running(list_groups::handle(node, request)),
        R::ApiVersions(request) => Admission::done(api_versions::handle(&node, &context, &request)),
        R::DeleteRecords(request) => Admission::running(delete_records::handle(node, request)),
        R::InitProducerId(request) => {
            Admission::running(init_producer_id::handle(node, context, request))
        }
        R::AddPartitionsToTxn(request) => {
            Admission::running(add_partitions_to_txn::handle(node, context, request))
        }
        R::AddOffsetsToTxn(request) => {
            Admission::running(add_offsets_to_txn::handle(node, context, request))
        }
        R::EndTxn(request) => Admission::running(end_txn::handle(node, context, request)),
        R::WriteTxnMarkers(request) => Admission::running(write_txn_markers::handle(node, request)),
        R::TxnOffsetCommit(request) => {
            Admission::running(txn_offset_commit::handle(node, context, request))
        }
        R::DescribeProducers(request) => {
            Admission::done(describe_producers::handle(&node, &request))
        }
        R::DescribeTransactions(request) => {
            Admission::running(describe_transactions::handle(node, request))
        }
        R::ListTransactions(request) => {
            Admission::running(list_transactions::handle(node, request))
        }
        R::OffsetForLeaderEpoch(request) => {
            Admission::done(offset_for_leader_epoch::handle(&node, &request))
        }
        R::DeleteGroups(request) => {
            Admission::running(delete_groups::handle(node, context, request))
        }
        R::OffsetDelete(request) => {
            Admission::running(offset_delete::handle(node, context, request))
        }
        R::ConsumerGroupHeartbeat(request) => {
            Admission::running(consumer_group_heartbeat::handle(node, context, request))
        }
        R::ConsumerGroupDescribe(request) => {
            Admission::running(consumer_group_describe::handle(node, request))
        }
        other => administer(node, context, other),
    }
}

/// Starts the handler of a request about topics, settings or the cluster.
fn administer(node: Arc<Node>, context: RequestContext, request: RequestKind) -> Admission {
    use RequestKind as R;
    match request {
        R::CreateTopics(request) => Admission::running(create_topics::handle(node, request)),
        R::DeleteTopics(request) => {
            Admission::running(delete_topics::handle(node, context, request))
        }
        R::DescribeConfigs(request) => Admission::done(describe_configs::handle(&node, &request)),
        R::AlterConfigs(request) => Admission::running(alter_configs::handle(node, request)),
        R::AlterReplicaLogDirs(request) => {
            Admission::done(alter_replica_log_dirs::handle(&node, &request))
        }
        R::DescribeLogDirs(request) => Admission::running(describe_log_dirs::handle(node, request)),
        R::CreatePartitions(request) => {
            Admission::running(create_partitions::handle(node, request))
        }
        R::ElectLeaders(request) => Admission::running(elect_leaders::handle(node, request)),
        R::IncrementalAlterConfigs(request) => {
            Admission::running(incremental_alter_configs::handle(node, request))
        }
        R::AlterPartitionReassignments(request) => {
            Admission::running(alter_partition_reassignments::handle(node, request))
        }
        R::ListPartitionReassignments(_) => Admission::done(list_partition_reassignments::handle()),
        R::DescribeQuorum(request) => {
            Admission::done(describe_quorum::handle(&node, &context, &request))
        }
        R::UpdateFeatures(request) => {
            Admission::running(update_features::handle(node, context, request))
        }
        R::DescribeCluster(request) => {
            Admission::done(describe_cluster::handle(&node, &context, &request))
        }
        R::UnregisterBroker(request) => Admission::done(unregister_broker::handle(&node, &request)),
        R::ListConfigResources(request) => {
            Admission::done(list_config_resources::handle(&node, &context, &request))
        }
        R::DescribeTopicPartitions(request) => {
            Admission::done(describe_topic_partitions::handle(&node, &request))
        }
        other => Admission::close(format!("{} is not served", other.api_key().name())),
    }
}
