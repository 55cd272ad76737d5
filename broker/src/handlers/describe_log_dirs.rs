//! DescribeLogDirs v1–5 (key 35).
//!
//! The data directory, what each partition in it takes, and how much room is left.
//! - v3: `error_code` of the whole (KIP-784)
//! - v4: size of the volume and what is free (KIP-827)
//! - v5: `is_cordoned` (KIP-1066): the one directory always takes new partitions

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use moldau_protocol::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};
use moldau_protocol::{ErrorCode, KString};
use tracing::warn;

use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    // The size of the volume is asked of the file system, which may take its time.
    let described = tokio::task::spawn_blocking(move || describe(&node, &request)).await;
    match described {
        Ok(result) => DescribeLogDirsResponse {
            results: vec![result],
            ..Default::default()
        },
        Err(_) => DescribeLogDirsResponse {
            error_code: ErrorCode::UnknownServerError.code(),
            ..Default::default()
        },
    }
}

fn describe(node: &Node, request: &DescribeLogDirsRequest) -> DescribeLogDirsResult {
    let config = node.config();
    let path = absolute(&config.data_dir);
    let (total_bytes, usable_bytes) = volume(&config.data_dir);
    DescribeLogDirsResult {
        log_dir: KString::from(path),
        topics: topics(node, request),
        total_bytes,
        usable_bytes,
        ..Default::default()
    }
}

/// The partitions asked for that are here; the others are left out, as Kafka does.
fn topics(node: &Node, request: &DescribeLogDirsRequest) -> Vec<DescribeLogDirsTopic> {
    let asked: Option<BTreeMap<&str, BTreeSet<i32>>> = request.topics.as_ref().map(|topics| {
        let topic =
            |topic: &moldau_protocol::messages::describe_log_dirs::DescribableLogDirTopic| {
                topic.partitions.iter().copied().collect()
            };
        topics.iter().map(|one| (&*one.topic, topic(one))).collect()
    });
    let all = node.partitions.topics();
    let mut topics: Vec<_> = all
        .values()
        .filter_map(|topic| {
            let wanted = match &asked {
                Some(asked) => Some(asked.get(&*topic.name)?),
                None => None,
            };
            let partitions: Vec<_> = topic
                .partitions
                .iter()
                .filter(|partition| wanted.is_none_or(|wanted| wanted.contains(&partition.index)))
                .map(|partition| DescribeLogDirsPartition {
                    partition_index: partition.index,
                    partition_size: i64::try_from(partition.size_in_bytes()).unwrap_or(i64::MAX),
                    ..Default::default()
                })
                .collect();
            (!partitions.is_empty()).then(|| DescribeLogDirsTopic {
                name: topic.name.clone(),
                partitions,
                ..Default::default()
            })
        })
        .collect();
    topics.sort_by(|left, right| left.name.cmp(&right.name));
    topics
}

/// As tools compare it: with the working directory in front, without links resolved.
pub(super) fn absolute(path: &Path) -> String {
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_owned())
        .display()
        .to_string()
}

/// Bytes of the volume, and those of them that are free; -1 where the file system does not tell.
fn volume(path: &Path) -> (i64, i64) {
    match rustix::fs::statvfs(path) {
        Ok(volume) => {
            let bytes = |blocks: u64| {
                i64::try_from(blocks.saturating_mul(volume.f_frsize)).unwrap_or(i64::MAX)
            };
            (bytes(volume.f_blocks), bytes(volume.f_bavail))
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "cannot ask for the size of the volume");
            (UNKNOWN, UNKNOWN)
        }
    }
}

const UNKNOWN: i64 = -1;
