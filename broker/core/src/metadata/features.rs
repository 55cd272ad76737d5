//! The features of a cluster and the levels of them that this version can work at (KIP-584).
//!
//! Clients change what they do by the finalized level of a feature, so a feature stands here only when it works.

use std::collections::BTreeMap;

use moldau_protocol::types::KString;

use super::image::MetadataImage;

/// A feature and its levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// The lowest level that this version can work at; at 0 the feature can be off.
    pub min_level: i16,
    /// The highest.
    pub max_level: i16,
}

/// Every feature that works, ordered by name. A new cluster has each at its highest level.
pub const FEATURES: &[Feature] = &[
    // Level 1 is the new consumer group protocol (KIP-848).
    Feature {
        name: GROUP_VERSION,
        min_level: 0,
        max_level: 1,
    },
    // The level that stands for Kafka 4.3 among clients and tools; the records behind it are our own.
    Feature {
        name: "metadata.version",
        min_level: 30,
        max_level: 30,
    },
    // From 2 on every end of a transaction bumps the epoch, and brokers add partitions (KIP-890).
    Feature {
        name: "transaction.version",
        min_level: 0,
        max_level: 2,
    },
];

/// The feature that says whether groups may use the new consumer group protocol.
pub const GROUP_VERSION: &str = "group.version";

/// The row of one feature.
#[must_use]
pub fn feature(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}

impl MetadataImage {
    /// The level of a feature that the cluster works at; 0 is off.
    #[must_use]
    pub fn feature_level(&self, feature: &Feature) -> i16 {
        self.feature(feature.name)
            .unwrap_or(feature.max_level)
            .clamp(feature.min_level, feature.max_level)
    }

    /// The levels of all features that are on, by name.
    #[must_use]
    pub fn feature_levels(&self) -> BTreeMap<KString, i16> {
        FEATURES
            .iter()
            .map(|feature| (KString::from(feature.name), self.feature_level(feature)))
            .filter(|(_, level)| *level > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::MetadataRecord;

    #[test]
    fn rows_are_ordered_and_a_new_cluster_works_at_the_highest_levels() {
        assert!(FEATURES.is_sorted_by(|left, right| left.name < right.name));
        let levels = MetadataImage::default().feature_levels();
        for feature in FEATURES {
            assert_eq!(levels.get(feature.name), Some(&feature.max_level));
        }
    }

    #[test]
    fn a_finalized_level_counts_unless_this_version_cannot_work_at_it() {
        let feature = Feature {
            name: "transaction.version",
            min_level: 0,
            max_level: 2,
        };
        let mut image = MetadataImage::default();
        for (level, expected) in [(1, 1), (0, 0), (9, 2)] {
            let record = MetadataRecord::Feature {
                name: feature.name.into(),
                level,
            };
            image.apply(&record).unwrap();
            assert_eq!(image.feature_level(&feature), expected);
        }
    }
}
