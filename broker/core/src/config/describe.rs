//! Settings as DescribeConfigs shows them: value, where it comes from, synonyms, documentation.

use std::collections::BTreeMap;

use moldau_protocol::messages::describe_configs::{
    DescribeConfigsResourceResult, DescribeConfigsSynonym,
};
use moldau_protocol::types::KString;

use super::setting::{Setting, SettingKind};
use super::{TopicDefaults, broker_setting, broker_settings, topic_settings};

/// Which settings are asked for, and how much about them.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConfigQuery<'a> {
    /// Names; `None` is all of them. Unknown names are left out of the answer, as Kafka does.
    pub names: Option<&'a [KString]>,
    /// Whether to list every place that could give the value.
    pub synonyms: bool,
    /// Whether to add the line of documentation.
    pub documentation: bool,
}

/// The settings of one topic.
#[must_use]
pub fn describe_topic_configs(
    overrides: Option<&BTreeMap<KString, KString>>,
    defaults: &TopicDefaults,
    query: ConfigQuery<'_>,
) -> Vec<DescribeConfigsResourceResult> {
    let wanted = topic_settings()
        .iter()
        .filter(|setting| query.wants(setting));
    wanted
        .map(|setting| query.result(setting, &topic_places(setting, overrides, defaults), false))
        .collect()
}

/// The settings of this node, of which `values` are set.
#[must_use]
pub fn describe_broker_configs(
    values: &BTreeMap<KString, KString>,
    query: ConfigQuery<'_>,
) -> Vec<DescribeConfigsResourceResult> {
    let wanted = broker_settings()
        .iter()
        .filter(|setting| query.wants(setting));
    wanted
        .map(|setting| query.result(setting, &broker_places(setting, values), true))
        .collect()
}

/// One place that gives a setting's value.
struct Place {
    name: &'static str,
    value: Option<KString>,
    source: Source,
}

/// Where a value comes from; the numbers are those of DescribeConfigs v1.
#[derive(Clone, Copy)]
enum Source {
    Topic = 1,
    StaticBroker = 4,
    Default = 5,
}

impl ConfigQuery<'_> {
    fn wants(&self, setting: &Setting) -> bool {
        self.names
            .is_none_or(|names| names.iter().any(|name| *name == setting.name))
    }

    /// `places` has the strongest first and is never empty.
    fn result(
        &self,
        setting: &Setting,
        places: &[Place],
        read_only: bool,
    ) -> DescribeConfigsResourceResult {
        let sensitive = setting.kind == SettingKind::Password;
        let shown = |place: &Place| if sensitive { None } else { place.value.clone() };
        let synonym = |place: &Place| DescribeConfigsSynonym {
            name: place.name.into(),
            value: shown(place),
            source: place.source as i8,
            ..Default::default()
        };
        DescribeConfigsResourceResult {
            name: setting.name.into(),
            value: places.first().and_then(shown),
            read_only,
            config_source: places.first().map_or(Source::Default, |place| place.source) as i8,
            is_sensitive: sensitive,
            synonyms: if self.synonyms {
                places.iter().map(synonym).collect()
            } else {
                Vec::new()
            },
            config_type: setting.kind as i8,
            documentation: self.documentation.then(|| setting.doc.into()),
            ..Default::default()
        }
    }
}

fn topic_places(
    setting: &'static Setting,
    overrides: Option<&BTreeMap<KString, KString>>,
    defaults: &TopicDefaults,
) -> Vec<Place> {
    let own = overrides.and_then(|values| values.get(setting.name));
    let own = own.map(|value| Place {
        name: setting.name,
        value: Some(value.clone()),
        source: Source::Topic,
    });
    let name = setting.synonym.unwrap_or(setting.name);
    let node = defaults.changed(setting.name);
    let node = node.map(|value| Place {
        name,
        value: Some(value.clone()),
        source: Source::StaticBroker,
    });
    let default = Place {
        name,
        value: setting.default.map(KString::from_static),
        source: Source::Default,
    };
    own.into_iter().chain(node).chain([default]).collect()
}

fn broker_places(setting: &'static Setting, values: &BTreeMap<KString, KString>) -> Vec<Place> {
    let name = setting.name;
    let set = values.get(name);
    let set = set.map(|value| Place {
        name,
        value: Some(value.clone()),
        source: Source::StaticBroker,
    });
    let default = broker_setting(name)
        .and_then(|setting| setting.default)
        .map(KString::from_static);
    set.into_iter()
        .chain([Place {
            name,
            value: default,
            source: Source::Default,
        }])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topics_own_value_comes_before_the_nodes_and_kafkas() {
        let overrides = BTreeMap::from([("retention.ms".into(), "1".into())]);
        let mut defaults = TopicDefaults::default();
        defaults.set("retention.ms", "2".into()).unwrap();
        let names = ["retention.ms".into()];
        let query = ConfigQuery {
            names: Some(&names),
            synonyms: true,
            documentation: false,
        };
        let described = describe_topic_configs(Some(&overrides), &defaults, query);
        let [setting] = described.as_slice() else {
            panic!("one setting")
        };
        assert_eq!(setting.value, Some("1".into()));
        assert_eq!(
            (
                setting.config_source,
                setting.config_type,
                setting.read_only
            ),
            (1, 5, false)
        );
        assert_eq!(setting.documentation, None);
        let synonyms: Vec<_> = setting
            .synonyms
            .iter()
            .map(|s| (s.name.as_str(), s.value.as_deref(), s.source))
            .collect();
        let expected = [
            ("retention.ms", Some("1"), 1),
            ("log.retention.ms", Some("2"), 4),
            ("log.retention.ms", Some("604800000"), 5),
        ];
        assert_eq!(synonyms, expected);
    }

    #[test]
    fn all_settings_are_described_when_no_name_is_given() {
        let described =
            describe_topic_configs(None, &TopicDefaults::default(), ConfigQuery::default());
        assert_eq!(described.len(), topic_settings().len());
        assert!(
            described
                .iter()
                .all(|setting| setting.config_source == 5 && setting.synonyms.is_empty())
        );
    }

    #[test]
    fn what_this_node_was_given_is_a_static_broker_setting() {
        let values = BTreeMap::from([("node.id".into(), "7".into())]);
        let query = ConfigQuery {
            documentation: true,
            ..Default::default()
        };
        let described = describe_broker_configs(&values, query);
        let node = described
            .iter()
            .find(|setting| setting.name == "node.id")
            .unwrap();
        assert_eq!((node.value.as_deref(), node.config_source), (Some("7"), 4));
        assert!(node.documentation.is_some() && node.read_only);
    }
}
