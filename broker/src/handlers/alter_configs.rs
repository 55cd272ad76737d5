//! AlterConfigs v0–2 (key 33).
//!
//! Replaces all settings of topics, brokers and groups; the newer IncrementalAlterConfigs leaves others alone.

use std::sync::Arc;

use moldau_protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse,
};

use crate::node::Node;

pub(super) async fn handle(node: Arc<Node>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let resources: Vec<_> = request
        .resources
        .iter()
        .map(|resource| (resource.resource_type, resource.resource_name.clone()))
        .collect();
    let decided = node
        .metadata
        .decide(move |controller, _| controller.alter_configs(&request))
        .await;
    decided.unwrap_or_else(|code| {
        let failed = |(resource_type, resource_name)| AlterConfigsResourceResponse {
            error_code: code.code(),
            resource_type,
            resource_name,
            ..Default::default()
        };
        let responses = resources.into_iter().map(failed).collect();
        AlterConfigsResponse {
            responses,
            ..Default::default()
        }
    })
}
