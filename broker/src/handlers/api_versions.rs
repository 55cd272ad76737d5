//! ApiVersions v0–4 (key 18).
//!
//! Tells clients what they may send. Its response header is always version 0.
//! - an unknown version is answered in version 0 with `UNSUPPORTED_VERSION` and the version range of this API (KIP-511)
//! - v3: the client's software name and version, which must look like names (KIP-511)
//! - v4: features whose minimum is 0 may be listed (KAFKA-17011); we list none of these
//!
//! Produce is advertised from version 0 although versions 0-2 are refused: librdkafka before 2.11 takes
//! a higher minimum for a broker without compression (KAFKA-18659).

use moldau_protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use moldau_protocol::{ApiKey, ErrorCode, KString, ResponseKind};

use super::{DISPATCH_TABLE, DispatchEntry, RequestContext};
use crate::metadata::{METADATA_VERSION_FEATURE, METADATA_VERSION_LEVEL};
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
    response.supported_features = vec![SupportedFeatureKey {
        name: KString::from(METADATA_VERSION_FEATURE),
        min_version: METADATA_VERSION_LEVEL,
        max_version: METADATA_VERSION_LEVEL,
        ..Default::default()
    }];
    response.finalized_features_epoch = node.metadata.version();
    response.finalized_features = vec![FinalizedFeatureKey {
        name: KString::from(METADATA_VERSION_FEATURE),
        max_version_level: METADATA_VERSION_LEVEL,
        min_version_level: METADATA_VERSION_LEVEL,
        ..Default::default()
    }];
    response
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
    use super::is_software_name;

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
