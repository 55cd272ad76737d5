//! What a ConsumerGroupHeartbeat must look like, whichever group it is for.

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use moldau_protocol::types::KString;

use super::ConsumerGroupSettings;
use super::assignor::Assignor;
use super::member::{JOIN_EPOCH, LEAVE_EPOCH, LEFT_STATIC_EPOCH};
use crate::rejection::Rejection;

/// Checks the fields of a request.
///
/// # Errors
/// INVALID_REQUEST, or UNSUPPORTED_ASSIGNOR.
pub(crate) fn validate(
    request: &ConsumerGroupHeartbeatRequest,
    api_version: i16,
    settings: &ConsumerGroupSettings,
) -> Result<(), Rejection> {
    let epoch = request.member_epoch;
    let needs_member_id =
        api_version >= MEMBER_ID_BY_CLIENT_FROM || epoch > JOIN_EPOCH || epoch == LEAVE_EPOCH;
    let is_empty = |text: &Option<_>| text.as_ref().is_some_and(|text: &KString| text.is_empty());
    if needs_member_id && request.member_id.is_empty() {
        return Err(invalid("member id must not be empty"));
    }
    if request.group_id.is_empty() {
        return Err(invalid("group id must not be empty"));
    }
    if is_empty(&request.instance_id) {
        return Err(invalid(
            "instance id must not be empty; leave it out for a dynamic member",
        ));
    }
    if is_empty(&request.rack_id) {
        return Err(invalid(
            "rack id must not be empty; leave it out if there is none",
        ));
    }
    match epoch {
        JOIN_EPOCH => validate_join(request)?,
        LEFT_STATIC_EPOCH if request.instance_id.is_none() => {
            return Err(invalid(
                "only a member with an instance id can leave with epoch -2",
            ));
        }
        epoch if epoch < LEFT_STATIC_EPOCH => {
            return Err(invalid(&format!("member epoch {epoch} means nothing")));
        }
        _ => {}
    }
    validate_assignor(request, settings)
}

fn validate_join(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Rejection> {
    if request.rebalance_timeout_ms == -1 {
        return Err(invalid(
            "a member that joins must say its rebalance timeout",
        ));
    }
    if request
        .topic_partitions
        .as_ref()
        .is_none_or(|owned| !owned.is_empty())
    {
        return Err(invalid(
            "a member that joins must say that it holds no partitions",
        ));
    }
    if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
        return Err(invalid(
            "a member that joins must say what it subscribes to: names or a regular expression",
        ));
    }
    Ok(())
}

fn validate_assignor(
    request: &ConsumerGroupHeartbeatRequest,
    settings: &ConsumerGroupSettings,
) -> Result<(), Rejection> {
    let Some(name) = &request.server_assignor else {
        return Ok(());
    };
    let offered = |assignor: &Assignor| Assignor::from_name(name) == Some(*assignor);
    if settings.assignors.iter().any(offered) {
        return Ok(());
    }
    let names: Vec<&str> = settings
        .assignors
        .iter()
        .map(|assignor| assignor.name())
        .collect();
    Err(Rejection::new(
        ErrorCode::UnsupportedAssignor,
        format!(
            "assignor \"{name}\" is not supported; choose one of: {}",
            names.join(", ")
        ),
    ))
}

fn invalid(message: &str) -> Rejection {
    Rejection::new(ErrorCode::InvalidRequest, message)
}

/// From this version on members choose their ids themselves.
const MEMBER_ID_BY_CLIENT_FROM: i16 = 1;
