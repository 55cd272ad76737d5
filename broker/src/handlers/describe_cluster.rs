//! DescribeCluster v0–2 (key 60).
//!
//! The brokers of the cluster, its id and its controller.
//! - v1: `endpoint_type` (KIP-919): only brokers can be asked for here, not controllers
//! - v2: `is_fenced` (KIP-1073): there is no fenced broker

use moldau_protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use moldau_protocol::{ErrorCode, KString};

use super::RequestContext;
use super::operations::CLUSTER_OPERATIONS;
use crate::node::Node;

pub(super) fn handle(
    node: &Node,
    context: &RequestContext,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let mut response = DescribeClusterResponse {
        endpoint_type: request.endpoint_type,
        cluster_id: node.cluster_id.clone(),
        controller_id: node.config().node_id,
        ..Default::default()
    };
    if request.endpoint_type != BROKERS {
        response.error_code = ErrorCode::MismatchedEndpointType.code();
        response.error_message = Some(KString::from(
            "this listener serves brokers, not controllers",
        ));
        return response;
    }
    response.brokers = node
        .metadata
        .image()
        .brokers()
        .map(|broker| DescribeClusterBroker {
            broker_id: broker.id,
            host: context.client.broker_host.clone(),
            port: context.client.broker_port,
            rack: broker.rack.clone(),
            ..Default::default()
        })
        .collect();
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}

const BROKERS: i8 = 1;
