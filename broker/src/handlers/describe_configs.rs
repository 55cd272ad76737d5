//! DescribeConfigs v1–4 (key 32).
//!
//! The settings of topics, groups, this broker and all brokers, with where each value comes from.
//! - v1: synonyms (KIP-226)
//! - v3: types and documentation (KIP-569)

use std::sync::Arc;

use moldau_core::config::{
    ConfigQuery, describe_broker_configs, describe_cluster_configs, describe_group_configs,
    describe_topic_configs,
};
use moldau_core::metadata::{ResourceType, validate_topic_name};
use moldau_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult,
};
use moldau_protocol::{ErrorCode, KString};

use crate::node::Node;

pub(super) fn handle(node: &Node, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        };
        match describe(node, request, resource) {
            Ok(configs) => result.configs = configs,
            Err((code, message)) => {
                result.error_code = code.code();
                result.error_message = Some(KString::from(message));
            }
        }
        result
    });
    DescribeConfigsResponse {
        results: results.collect(),
        ..Default::default()
    }
}

fn describe(
    node: &Node,
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
    let query = ConfigQuery {
        names: resource.configuration_keys.as_deref(),
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let name = &resource.resource_name;
    match resource.resource_type {
        TOPIC => {
            let image = node.metadata.image();
            if let Err(error) = validate_topic_name(name) {
                return Err((ErrorCode::InvalidTopicException, error.to_string()));
            }
            if image.topic(name).is_none() {
                return Err((
                    ErrorCode::UnknownTopicOrPartition,
                    format!("topic `{name}` does not exist"),
                ));
            }
            Ok(describe_topic_configs(
                image.topic_config(name),
                &node.live.now().values,
                query,
            ))
        }
        BROKER if name.is_empty() => Ok(describe_cluster_configs(
            &node.live.now().values.cluster,
            query,
        )),
        BROKER if **name == *node.config().node_id.to_string() => {
            Ok(describe_broker_configs(&node.live.now().values, query))
        }
        BROKER => {
            let ours = node.config().node_id;
            Err((
                ErrorCode::InvalidRequest,
                format!("broker `{name}` is not this one, which is {ours}"),
            ))
        }
        GROUP if name.is_empty() => Err((
            ErrorCode::InvalidRequest,
            "groups have no settings in common; name one group".to_owned(),
        )),
        GROUP => Ok(describe_group_configs(
            node.metadata
                .image()
                .config(ResourceType::Group, name)
                .map(Arc::as_ref),
            &node.live.now().values,
            query,
        )),
        BROKER_LOGGER => Err((
            ErrorCode::InvalidRequest,
            "log levels as settings are not supported; the environment variable MOLDAU_LOG gives \
             them when the broker starts"
                .to_owned(),
        )),
        CLIENT_METRICS => Err((
            ErrorCode::InvalidRequest,
            "client metrics are not supported".to_owned(),
        )),
        other => Err((
            ErrorCode::InvalidRequest,
            format!("resource type {other} has no settings"),
        )),
    }
}

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
