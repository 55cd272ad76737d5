//! CreateTopics v2–7 (key 19).
//!
//! Creates topics, or only checks whether they could be created.
//! - v4: -1 as the number of partitions or replicas means the broker's default (KIP-464)
//! - v5: the response tells partitions, replicas and settings (KIP-525)
//! - v7: the response tells topic ids

use std::sync::Arc;

use moldau_protocol::messages::create_topics::{
    CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};

use crate::node::Node;

pub(super) async fn handle(node: Arc<Node>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let names: Vec<_> = request
        .topics
        .iter()
        .map(|topic| topic.name.clone())
        .collect();
    node.create_topics(request).await.unwrap_or_else(|code| {
        let failed = |name| CreatableTopicResult {
            name,
            error_code: code.code(),
            ..Default::default()
        };
        CreateTopicsResponse {
            topics: names.into_iter().map(failed).collect(),
            ..Default::default()
        }
    })
}
