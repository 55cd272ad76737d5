//! Settings of topics, brokers and groups.

use moldau_protocol::KString;
use moldau_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use moldau_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use crate::admin::{Admin, ConfigChange, ConfigEntry, ConfigOperation, ConfigResource};
use crate::client::Target;
use crate::error::ClientError;

impl Admin {
    /// All settings of `resource`, by name.
    ///
    /// # Errors
    ///
    /// There is no such resource.
    pub async fn describe_configs(
        &self,
        resource: &ConfigResource,
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: resource.code(),
                resource_name: resource.name(),
                configuration_keys: None,
                ..DescribeConfigsResource::default()
            }],
            ..DescribeConfigsRequest::default()
        };
        self.client
            .request_until(target(resource), request, |response| {
                let mut entries = Vec::new();
                for answer in &response.results {
                    check(answer.error_code, answer.error_message.as_ref(), resource)?;
                    entries.extend(answer.configs.iter().map(entry));
                }
                entries.sort_by(|left, right| left.name.cmp(&right.name));
                Ok(entries)
            })
            .await
    }

    /// All settings of a topic, by name.
    ///
    /// # Errors
    ///
    /// There is no such topic.
    pub async fn describe_topic_configs(
        &self,
        topic: &str,
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        self.describe_configs(&ConfigResource::Topic(topic.to_owned()))
            .await
    }

    /// Changes settings of `resource`; those that are not named stay as they are.
    ///
    /// # Errors
    ///
    /// There is no such resource or setting, or a value is not valid; then nothing is changed.
    pub async fn incremental_alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigChange],
    ) -> Result<(), ClientError> {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: resource.code(),
                resource_name: resource.name(),
                configs: changes.iter().map(alterable).collect(),
                ..AlterConfigsResource::default()
            }],
            ..IncrementalAlterConfigsRequest::default()
        };
        self.client
            .request_until(target(resource), request, |response| {
                response.responses.iter().try_for_each(|answer| {
                    check(answer.error_code, answer.error_message.as_ref(), resource)
                })
            })
            .await
    }
}

/// A broker's settings are known to that broker alone.
const fn target(resource: &ConfigResource) -> Target {
    match resource {
        ConfigResource::Broker(id) => Target::Broker(*id),
        ConfigResource::Topic(_) | ConfigResource::Group(_) | ConfigResource::BrokerDefaults => {
            Target::Any
        }
    }
}

fn check(
    code: i16,
    message: Option<&KString>,
    resource: &ConfigResource,
) -> Result<(), ClientError> {
    if code == 0 {
        return Ok(());
    }
    if let (ConfigResource::Topic(topic), 3) = (resource, code) {
        return Err(ClientError::UnknownTopic {
            topic: topic.clone(),
        });
    }
    let message = message.map(|message| &**message);
    Err(ClientError::broker(code, message, resource.describe()))
}

fn entry(answer: &DescribeConfigsResourceResult) -> ConfigEntry {
    ConfigEntry {
        name: answer.name.to_string(),
        value: answer.value.as_ref().map(ToString::to_string),
        is_default: answer.config_source == SOURCE_DEFAULT,
        is_read_only: answer.read_only,
        is_sensitive: answer.is_sensitive,
    }
}

fn alterable(change: &ConfigChange) -> AlterableConfig {
    let (operation, value) = match &change.operation {
        ConfigOperation::Set(value) => (0, Some(value)),
        ConfigOperation::Delete => (1, None),
        ConfigOperation::Append(value) => (2, Some(value)),
        ConfigOperation::Subtract(value) => (3, Some(value)),
    };
    AlterableConfig {
        name: KString::copy_from(&change.name),
        config_operation: operation,
        value: value.map(|value| KString::copy_from(value)),
        ..AlterableConfig::default()
    }
}

/// Kafka's number for a value that nobody has set.
const SOURCE_DEFAULT: i8 = 5;
