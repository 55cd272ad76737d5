//! UpdateFeatures v0–2 (key 57).
//!
//! Finalizes other levels of features, which clients and brokers then work at (KIP-584).
//! - v1: upgrades, downgrades, and checking alone (KIP-778)
//! - v2: one error for all features instead of one for each

use std::sync::Arc;

use moldau_protocol::messages::update_features::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let decided = node
        .metadata
        .decide(move |controller, _| controller.update_features(&request, context.version))
        .await;
    decided.unwrap_or_else(|code| UpdateFeaturesResponse {
        error_code: code.code(),
        ..Default::default()
    })
}
