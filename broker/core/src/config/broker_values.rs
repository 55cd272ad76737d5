//! The values of broker settings that are set, and by whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use moldau_protocol::types::KString;

use crate::metadata::{MetadataImage, ResourceType};

/// Values of broker settings by name.
type Values = Arc<BTreeMap<KString, KString>>;

/// The broker settings of one node that are set; what is in none of the places has its default.
///
/// The order of strength: `node`, `cluster`, `fixed` (KIP-226).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerValues {
    /// Set for this broker while it ran.
    pub node: Values,
    /// Set for all brokers while the cluster ran.
    pub cluster: Values,
    /// Set when the node was started: by its command line, its configuration file, or the program around it.
    pub fixed: Values,
}

/// Where a value of a broker setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Node,
    Cluster,
    Fixed,
}

impl BrokerValues {
    /// The values that broker `node_id` was started with, and those that the metadata has for it.
    #[must_use]
    pub fn new(fixed: Values, image: &MetadataImage, node_id: i32) -> Self {
        let changed = |name: &KString| {
            image
                .config(ResourceType::Broker, name)
                .cloned()
                .unwrap_or_default()
        };
        Self {
            node: changed(&node_id.to_string().into()),
            cluster: changed(&KString::default()),
            fixed,
        }
    }

    /// The value in force, if one is set.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&KString> {
        self.all(name).next().map(|(_, value)| value)
    }

    /// Every value that is set, the strongest first.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = (Origin, &KString)> {
        let places = [
            (Origin::Node, &self.node),
            (Origin::Cluster, &self.cluster),
            (Origin::Fixed, &self.fixed),
        ];
        places
            .into_iter()
            .filter_map(move |(origin, values)| Some((origin, values.get(name)?)))
    }
}
