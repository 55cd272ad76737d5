//! ListConfigResources v0–1 (key 74).
//!
//! What settings can be asked for: topics, brokers, and the groups that have settings of their own.
//! - v0: client metrics alone, of which there are none (KIP-714)
//! - v1: by type of resource, no type means all (KIP-1142)

use moldau_core::metadata::{MetadataImage, ResourceType};
use moldau_protocol::messages::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use moldau_protocol::{ErrorCode, KString};

use super::RequestContext;
use crate::node::Node;

pub(super) fn handle(
    node: &Node,
    context: &RequestContext,
    request: &ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let asked: &[i8] = match (context.version, request.resource_types.as_slice()) {
        (0, _) => &[CLIENT_METRICS],
        (_, []) => &ALL,
        (_, types) => types,
    };
    if asked.iter().any(|code| !ALL.contains(code)) {
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            ..Default::default()
        };
    }
    let image = node.metadata.image();
    let config_resources = ALL
        .iter()
        .filter(|code| asked.contains(code))
        .flat_map(|code| {
            names(&image, *code)
                .into_iter()
                .map(|name| resource(*code, name))
        })
        .collect();
    ListConfigResourcesResponse {
        config_resources,
        ..Default::default()
    }
}

fn resource(resource_type: i8, resource_name: KString) -> ConfigResource {
    ConfigResource {
        resource_name,
        resource_type,
        ..Default::default()
    }
}

/// The resources of one type; log levels and client metrics are not supported, so there are none.
fn names(image: &MetadataImage, code: i8) -> Vec<KString> {
    match ResourceType::from_code(code) {
        Some(ResourceType::Topic) => image.topics().map(|topic| topic.name.clone()).collect(),
        Some(ResourceType::Broker) => image
            .brokers()
            .map(|broker| KString::from(broker.id.to_string()))
            .collect(),
        Some(ResourceType::Group) => image.configured(ResourceType::Group).cloned().collect(),
        None => Vec::new(),
    }
}

const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const ALL: [i8; 5] = [
    ResourceType::Topic.code(),
    ResourceType::Broker.code(),
    BROKER_LOGGER,
    CLIENT_METRICS,
    ResourceType::Group.code(),
];
