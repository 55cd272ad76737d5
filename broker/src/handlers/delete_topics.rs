//! DeleteTopics v1–6 (key 20).
//!
//! Deletes topics with their data and the offsets that groups committed for them.
//! - v5: `error_message` (KIP-599)
//! - v6: topics by id (KIP-516)

use std::sync::Arc;

use moldau_protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
};
use moldau_protocol::{ErrorCode, KString};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let asked = request.clone();
    let decided = node
        .metadata
        .decide(move |controller, _| controller.delete_topics(&request, context.version))
        .await;
    match decided {
        Ok(response) => {
            let deleted: Vec<KString> = response
                .responses
                .iter()
                .filter(|result| result.error_code == ErrorCode::None.code())
                .filter_map(|result| result.name.clone())
                .collect();
            if !deleted.is_empty() {
                node.coordinators.topics_deleted(&deleted).await;
            }
            response
        }
        Err(code) => failed(&asked, code),
    }
}

fn failed(request: &DeleteTopicsRequest, code: ErrorCode) -> DeleteTopicsResponse {
    let by_name = request
        .topic_names
        .iter()
        .map(|name| (Some(name.clone()), moldau_protocol::Uuid::ZERO));
    let by_state = request
        .topics
        .iter()
        .map(|topic| (topic.name.clone(), topic.topic_id));
    let responses = by_name
        .chain(by_state)
        .map(|(name, topic_id)| DeletableTopicResult {
            name,
            topic_id,
            error_code: code.code(),
            ..Default::default()
        })
        .collect();
    DeleteTopicsResponse {
        responses,
        ..Default::default()
    }
}
