//! ApiVersions v0–4 (key 18).
//!
//! Tells clients what they may send. Its response header is always version 0.
//! - an unknown version is answered in version 0 with `UNSUPPORTED_VERSION` and the version range of this API (KIP-511)
//! - v3: the client's software name and version, which must look like names (KIP-511)
//! - v4: the minimum of a supported feature can be 0; older clients are told 1 (KAFKA-17011)
//!
//! Produce is advertised from version 0 although versions 0-2 are refused: librdkafka before 2.11 takes
//! a higher minimum for a broker without compression (KAFKA-18659).

use moldau_core::metadata::{FEATURES, Feature};
use moldau_protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use moldau_protocol::{ApiKey, ErrorCode, KString, ResponseKind};

use super::{DISPATCH_TABLE, DispatchEntry, RequestContext};
use crate::node::Node;

pub(super) fn handle(
    node: &Node,
    context: &RequestContext,
    request: &ApiVersionsRequest,
) -> ApiVersionsResponse {
    let names_client = context.version >= 3;
    if names_client
        && !(is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version))
    {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.code(),
            ..ApiVersionsResponse::default()
        };
    }
    let mut response = ApiVersionsResponse {
        api_keys: DISPATCH_TABLE.iter().map(range).collect(),
        ..Default::default()
    };
    response.supported_features = FEATURES
        .iter()
        .map(|feature| supported(feature, context.version))
        .collect();
    response.finalized_features_epoch = node.metadata.version();
    response.finalized_features = node
        .metadata
        .image()
        .feature_levels()
        .into_iter()
        .map(|(name, level)| FinalizedFeatureKey {
            name,
            max_version_level: level,
            min_version_level: level,
            ..Default::default()
        })
        .collect();
    response
}

/// Older clients cannot read a minimum of 0, which says that a feature can be off.
fn supported(feature: &Feature, api_version: i16) -> SupportedFeatureKey {
    let least = if api_version < 4 { 1 } else { 0 };
    SupportedFeatureKey {
        name: KString::from(feature.name),
        min_version: feature.min_level.max(least),
        max_version: feature.max_level,
        ..Default::default()
    }
}

/// The answer to a version that is not served, in the shape of version 0.
pub(crate) fn unsupported() -> ResponseKind {
    let api_keys = DISPATCH_TABLE
        .iter()
        .filter(|entry| entry.key == ApiKey::ApiVersions)
        .map(range)
        .collect();
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys,
        ..Default::default()
    }
    .into()
}

fn range(entry: &DispatchEntry) -> ApiVersion {
    ApiVersion {
        api_key: entry.key as i16,
        min_version: entry.versions.min,
        max_version: entry.versions.max,
        ..Default::default()
    }
}

/// Letters and digits, with dots and dashes inside.
fn is_software_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_1_a_feature_that_can_be_off_has_minimum_1_for_clients_before_version_4() {
        let feature = Feature {
            name: "transaction.version",
            min_level: 0,
            max_level: 2,
        };
        assert_eq!(supported(&feature, 3).min_version, 1);
        assert_eq!(supported(&feature, 4).min_version, 0);
    }

    #[test]
    fn software_names_begin_and_end_with_a_letter_or_digit() {
        for good in ["a", "librdkafka", "apache-kafka-java", "4.3.0", "v1.2-rc.1"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-", "a-", ".a", "with space", "ümlaut"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
