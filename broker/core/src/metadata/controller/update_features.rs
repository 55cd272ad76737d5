//! UpdateFeatures v0–2: finalizes other levels of features, all of those asked for or none.

use std::collections::BTreeSet;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use super::{Controller, Decision, invalid_request};
use crate::metadata::features::feature;
use crate::metadata::record::MetadataRecord;
use crate::rejection::Rejection;

impl Controller<'_> {
    /// Changes the finalized levels of features.
    #[must_use]
    pub fn update_features(
        &self,
        request: &UpdateFeaturesRequest,
        api_version: i16,
    ) -> Decision<UpdateFeaturesResponse> {
        let mut names = BTreeSet::new();
        let mut records = Vec::new();
        for update in &request.feature_updates {
            let level = if names.insert(&update.feature) {
                self.updated(update, api_version)
            } else {
                Err(invalid_request(format!(
                    "feature \"{}\" is in the request more than once",
                    update.feature
                )))
            };
            match level {
                Ok(record) => records.extend(record),
                Err(rejection) => {
                    return Decision {
                        records: Vec::new(),
                        response: refused(request, api_version, update, &rejection),
                    };
                }
            }
        }
        if request.validate_only {
            records.clear();
        }
        let results = request.feature_updates.iter().map(result).collect();
        Decision {
            records,
            response: UpdateFeaturesResponse {
                error_message: None,
                results: if api_version <= 1 {
                    results
                } else {
                    Vec::new()
                },
                ..Default::default()
            },
        }
    }

    /// The record of one change; `None` if the feature has the level already.
    fn updated(
        &self,
        update: &FeatureUpdateKey,
        api_version: i16,
    ) -> Result<Option<MetadataRecord>, Rejection> {
        let (name, level) = (&update.feature, update.max_version_level);
        let refuse = |message| Err(Rejection::new(ErrorCode::InvalidUpdateVersion, message));
        let Some(feature) = feature(name) else {
            return refuse(format!("feature \"{name}\" is not supported"));
        };
        let (least, most) = (feature.min_level, feature.max_level);
        if !(least..=most).contains(&level) {
            return refuse(format!(
                "feature \"{name}\": level {level} is not supported; this version works at levels {least} to {most}"
            ));
        }
        let may_lower = match (api_version, update.upgrade_type) {
            (0, _) => update.allow_downgrade,
            (_, UPGRADE) => false,
            (_, SAFE_DOWNGRADE | UNSAFE_DOWNGRADE) => true,
            (_, other) => {
                return Err(invalid_request(format!(
                    "feature \"{name}\": there is no upgrade type {other}"
                )));
            }
        };
        let current = self.image.feature_level(feature);
        if level < current && !may_lower {
            return refuse(format!(
                "feature \"{name}\": level {level} is lower than {current}, which must be asked for as a downgrade"
            ));
        }
        Ok((level != current).then(|| MetadataRecord::Feature {
            name: name.detached(),
            level,
        }))
    }
}

fn result(update: &FeatureUpdateKey) -> UpdatableFeatureResult {
    UpdatableFeatureResult {
        feature: update.feature.clone(),
        error_message: None,
        ..Default::default()
    }
}

/// Until version 1 each feature has a result, and none of them changed; from version 2 on there is one error.
fn refused(
    request: &UpdateFeaturesRequest,
    api_version: i16,
    culprit: &FeatureUpdateKey,
    rejection: &Rejection,
) -> UpdateFeaturesResponse {
    let error_code = rejection.code.code();
    if api_version >= 2 {
        return UpdateFeaturesResponse {
            error_code,
            error_message: Some(rejection.message.clone().into()),
            ..Default::default()
        };
    }
    let results = request.feature_updates.iter().map(|update| {
        let message = if update.feature == culprit.feature {
            rejection.message.clone()
        } else {
            format!(
                "not changed, because of another feature: {}",
                rejection.message
            )
        };
        UpdatableFeatureResult {
            error_code,
            error_message: Some(message.into()),
            ..result(update)
        }
    });
    UpdateFeaturesResponse {
        error_message: None,
        results: results.collect(),
        ..Default::default()
    }
}

/// Types of change, from version 1 on.
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::MetadataImage;
    use crate::metadata::controller::ControllerSettings;
    use crate::metadata::controller::fixture::controller;

    fn update(feature: &'static str, level: i16, upgrade_type: i8) -> UpdateFeaturesRequest {
        let update = FeatureUpdateKey {
            feature: feature.into(),
            max_version_level: level,
            upgrade_type,
            ..Default::default()
        };
        UpdateFeaturesRequest {
            feature_updates: vec![update],
            ..Default::default()
        }
    }

    fn decide(request: &UpdateFeaturesRequest, version: i16) -> Decision<UpdateFeaturesResponse> {
        let settings = ControllerSettings::default();
        controller(&MetadataImage::default(), &settings).update_features(request, version)
    }

    #[test]
    fn the_level_that_is_there_can_be_asked_for_again() {
        let decision = decide(&update("metadata.version", 30, UPGRADE), 2);
        assert_eq!(
            (decision.response.error_code, decision.records.len()),
            (0, 0)
        );
        let decision = decide(&update("metadata.version", 30, UPGRADE), 1);
        assert_eq!(decision.response.results[0].error_code, 0);
    }

    #[test]
    fn what_this_version_does_not_know_is_refused() {
        let code = ErrorCode::InvalidUpdateVersion.code();
        for request in [
            update("colour.version", 1, UPGRADE),
            update("metadata.version", 31, UPGRADE),
            update("metadata.version", 7, SAFE_DOWNGRADE),
            update("metadata.version", -1, UPGRADE),
        ] {
            let response = decide(&request, 2).response;
            assert_eq!(response.error_code, code);
            assert!(response.error_message.unwrap().contains("not supported"));
            let response = decide(&request, 1).response;
            assert_eq!(
                (response.error_code, response.results[0].error_code),
                (0, code)
            );
        }
    }

    #[test]
    fn a_feature_that_is_asked_for_twice_is_not_changed() {
        let mut request = update("metadata.version", 30, UPGRADE);
        request
            .feature_updates
            .push(request.feature_updates[0].clone());
        assert_eq!(
            decide(&request, 2).response.error_code,
            ErrorCode::InvalidRequest.code()
        );
    }
}
