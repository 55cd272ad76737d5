//! The settings in force: what the node was started with, and what clients have changed since.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use moldau_core::config::{BrokerValues, Scope, TopicDefaults};
use moldau_core::metadata::MetadataImage;
use moldau_protocol::KString;
use tracing::{error, info};

use super::bindings::{BINDINGS, set};
use super::{BrokerConfig, ConfigError};

/// The settings of a running node; readers never wait.
#[derive(Debug)]
pub(crate) struct LiveConfig {
    /// What the node was started with.
    start: BrokerConfig,
    now: ArcSwap<Effective>,
}

/// The settings at one moment.
#[derive(Debug)]
pub(crate) struct Effective {
    /// As typed values.
    pub(crate) config: BrokerConfig,
    /// Those that are set, and by whom.
    pub(crate) values: BrokerValues,
    /// What follows from them for topics.
    pub(crate) topic_defaults: TopicDefaults,
}

impl LiveConfig {
    /// # Errors
    ///
    /// A default of a topic setting is invalid or not supported.
    pub(crate) fn new(start: BrokerConfig) -> Result<Self, ConfigError> {
        for (name, value) in &start.topic_defaults {
            Scope::Broker.validate(name, value)?;
        }
        let values = BrokerValues {
            fixed: Arc::new(given(&start)),
            ..BrokerValues::default()
        };
        let now = ArcSwap::from_pointee(Effective {
            config: start.clone(),
            topic_defaults: TopicDefaults::from_values(&values),
            values,
        });
        Ok(Self { start, now })
    }

    /// The settings in force.
    pub(crate) fn now(&self) -> Guard<Arc<Effective>> {
        self.now.load()
    }

    /// Takes over what the metadata says about this node; true if anything changed.
    pub(crate) fn follow(&self, image: &MetadataImage) -> bool {
        let now = self.now.load();
        let fixed = Arc::clone(&now.values.fixed);
        let values = BrokerValues::new(fixed, image, self.start.node_id);
        if values == now.values {
            return false;
        }
        let mut config = self.start.clone();
        for (name, value) in values.cluster.iter().chain(values.node.iter()) {
            // Values are checked when they are set, so this one was written by another version.
            if let Err(error) = set(&mut config, name, value) {
                error!(%error, "leaving out a setting of the metadata");
            }
        }
        info!(cluster = ?values.cluster, node = ?values.node, "broker settings changed");
        self.now.store(Arc::new(Effective {
            config,
            topic_defaults: TopicDefaults::from_values(&values),
            values,
        }));
        true
    }
}

/// The settings that the node was started with, where they differ from the defaults.
fn given(config: &BrokerConfig) -> BTreeMap<KString, KString> {
    let defaults = BrokerConfig::default();
    let fields = BINDINGS.iter().filter_map(|binding| {
        let value = (binding.read)(config)?;
        let differs = (binding.read)(&defaults).as_ref() != Some(&value);
        differs.then(|| (KString::from(binding.name), KString::from(value)))
    });
    let topic_defaults = config
        .topic_defaults
        .iter()
        .map(|(name, value)| (KString::copy_from(name), KString::copy_from(value)));
    fields.chain(topic_defaults).collect()
}

#[cfg(test)]
mod tests {
    use moldau_core::metadata::{ConfigRecord, MetadataRecord, ResourceType};

    use super::*;

    fn image(changes: &[(&'static str, &'static str, &'static str)]) -> MetadataImage {
        let mut image = MetadataImage::default();
        for (broker, name, value) in changes {
            let record = ConfigRecord {
                resource_type: ResourceType::Broker,
                resource_name: KString::from(*broker),
                name: KString::from(*name),
                value: Some(KString::from(*value)),
            };
            image.apply(&MetadataRecord::Config(record)).expect("fits");
        }
        image
    }

    #[test]
    fn the_nodes_own_value_beats_the_clusters_which_beats_the_files() {
        let mut start = BrokerConfig::default();
        start.set("max.connections", "1").expect("valid");
        start.set("log.retention.ms", "1").expect("valid");
        let live = LiveConfig::new(start).expect("valid");
        assert_eq!(live.now().config.max_connections, 1);
        let changed = image(&[("", "max.connections", "2"), ("", "log.retention.ms", "2")]);
        assert!(live.follow(&changed));
        assert_eq!(live.now().config.max_connections, 2);
        assert!(live.follow(&image(&[
            ("", "max.connections", "2"),
            ("1", "max.connections", "3"),
            ("7", "max.connections", "4"),
        ])));
        assert_eq!(live.now().config.max_connections, 3);
        let retention = live.now().topic_defaults.changed("retention.ms").cloned();
        assert_eq!(retention.as_deref(), Some("1"), "the file's value is back");
        assert!(live.follow(&MetadataImage::default()));
        assert_eq!(live.now().config.max_connections, 1);
        assert!(!live.follow(&MetadataImage::default()));
    }
}
