//! UnregisterBroker v0 (key 64).
//!
//! Takes a broker that is gone for good out of the cluster (KIP-500). The only broker cannot leave.

use moldau_protocol::messages::unregister_broker::{
    UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use moldau_protocol::{ErrorCode, KString};

use crate::node::Node;

pub(super) fn handle(node: &Node, request: &UnregisterBrokerRequest) -> UnregisterBrokerResponse {
    let id = request.broker_id;
    let (code, message) = if node.metadata.image().broker(id).is_none() {
        (
            ErrorCode::BrokerIdNotRegistered,
            format!("there is no broker with id {id}"),
        )
    } else {
        (
            ErrorCode::InvalidRequest,
            format!("broker {id} is alive and the only one of the cluster, so it cannot leave"),
        )
    };
    UnregisterBrokerResponse {
        error_code: code.code(),
        error_message: Some(KString::from(message)),
        ..Default::default()
    }
}
