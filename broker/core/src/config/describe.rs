//! Settings as DescribeConfigs shows them: value, where it comes from, synonyms, documentation.

use std::collections::BTreeMap;

use moldau_protocol::messages::describe_configs::{
    DescribeConfigsResourceResult, DescribeConfigsSynonym,
};
use moldau_protocol::types::KString;

use super::broker_values::{BrokerValues, Origin};
use super::setting::{Setting, SettingKind};
use super::topic_defaults::broker_synonyms;
use super::{broker_setting, broker_settings, group_settings, topic_settings};

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

/// The settings of one topic; `values` are those of this node, which give the defaults.
#[must_use]
pub fn describe_topic_configs(
    overrides: Option<&BTreeMap<KString, KString>>,
    values: &BrokerValues,
    query: ConfigQuery<'_>,
) -> Vec<DescribeConfigsResourceResult> {
    query
        .wanted(topic_settings())
        .map(|setting| {
            let own = Place::own(setting, overrides, Source::Topic);
            let places = own.into_iter().chain(default_places(setting, values));
            query.result(setting, &places.collect::<Vec<_>>(), false)
        })
        .collect()
}

/// The settings of one group; `values` are those of this node, which give the defaults.
#[must_use]
pub fn describe_group_configs(
    overrides: Option<&BTreeMap<KString, KString>>,
    values: &BrokerValues,
    query: ConfigQuery<'_>,
) -> Vec<DescribeConfigsResourceResult> {
    query
        .wanted(group_settings())
        .map(|setting| {
            let own = Place::own(setting, overrides, Source::Group);
            let places = own.into_iter().chain(default_places(setting, values));
            query.result(setting, &places.collect::<Vec<_>>(), false)
        })
        .collect()
}

/// The settings of a node.
#[must_use]
pub fn describe_broker_configs(
    values: &BrokerValues,
    query: ConfigQuery<'_>,
) -> Vec<DescribeConfigsResourceResult> {
    query
        .wanted(broker_settings())
        .map(|setting| {
            let places: Vec<_> = broker_places(setting, values).collect();
            query.result(setting, &places, !setting.dynamic)
        })
        .collect()
}

/// The settings that were set for all nodes while the cluster ran, and no others.
#[must_use]
pub fn describe_cluster_configs(
    values: &BTreeMap<KString, KString>,
    query: ConfigQuery<'_>,
) -> Vec<DescribeConfigsResourceResult> {
    query
        .wanted(broker_settings())
        .filter_map(|setting| {
            let place = Place::own(setting, Some(values), Source::Cluster)?;
            Some(query.result(setting, &[place], !setting.dynamic))
        })
        .collect()
}

/// One place that gives a setting's value.
struct Place {
    name: &'static str,
    /// The value under that name.
    value: KString,
    /// The value in the unit of the setting that is described.
    effective: KString,
    source: Source,
}

/// Where a value comes from; the numbers are those of DescribeConfigs v1.
#[derive(Clone, Copy)]
enum Source {
    Topic = 1,
    Node = 2,
    Cluster = 3,
    Fixed = 4,
    Default = 5,
    Group = 8,
}

impl Place {
    fn own(
        setting: &'static Setting,
        values: Option<&BTreeMap<KString, KString>>,
        source: Source,
    ) -> Option<Self> {
        let value = values?.get(setting.name)?;
        Some(Self::new(setting.name, value.clone(), source))
    }

    fn new(name: &'static str, value: KString, source: Source) -> Self {
        Self {
            name,
            effective: value.clone(),
            value,
            source,
        }
    }
}

impl From<Origin> for Source {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Node => Self::Node,
            Origin::Cluster => Self::Cluster,
            Origin::Fixed => Self::Fixed,
        }
    }
}

impl<'a> ConfigQuery<'a> {
    fn wanted(
        self,
        settings: &'static [Setting],
    ) -> impl Iterator<Item = &'static Setting> + use<'a> {
        settings.iter().filter(move |setting| {
            setting.is_served()
                && self
                    .names
                    .is_none_or(|names| names.iter().any(|name| *name == setting.name))
        })
    }

    /// `places` has the strongest first; if it is empty, the setting has its default, or null.
    fn result(
        &self,
        setting: &Setting,
        places: &[Place],
        read_only: bool,
    ) -> DescribeConfigsResourceResult {
        let sensitive = setting.kind == SettingKind::Password;
        let shown = |value: &KString| (!sensitive).then(|| value.clone());
        let synonym = |place: &Place| DescribeConfigsSynonym {
            name: place.name.into(),
            value: shown(&place.value),
            source: place.source as i8,
            ..Default::default()
        };
        let default = setting.default.map(KString::from_static);
        let strongest = places.first();
        DescribeConfigsResourceResult {
            name: setting.name.into(),
            value: strongest
                .map(|place| place.effective.clone())
                .or(default)
                .as_ref()
                .and_then(shown),
            read_only,
            config_source: strongest.map_or(Source::Default, |place| place.source) as i8,
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

/// What gives a topic or group setting where the thing itself has no value.
fn default_places(setting: &'static Setting, values: &BrokerValues) -> Vec<Place> {
    broker_synonyms(setting)
        .flat_map(|synonym| {
            let row = broker_setting(synonym.name);
            let places = row.into_iter().flat_map(|row| broker_places(row, values));
            places.map(move |place| Place {
                effective: synonym.in_topic_unit(&place.value),
                ..place
            })
        })
        .collect()
}

fn broker_places(setting: &'static Setting, values: &BrokerValues) -> impl Iterator<Item = Place> {
    let name = setting.name;
    let default = setting
        .default
        .map(|default| Place::new(name, KString::from_static(default), Source::Default));
    values
        .all(name)
        .map(move |(origin, value)| Place::new(name, value.clone(), origin.into()))
        .chain(default)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn values(pairs: &[(&'static str, &'static str)]) -> Arc<BTreeMap<KString, KString>> {
        let pair = |(name, value): &(&'static str, &'static str)| ((*name).into(), (*value).into());
        Arc::new(pairs.iter().map(pair).collect())
    }

    /// Value and source, then name, value and source of each synonym.
    fn shown(setting: &DescribeConfigsResourceResult) -> Vec<String> {
        let text = |value: &Option<KString>| value.as_deref().unwrap_or("null").to_owned();
        let own = format!("{} {}", text(&setting.value), setting.config_source);
        let synonym = |synonym: &DescribeConfigsSynonym| {
            format!(
                "{} {} {}",
                synonym.name,
                text(&synonym.value),
                synonym.source
            )
        };
        [own]
            .into_iter()
            .chain(setting.synonyms.iter().map(synonym))
            .collect()
    }

    fn retention(own: &[(&'static str, &'static str)], node: &BrokerValues) -> Vec<String> {
        let names = ["retention.ms".into()];
        let query = ConfigQuery {
            names: Some(&names),
            synonyms: true,
            documentation: false,
        };
        let described = describe_topic_configs(Some(&values(own)), node, query);
        let [setting] = described.as_slice() else {
            panic!("one setting")
        };
        assert_eq!((setting.config_type, setting.read_only), (5, false));
        shown(setting)
    }

    #[test]
    fn a_topics_own_value_comes_before_the_nodes_and_kafkas() {
        let node = BrokerValues {
            node: values(&[("log.retention.ms", "4")]),
            cluster: values(&[("log.retention.ms", "3")]),
            fixed: values(&[("log.retention.ms", "2"), ("log.retention.minutes", "1")]),
        };
        assert_eq!(
            retention(&[("retention.ms", "1")], &node),
            [
                "1 1",
                "retention.ms 1 1",
                "log.retention.ms 4 2",
                "log.retention.ms 3 3",
                "log.retention.ms 2 4",
                "log.retention.minutes 1 4",
                "log.retention.hours 168 5",
            ]
        );
    }

    #[test]
    fn a_default_in_a_coarser_unit_is_shown_in_the_unit_of_the_setting() {
        let node = BrokerValues {
            fixed: values(&[("log.retention.minutes", "2")]),
            ..BrokerValues::default()
        };
        assert_eq!(
            retention(&[], &node),
            [
                "120000 4",
                "log.retention.minutes 2 4",
                "log.retention.hours 168 5"
            ]
        );
        assert_eq!(
            retention(&[], &BrokerValues::default()),
            ["604800000 5", "log.retention.hours 168 5"]
        );
    }

    #[test]
    fn all_settings_are_described_when_no_name_is_given() {
        let described =
            describe_topic_configs(None, &BrokerValues::default(), ConfigQuery::default());
        assert_eq!(described.len(), topic_settings().len());
        assert!(
            described
                .iter()
                .all(|setting| setting.config_source == 5 && setting.synonyms.is_empty())
        );
    }

    #[test]
    fn a_nodes_settings_say_where_they_come_from_and_whether_they_can_be_changed() {
        let node = BrokerValues {
            node: values(&[("max.connections", "9")]),
            fixed: values(&[("node.id", "7")]),
            ..BrokerValues::default()
        };
        let query = ConfigQuery {
            documentation: true,
            ..Default::default()
        };
        let described = describe_broker_configs(&node, query);
        let find = |name: &str| described.iter().find(|setting| setting.name == name);
        let id = find("node.id").unwrap();
        assert_eq!(shown(id), ["7 4"]);
        assert!(id.documentation.is_some() && id.read_only);
        let connections = find("max.connections").unwrap();
        assert_eq!(shown(connections), ["9 2"]);
        assert!(!connections.read_only);
        assert_eq!(find("ssl.keystore.location"), None);
    }

    #[test]
    fn the_cluster_shows_only_what_was_set_for_it() {
        let set = values(&[("log.retention.ms", "3")]);
        let described = describe_cluster_configs(&set, ConfigQuery::default());
        assert_eq!(described.iter().map(shown).collect::<Vec<_>>(), [["3 3"]]);
    }

    #[test]
    fn a_groups_settings_have_their_defaults_from_the_broker() {
        let query = ConfigQuery {
            synonyms: true,
            ..Default::default()
        };
        let described = describe_group_configs(None, &BrokerValues::default(), query);
        let session = described
            .iter()
            .find(|setting| setting.name == "consumer.session.timeout.ms")
            .unwrap();
        assert_eq!(
            shown(session),
            ["45000 5", "group.consumer.session.timeout.ms 45000 5"]
        );
    }
}
