//! AlterReplicaLogDirs v1–2 (key 34).
//!
//! Moves partitions to other directories of this broker (KIP-113). There is one directory, so a partition can be "moved"
//! only to where it is.

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};

use super::describe_log_dirs::absolute;
use crate::node::Node;

pub(super) fn handle(
    node: &Node,
    request: &AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let here = absolute(&node.config().data_dir);
    let results = request.dirs.iter().flat_map(|dir| {
        let known = *dir.path == *here;
        dir.topics.iter().map(move |topic| {
            let partitions = topic.partitions.iter().map(|index| {
                let code = if !known {
                    ErrorCode::LogDirNotFound
                } else if node.partitions.find(&topic.name, *index).is_none() {
                    ErrorCode::UnknownTopicOrPartition
                } else {
                    ErrorCode::None
                };
                AlterReplicaLogDirPartitionResult {
                    partition_index: *index,
                    error_code: code.code(),
                    ..Default::default()
                }
            });
            AlterReplicaLogDirTopicResult {
                topic_name: topic.name.clone(),
                partitions: partitions.collect(),
                ..Default::default()
            }
        })
    });
    AlterReplicaLogDirsResponse {
        results: results.collect(),
        ..Default::default()
    }
}
