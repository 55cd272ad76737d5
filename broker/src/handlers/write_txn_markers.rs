//! WriteTxnMarkers v1–2 (key 27).
//!
//! Writes the markers that end transactions; sent by transaction coordinators of other brokers, and by
//! `kafka-transactions abort` to end a transaction that hangs (KIP-664).
//! - v2: `transaction_version`: from 2 on the marker's epoch is above that of the records (KIP-1228)

use std::sync::Arc;

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

use crate::coordinator::MarkerWriter;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let mut markers = Vec::with_capacity(request.markers.len());
    for marker in request.markers {
        markers.push(write(&node.markers, marker).await);
    }
    WriteTxnMarkersResponse {
        markers,
        ..Default::default()
    }
}

async fn write(writer: &MarkerWriter, request: WritableTxnMarker) -> WritableTxnMarkerResult {
    let marker = MarkerWriter::marker_of(&request);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for partition_index in topic.partition_indexes {
            let at = (topic.name.clone(), partition_index);
            let written = writer.write(&at, marker).await;
            partitions.push(WritableTxnMarkerPartitionResult {
                partition_index,
                error_code: written.err().unwrap_or(ErrorCode::None).code(),
                ..Default::default()
            });
        }
        topics.push(WritableTxnMarkerTopicResult {
            name: topic.name,
            partitions,
            ..Default::default()
        });
    }
    WritableTxnMarkerResult {
        producer_id: request.producer_id,
        topics,
        ..Default::default()
    }
}
