//! AlterConfigs v0–2 and IncrementalAlterConfigs v0–1 of topics.
//!
//! Not done: settings of brokers and groups, which are fixed at start for now.

use std::collections::BTreeMap;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::alter_configs::{AlterConfigsRequest, AlterConfigsResource};
use moldau_protocol::messages::alter_configs::{
    AlterConfigsResourceResponse, AlterConfigsResponse,
};
use moldau_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource as IncrementalResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use moldau_protocol::messages::incremental_alter_configs::{
    AlterConfigsResourceResponse as IncrementalResourceResponse, IncrementalAlterConfigsResponse,
};
use moldau_protocol::types::KString;

use super::{Controller, Decision, invalid_request};
use crate::config::{SettingKind, list_items, topic_setting, validate_topic_setting};
use crate::metadata::record::{ConfigRecord, MetadataRecord, ResourceType};
use crate::rejection::Rejection;

type Settings = BTreeMap<KString, KString>;

impl Controller<'_> {
    /// Replaces all settings of topics.
    #[must_use]
    pub fn alter_configs(&self, request: &AlterConfigsRequest) -> Decision<AlterConfigsResponse> {
        let mut records = Vec::new();
        let mut responses = Vec::new();
        for resource in &request.resources {
            let changes = self.replaced(resource);
            let (error_code, error_message) = outcome(&changes);
            records.extend(changes.into_iter().flatten());
            responses.push(AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                ..Default::default()
            });
        }
        if request.validate_only {
            records.clear();
        }
        Decision {
            records,
            response: AlterConfigsResponse {
                responses,
                ..Default::default()
            },
        }
    }

    /// Sets, takes back and extends single settings of topics.
    #[must_use]
    pub fn incremental_alter_configs(
        &self,
        request: &IncrementalAlterConfigsRequest,
    ) -> Decision<IncrementalAlterConfigsResponse> {
        let mut records = Vec::new();
        let mut responses = Vec::new();
        for resource in &request.resources {
            let changes = self.edited(resource);
            let (error_code, error_message) = outcome(&changes);
            records.extend(changes.into_iter().flatten());
            responses.push(IncrementalResourceResponse {
                error_code,
                error_message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                ..Default::default()
            });
        }
        if request.validate_only {
            records.clear();
        }
        Decision {
            records,
            response: IncrementalAlterConfigsResponse {
                responses,
                ..Default::default()
            },
        }
    }

    fn replaced(&self, resource: &AlterConfigsResource) -> Result<Vec<MetadataRecord>, Rejection> {
        let before = self.topic_settings(resource.resource_type, &resource.resource_name)?;
        let mut after = Settings::new();
        for config in &resource.configs {
            let Some(value) = &config.value else {
                return Err(no_value(&config.name));
            };
            validate_topic_setting(&config.name, value)?;
            after.insert(config.name.clone(), value.clone());
        }
        Ok(difference(&resource.resource_name, &before, &after))
    }

    fn edited(&self, resource: &IncrementalResource) -> Result<Vec<MetadataRecord>, Rejection> {
        let before = self.topic_settings(resource.resource_type, &resource.resource_name)?;
        let mut after = before.clone();
        for (position, config) in resource.configs.iter().enumerate() {
            if resource
                .configs
                .iter()
                .take(position)
                .any(|earlier| earlier.name == config.name)
            {
                return Err(invalid_request(format!(
                    "setting \"{}\" is in the request more than once",
                    config.name
                )));
            }
            self.edit(&mut after, config)?;
        }
        Ok(difference(&resource.resource_name, &before, &after))
    }

    fn edit(&self, settings: &mut Settings, config: &AlterableConfig) -> Result<(), Rejection> {
        let name = &config.name;
        if config.config_operation == DELETE {
            settings.remove(name);
            return Ok(());
        }
        let Some(value) = &config.value else {
            return Err(no_value(name));
        };
        let value = match config.config_operation {
            SET => value.clone(),
            APPEND | SUBTRACT => {
                self.edited_list(settings, config.config_operation == APPEND, name, value)?
            }
            other => {
                return Err(invalid_request(format!(
                    "setting \"{name}\": unknown operation {other}"
                )));
            }
        };
        validate_topic_setting(name, &value)?;
        settings.insert(name.clone(), value);
        Ok(())
    }

    fn edited_list(
        &self,
        settings: &Settings,
        append: bool,
        name: &KString,
        value: &str,
    ) -> Result<KString, Rejection> {
        let setting = topic_setting(name).filter(|setting| setting.kind == SettingKind::List);
        let Some(setting) = setting else {
            let message = format!(
                "setting \"{name}\" is not a list, so nothing can be added to it or taken away"
            );
            return Err(Rejection::new(ErrorCode::InvalidConfig, message));
        };
        let current = settings
            .get(name)
            .cloned()
            .unwrap_or_else(|| self.settings.topic_defaults.value(setting));
        let mut items: Vec<&str> = list_items(&current).collect();
        for item in list_items(value) {
            items.retain(|present| *present != item);
            if append {
                items.push(item);
            }
        }
        Ok(items.join(",").into())
    }

    /// The settings of a resource that can be changed.
    fn topic_settings(&self, resource_type: i8, name: &KString) -> Result<Settings, Rejection> {
        if ResourceType::from_code(resource_type) != Some(ResourceType::Topic) {
            let message = format!(
                "settings of resource type {resource_type} cannot be changed yet; only topics can"
            );
            return Err(invalid_request(message));
        }
        if self.image.topic(name).is_none() {
            return Err(Rejection::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("there is no topic \"{name}\""),
            ));
        }
        Ok(self.image.topic_config(name).cloned().unwrap_or_default())
    }
}

fn difference(topic: &KString, before: &Settings, after: &Settings) -> Vec<MetadataRecord> {
    let record = |name: &KString, value: Option<&KString>| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: ResourceType::Topic,
            resource_name: topic.detached(),
            name: name.detached(),
            value: value.map(KString::detached),
        })
    };
    let removed = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .map(|name| record(name, None));
    let changed = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(*value));
    removed
        .chain(changed.map(|(name, value)| record(name, Some(value))))
        .collect()
}

fn outcome<T>(result: &Result<T, Rejection>) -> (i16, Option<KString>) {
    match result {
        Ok(_) => (ErrorCode::None.code(), None),
        Err(rejection) => (
            rejection.code.code(),
            Some(rejection.message.clone().into()),
        ),
    }
}

fn no_value(name: &KString) -> Rejection {
    Rejection::new(
        ErrorCode::InvalidConfig,
        format!("topic setting \"{name}\" has no value"),
    )
}

/// Operations of IncrementalAlterConfigs.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::MetadataImage;
    use crate::metadata::controller::ControllerSettings;
    use crate::metadata::controller::fixture::{add_topic, controller, nodes};

    fn with_retention() -> MetadataImage {
        let mut image = nodes(1);
        add_topic(&mut image, "a", 1);
        let config = ConfigRecord {
            resource_type: ResourceType::Topic,
            resource_name: "a".into(),
            name: "retention.ms".into(),
            value: Some("1000".into()),
        };
        image.apply(&MetadataRecord::Config(config)).unwrap();
        image
    }

    /// The topic's settings after these operations, or the error.
    fn edit(
        edits: &[(&'static str, i8, Option<&'static str>)],
    ) -> Result<Vec<(String, String)>, ErrorCode> {
        let mut image = with_retention();
        let config =
            |(name, config_operation, value): &(&'static str, i8, Option<&'static str>)| {
                AlterableConfig {
                    name: (*name).into(),
                    config_operation: *config_operation,
                    value: value.map(KString::from),
                    ..Default::default()
                }
            };
        let resource = IncrementalResource {
            resource_type: 2,
            resource_name: "a".into(),
            configs: edits.iter().map(config).collect(),
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![resource],
            ..Default::default()
        };
        let decision =
            controller(&image, &ControllerSettings::default()).incremental_alter_configs(&request);
        for record in &decision.records {
            image.apply(record).unwrap();
        }
        match decision
            .response
            .responses
            .first()
            .map(|response| ErrorCode::from_code(response.error_code))
        {
            Some(ErrorCode::None) => {
                let settings = image.topic_config(&"a".into()).into_iter().flatten();
                Ok(settings
                    .map(|(name, value)| (name.to_string(), value.to_string()))
                    .collect())
            }
            code => Err(code.unwrap_or(ErrorCode::UnknownServerError)),
        }
    }

    #[test]
    fn single_settings_are_set_and_taken_back() {
        let settings = |list: &[(&str, &str)]| {
            Ok(list
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect())
        };
        let cases: [(&[_], _); 8] = [
            (
                &[("retention.ms", SET, Some("5"))],
                settings(&[("retention.ms", "5")]),
            ),
            (&[("retention.ms", DELETE, None)], settings(&[])),
            (
                &[("segment.ms", DELETE, None)],
                settings(&[("retention.ms", "1000")]),
            ),
            (
                &[("cleanup.policy", APPEND, Some("compact"))],
                settings(&[
                    ("cleanup.policy", "delete,compact"),
                    ("retention.ms", "1000"),
                ]),
            ),
            (
                &[("cleanup.policy", SUBTRACT, Some("delete"))],
                Err(ErrorCode::InvalidConfig),
            ),
            (
                &[("retention.ms", APPEND, Some("5"))],
                Err(ErrorCode::InvalidConfig),
            ),
            (
                &[("retention.ms", SET, None)],
                Err(ErrorCode::InvalidConfig),
            ),
            (
                &[
                    ("retention.ms", SET, Some("1")),
                    ("retention.ms", DELETE, None),
                ],
                Err(ErrorCode::InvalidRequest),
            ),
        ];
        for (edits, expected) in cases {
            assert_eq!(edit(edits), expected, "{edits:?}");
        }
    }

    #[test]
    fn nothing_of_a_resource_changes_if_one_setting_is_refused() {
        assert_eq!(
            edit(&[("segment.ms", SET, Some("5")), ("flush", SET, Some("?"))]),
            Err(ErrorCode::InvalidConfig)
        );
    }

    #[test]
    fn the_older_request_replaces_all_settings() {
        let mut image = with_retention();
        let config = moldau_protocol::messages::alter_configs::AlterableConfig {
            name: "segment.ms".into(),
            value: Some("7".into()),
            ..Default::default()
        };
        let resource = AlterConfigsResource {
            resource_type: 2,
            resource_name: "a".into(),
            configs: vec![config],
            ..Default::default()
        };
        let mut request = AlterConfigsRequest {
            resources: vec![resource],
            validate_only: true,
            ..Default::default()
        };
        let settings = ControllerSettings::default();
        assert_eq!(
            controller(&image, &settings)
                .alter_configs(&request)
                .records,
            []
        );
        request.validate_only = false;
        for record in controller(&image, &settings)
            .alter_configs(&request)
            .records
        {
            image.apply(&record).unwrap();
        }
        assert_eq!(
            image.topic_config(&"a".into()),
            Some(&Settings::from([("segment.ms".into(), "7".into())]))
        );
    }

    #[test]
    fn brokers_and_unknown_topics_are_refused() {
        let image = with_retention();
        for (resource_type, name, code) in [
            (4, "1", ErrorCode::InvalidRequest),
            (2, "z", ErrorCode::UnknownTopicOrPartition),
        ] {
            let resource = AlterConfigsResource {
                resource_type,
                resource_name: name.into(),
                ..Default::default()
            };
            let request = AlterConfigsRequest {
                resources: vec![resource],
                ..Default::default()
            };
            let decision =
                controller(&image, &ControllerSettings::default()).alter_configs(&request);
            assert_eq!(
                decision.response.responses.first().map(|r| r.error_code),
                Some(code.code())
            );
        }
    }
}
