//! IncrementalAlterConfigs v0–1 (key 44).
//!
//! Sets, deletes, appends to or subtracts from settings of topics, brokers and groups (KIP-339).

use std::sync::Arc;

use moldau_protocol::messages::incremental_alter_configs::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let resources: Vec<_> = request
        .resources
        .iter()
        .map(|resource| (resource.resource_type, resource.resource_name.clone()))
        .collect();
    let decided = node
        .metadata
        .decide(move |controller, _| controller.incremental_alter_configs(&request))
        .await;
    decided.unwrap_or_else(|code| {
        let failed = |(resource_type, resource_name)| AlterConfigsResourceResponse {
            error_code: code.code(),
            resource_type,
            resource_name,
            ..Default::default()
        };
        let responses = resources.into_iter().map(failed).collect();
        IncrementalAlterConfigsResponse {
            responses,
            ..Default::default()
        }
    })
}
