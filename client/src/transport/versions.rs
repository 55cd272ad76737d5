//! Which version of each request both sides know.

use std::collections::BTreeMap;

use moldau_protocol::messages::api_versions::ApiVersionsResponse;
use moldau_protocol::{ApiKey, KString};

/// The versions that one broker answers, from its ApiVersions response.
#[derive(Clone, Debug, Default)]
pub(crate) struct ApiVersions {
    ranges: BTreeMap<i16, (i16, i16)>,
    /// Levels of the features that the cluster has finalized (KIP-584).
    features: BTreeMap<KString, i16>,
}

impl ApiVersions {
    pub(crate) fn new(response: &ApiVersionsResponse) -> Self {
        Self {
            ranges: response
                .api_keys
                .iter()
                .map(|api| (api.api_key, (api.min_version, api.max_version)))
                .collect(),
            features: response
                .finalized_features
                .iter()
                .map(|feature| (feature.name.detached(), feature.max_version_level))
                .collect(),
        }
    }

    /// The level of a finalized feature; 0 if the cluster has none.
    pub(crate) fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// The highest version that both sides know and that this client makes use of.
    pub(crate) fn highest(&self, key: ApiKey) -> Option<i16> {
        self.highest_at_most(key, i16::MAX)
    }

    /// The same, but not above `most`.
    pub(crate) fn highest_at_most(&self, key: ApiKey, most: i16) -> Option<i16> {
        let (their_min, their_max) = *self.ranges.get(&(key as i16))?;
        let ours = key.valid_versions();
        let max = ours.max.min(their_max).min(highest_in_use(key)).min(most);
        (max >= ours.min.max(their_min)).then_some(max)
    }
}

/// The highest version that this client makes use of.
///
/// Above these, topics are named by ids where this client has names only, or the version is not stable yet in Kafka.
const fn highest_in_use(key: ApiKey) -> i16 {
    match key {
        ApiKey::OffsetCommit | ApiKey::OffsetFetch => 9,
        ApiKey::InitProducerId => 5,
        _ => i16::MAX,
    }
}

#[cfg(test)]
mod tests {
    use moldau_protocol::messages::api_versions::ApiVersion;

    use super::*;

    fn broker(key: ApiKey, min_version: i16, max_version: i16) -> ApiVersions {
        ApiVersions::new(&ApiVersionsResponse {
            api_keys: vec![ApiVersion {
                api_key: key as i16,
                min_version,
                max_version,
                ..ApiVersion::default()
            }],
            ..ApiVersionsResponse::default()
        })
    }

    #[test]
    fn the_highest_common_version_is_chosen() {
        let older = broker(ApiKey::Metadata, 0, 7);
        assert_eq!(older.highest(ApiKey::Metadata), Some(7));
        assert_eq!(older.highest(ApiKey::Fetch), None);
        let newer = broker(ApiKey::Metadata, 0, 99);
        assert_eq!(
            newer.highest(ApiKey::Metadata),
            Some(ApiKey::Metadata.valid_versions().max)
        );
        assert_eq!(
            broker(ApiKey::Metadata, 98, 99).highest(ApiKey::Metadata),
            None
        );
    }

    #[test]
    fn a_version_can_be_kept_low() {
        let broker = broker(ApiKey::Fetch, 4, 18);
        assert_eq!(broker.highest(ApiKey::Fetch), Some(18));
        assert_eq!(broker.highest_at_most(ApiKey::Fetch, 12), Some(12));
        assert_eq!(broker.highest_at_most(ApiKey::Fetch, 3), None);
    }
}
