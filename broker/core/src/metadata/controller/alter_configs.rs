//! AlterConfigs v0–2 and IncrementalAlterConfigs v0–1 of topics, brokers and groups.
//!
//! A resource changes as a whole or not at all; resources of one request are independent of each other.

use std::collections::{BTreeMap, BTreeSet};

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
use crate::config::{
    Scope, SettingKind, list_items, validate_group_settings, validate_topic_settings,
};
use crate::metadata::record::{ConfigRecord, MetadataRecord, ResourceType};
use crate::rejection::Rejection;

type Settings = BTreeMap<KString, KString>;

impl Controller<'_> {
    /// Replaces all settings of resources.
    #[must_use]
    pub fn alter_configs(&self, request: &AlterConfigsRequest) -> Decision<AlterConfigsResponse> {
        let mut records = Vec::new();
        let mut responses = Vec::new();
        let names = request
            .resources
            .iter()
            .map(|resource| (resource.resource_type, &resource.resource_name));
        let twice = repeated_resources(names);
        for resource in &request.resources {
            let key = (resource.resource_type, resource.resource_name.clone());
            let changes = if twice.contains(&key) {
                Err(listed_twice(&resource.resource_name))
            } else {
                self.replaced(resource)
            };
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

    /// Sets, takes back and extends single settings of resources.
    #[must_use]
    pub fn incremental_alter_configs(
        &self,
        request: &IncrementalAlterConfigsRequest,
    ) -> Decision<IncrementalAlterConfigsResponse> {
        let mut records = Vec::new();
        let mut responses = Vec::new();
        let names = request
            .resources
            .iter()
            .map(|resource| (resource.resource_type, &resource.resource_name));
        let twice = repeated_resources(names);
        for resource in &request.resources {
            let key = (resource.resource_type, resource.resource_name.clone());
            let changes = if twice.contains(&key) {
                Err(listed_twice(&resource.resource_name))
            } else {
                self.edited(resource)
            };
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
        let target = self.target(resource.resource_type, &resource.resource_name)?;
        let mut after = Settings::new();
        for config in &resource.configs {
            let Some(value) = &config.value else {
                return Err(no_value(&target, &config.name));
            };
            if after.insert(config.name.clone(), value.clone()).is_some() {
                return Err(repeated(&config.name));
            }
        }
        self.changes(&target, &after)
    }

    fn edited(&self, resource: &IncrementalResource) -> Result<Vec<MetadataRecord>, Rejection> {
        let target = self.target(resource.resource_type, &resource.resource_name)?;
        let mut after = target.before.clone();
        let mut names = BTreeSet::new();
        for config in &resource.configs {
            if !names.insert(&config.name) {
                return Err(repeated(&config.name));
            }
            self.edit(&target, &mut after, config)?;
        }
        self.changes(&target, &after)
    }

    fn edit(
        &self,
        target: &Target<'_>,
        settings: &mut Settings,
        config: &AlterableConfig,
    ) -> Result<(), Rejection> {
        let name = &config.name;
        if config.config_operation == DELETE {
            settings.remove(name);
            return Ok(());
        }
        let Some(value) = &config.value else {
            return Err(no_value(target, name));
        };
        let value = match config.config_operation {
            SET => value.clone(),
            operation @ (APPEND | SUBTRACT) => {
                let current = settings.get(name).cloned();
                self.edited_list(target.scope, current, operation, name, value)?
            }
            other => {
                return Err(invalid_request(format!(
                    "setting \"{name}\": unknown operation {other}"
                )));
            }
        };
        settings.insert(name.clone(), value);
        Ok(())
    }

    fn edited_list(
        &self,
        scope: Scope,
        current: Option<KString>,
        operation: i8,
        name: &KString,
        value: &str,
    ) -> Result<KString, Rejection> {
        let setting = scope
            .setting(name)
            .filter(|setting| setting.kind == SettingKind::List);
        let Some(setting) = setting else {
            let message = format!(
                "setting \"{name}\" is not a list, so nothing can be added to it or taken away"
            );
            return Err(Rejection::new(ErrorCode::InvalidConfig, message));
        };
        let inherited = || match scope {
            Scope::Topic => self.settings.topic_defaults.value(setting),
            Scope::Broker | Scope::Group => {
                let set = self.settings.broker.value(setting.name).cloned();
                set.unwrap_or_else(|| KString::from_static(setting.default.unwrap_or_default()))
            }
        };
        let current = current.unwrap_or_else(inherited);
        let mut items: Vec<&str> = list_items(&current).collect();
        for item in list_items(value) {
            if operation == SUBTRACT {
                items.retain(|present| *present != item);
            } else if !items.contains(&item) {
                items.push(item);
            }
        }
        Ok(items.join(",").into())
    }

    /// The resource of a request, if its settings can be changed.
    fn target<'a>(&self, code: i8, name: &'a KString) -> Result<Target<'a>, Rejection> {
        let resource_type = ResourceType::from_code(code).ok_or_else(|| unsupported(code))?;
        let scope = match resource_type {
            ResourceType::Topic => {
                if self.image.topic(name).is_none() {
                    return Err(Rejection::new(
                        ErrorCode::UnknownTopicOrPartition,
                        format!("there is no topic \"{name}\""),
                    ));
                }
                Scope::Topic
            }
            ResourceType::Broker => {
                self.check_broker_name(name)?;
                Scope::Broker
            }
            ResourceType::Group if name.is_empty() => {
                return Err(invalid_request(
                    "groups have no settings in common; name one group",
                ));
            }
            ResourceType::Group => Scope::Group,
        };
        let before = self.image.config(resource_type, name);
        Ok(Target {
            resource_type,
            scope,
            name,
            before: before
                .map(|values| Settings::clone(values))
                .unwrap_or_default(),
        })
    }

    /// A broker is named by its id; no name stands for all brokers.
    fn check_broker_name(&self, name: &KString) -> Result<(), Rejection> {
        if name.is_empty() {
            return Ok(());
        }
        let id: i32 = name
            .parse()
            .map_err(|_| invalid_request(format!("broker \"{name}\" is not the id of a broker")))?;
        if self.image.broker(id).is_none() {
            return Err(Rejection::new(
                ErrorCode::BrokerIdNotRegistered,
                format!("there is no broker with id {id}"),
            ));
        }
        Ok(())
    }

    /// The records that make the settings of `target` those of `after`, if all new values are fine.
    fn changes(
        &self,
        target: &Target<'_>,
        after: &Settings,
    ) -> Result<Vec<MetadataRecord>, Rejection> {
        let changed = || {
            after
                .iter()
                .filter(|(name, value)| target.before.get(*name) != Some(*value))
        };
        for (name, value) in changed() {
            let setting = target.scope.validate(name, value)?;
            if target.scope == Scope::Broker && !setting.dynamic {
                return Err(invalid_request(format!(
                    "broker setting \"{name}\" cannot be changed while the node runs; set it in the \
                     configuration file and start the node again"
                )));
            }
        }
        match target.scope {
            Scope::Topic => validate_topic_settings(after, &self.settings.topic_defaults)?,
            Scope::Group => validate_group_settings(after, &self.settings.broker)?,
            Scope::Broker => {}
        }
        let removed = target
            .before
            .keys()
            .filter(|name| !after.contains_key(*name))
            .map(|name| target.record(name, None));
        let set = changed().map(|(name, value)| target.record(name, Some(value)));
        Ok(removed.chain(set).collect())
    }
}

/// A resource and the settings that it has of its own.
struct Target<'a> {
    resource_type: ResourceType,
    scope: Scope,
    name: &'a KString,
    before: Settings,
}

impl Target<'_> {
    fn record(&self, name: &KString, value: Option<&KString>) -> MetadataRecord {
        MetadataRecord::Config(ConfigRecord {
            resource_type: self.resource_type,
            resource_name: self.name.detached(),
            name: name.detached(),
            value: value.map(KString::detached),
        })
    }
}

/// Resources that a request has more than once: none of them is changed.
fn repeated_resources<'a>(
    resources: impl Iterator<Item = (i8, &'a KString)>,
) -> BTreeSet<(i8, KString)> {
    let mut seen = BTreeSet::new();
    resources
        .filter(|resource| !seen.insert(*resource))
        .map(|(resource_type, name)| (resource_type, name.clone()))
        .collect()
}

fn listed_twice(name: &KString) -> Rejection {
    invalid_request(format!(
        "resource \"{name}\" is in the request more than once"
    ))
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

fn no_value(target: &Target<'_>, name: &KString) -> Rejection {
    let scope = target.scope;
    Rejection::new(
        ErrorCode::InvalidConfig,
        format!("{scope} setting \"{name}\" has no value"),
    )
}

fn repeated(name: &KString) -> Rejection {
    invalid_request(format!(
        "setting \"{name}\" is in the request more than once"
    ))
}

fn unsupported(code: i8) -> Rejection {
    invalid_request(match code {
        BROKER_LOGGER => {
            "changing log levels of a running broker is not supported; start it with the levels \
             in the environment variable MOLDAU_LOG"
                .to_owned()
        }
        CLIENT_METRICS => "client metrics are not supported".to_owned(),
        _ => format!("resource type {code} has no settings"),
    })
}

/// Types of resources without settings here.
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;

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

    /// The error of setting one value, and whether records were made.
    fn set_one(
        image: &MetadataImage,
        resource: (i8, &'static str),
        setting: (&'static str, &'static str),
    ) -> (ErrorCode, String, usize) {
        let config = AlterableConfig {
            name: setting.0.into(),
            value: Some(setting.1.into()),
            ..Default::default()
        };
        let resource = IncrementalResource {
            resource_type: resource.0,
            resource_name: resource.1.into(),
            configs: vec![config],
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![resource],
            ..Default::default()
        };
        let settings = ControllerSettings::default();
        let decision = controller(image, &settings).incremental_alter_configs(&request);
        let response = &decision.response.responses[0];
        let message = response.error_message.as_deref().unwrap_or_default();
        (
            ErrorCode::from_code(response.error_code),
            message.to_owned(),
            decision.records.len(),
        )
    }

    #[test]
    fn brokers_and_groups_have_settings_too() {
        let image = with_retention();
        for (resource, setting) in [
            ((4, "1"), ("log.retention.ms", "5")),
            ((4, ""), ("max.connections", "5")),
            ((32, "g"), ("consumer.session.timeout.ms", "45000")),
        ] {
            let (code, message, records) = set_one(&image, resource, setting);
            assert_eq!((code, records), (ErrorCode::None, 1), "{message}");
        }
    }

    type RefusedChange = (
        (i8, &'static str),
        (&'static str, &'static str),
        ErrorCode,
        &'static str,
    );

    #[rustfmt::skip]
    const REFUSED: [RefusedChange; 16] = [
        ((2, "z"), ("retention.ms", "5"), ErrorCode::UnknownTopicOrPartition, "no topic"),
        ((2, "a"), ("log.retention.ms", "5"), ErrorCode::InvalidConfig, "did you mean \"retention.ms\""),
        ((2, "a"), ("remote.storage.enable", "true"), ErrorCode::InvalidConfig, "not supported"),
        ((2, "a"), ("max.compaction.lag.ms", "0"), ErrorCode::InvalidConfig, "too small"),
        ((4, "9"), ("log.retention.ms", "5"), ErrorCode::BrokerIdNotRegistered, "no broker with id 9"),
        ((4, "x"), ("log.retention.ms", "5"), ErrorCode::InvalidRequest, "not the id"),
        ((4, "1"), ("node.id", "5"), ErrorCode::InvalidRequest, "cannot be changed while the node runs"),
        ((4, "1"), ("num.io.threads", "5"), ErrorCode::InvalidConfig, "not supported"),
        ((4, "1"), ("ssl.keystore.type", "PEM"), ErrorCode::InvalidConfig, "not supported"),
        ((4, "1"), ("log.segment.bytes", "5"), ErrorCode::InvalidConfig, "too small"),
        ((8, "1"), ("moldau_broker", "DEBUG"), ErrorCode::InvalidRequest, "not supported"),
        ((16, "m"), ("metrics", "x"), ErrorCode::InvalidRequest, "not supported"),
        ((32, ""), ("consumer.session.timeout.ms", "45000"), ErrorCode::InvalidRequest, "name one group"),
        ((32, "g"), ("share.session.timeout.ms", "50000"), ErrorCode::InvalidConfig, "not supported"),
        ((32, "g"), ("consumer.session.timeout.ms", "5"), ErrorCode::InvalidConfig, "less than group.consumer.min.session.timeout.ms"),
        ((99, "g"), ("a", "b"), ErrorCode::InvalidRequest, "resource type 99"),
    ];

    #[test]
    fn what_cannot_be_changed_is_refused_with_the_reason() {
        let image = with_retention();
        for (resource, setting, code, reason) in REFUSED {
            let (found, message, records) = set_one(&image, resource, setting);
            assert_eq!(
                (found, records),
                (code, 0),
                "{resource:?} {setting:?}: {message}"
            );
            assert!(message.contains(reason), "{message}");
        }
    }

    #[test]
    fn a_resource_that_is_listed_twice_is_not_changed() {
        let image = with_retention();
        let resource = |name: &'static str| AlterConfigsResource {
            resource_type: 2,
            resource_name: name.into(),
            ..Default::default()
        };
        let request = AlterConfigsRequest {
            resources: vec![resource("a"), resource("a")],
            ..Default::default()
        };
        let decision = controller(&image, &ControllerSettings::default()).alter_configs(&request);
        assert_eq!(decision.records, []);
        assert!(
            decision
                .response
                .responses
                .iter()
                .all(|response| response.error_code == ErrorCode::InvalidRequest.code())
        );
    }
}
