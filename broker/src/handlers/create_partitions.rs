//! CreatePartitions v0–3 (key 37).
//!
//! Adds partitions to topics; existing ones keep their records.

use std::sync::Arc;

use moldau_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult,
};

use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let names: Vec<_> = request
        .topics
        .iter()
        .map(|topic| topic.name.clone())
        .collect();
    let decided = node
        .metadata
        .decide(move |controller, _| controller.create_partitions(&request))
        .await;
    decided.unwrap_or_else(|code| {
        let failed = |name| CreatePartitionsTopicResult {
            name,
            error_code: code.code(),
            ..Default::default()
        };
        CreatePartitionsResponse {
            results: names.into_iter().map(failed).collect(),
            ..Default::default()
        }
    })
}
