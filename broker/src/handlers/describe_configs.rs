//! DescribeConfigs v1–4 (key 32).
//!
//! The settings of topics and of this broker, with where each value comes from.
//! - v1: synonyms (KIP-226)
//! - v3: types and documentation (KIP-569)

use std::collections::BTreeMap;

use moldau_core::config::{ConfigQuery, describe_broker_configs, describe_topic_configs};
use moldau_core::metadata::validate_topic_name;
use moldau_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult,
};
use moldau_protocol::{ErrorCode, KString};

use crate::config::{BrokerConfig, SETTINGS};
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
                node.metadata.topic_defaults(),
                query,
            ))
        }
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER if **name == *node.config.node_id.to_string() => {
            Ok(describe_broker_configs(&changed(&node.config), query))
        }
        BROKER => {
            let ours = node.config.node_id;
            Err((
                ErrorCode::InvalidRequest,
                format!("broker `{name}` is not this one, which is {ours}"),
            ))
        }
        BROKER_LOGGER | CLIENT_METRICS | GROUP => Ok(Vec::new()),
        other => Err((
            ErrorCode::InvalidRequest,
            format!("resource type {other} has no settings"),
        )),
    }
}

/// The settings of this broker that differ from the defaults.
fn changed(config: &BrokerConfig) -> BTreeMap<KString, KString> {
    let defaults = BrokerConfig::default();
    SETTINGS
        .iter()
        .filter_map(|setting| {
            let value = (setting.read)(config)?;
            let differs = (setting.read)(&defaults).as_ref() != Some(&value);
            differs.then(|| (KString::from(setting.name), KString::from(value)))
        })
        .collect()
}

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
