//! The broker in the same process: the same answers without sockets.

use moldau_protocol::dispatch::{ClientContext, DispatchError};
use moldau_protocol::messages::api_versions::ApiVersionsRequest;
use moldau_protocol::messages::fetch::FetchResponse;
use moldau_protocol::messages::produce::ProduceResponse;
use moldau_protocol::messages::share_group_heartbeat::ShareGroupHeartbeatRequest;

use crate::fixture::*;

#[tokio::test]
async fn records_pass_without_sockets_also_from_files() {
    let broker = TestBroker::start_with(|config| config.tail_cache_bytes = 0).await;
    broker.connect().await.create_topic("t", 1).await;
    let dispatcher = broker.handle.dispatcher();
    let client = ClientContext::default();
    let request = kind(produce_request("t", 0, -1, batch(&["in process"])));
    let response = dispatcher
        .dispatch(&client, PRODUCE, request)
        .await
        .unwrap();
    let response = ProduceResponse::try_from(response).unwrap();
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    let response = dispatcher
        .dispatch(&client, FETCH, kind(fetch_request("t", 0, 0)))
        .await
        .unwrap();
    let data = only(FetchResponse::try_from(response).unwrap());
    assert_eq!(text(records(&data)[0].value.as_ref()), "in process");
}

#[tokio::test]
async fn what_would_close_a_socket_is_an_error() {
    let broker = TestBroker::start().await;
    let dispatcher = broker.handle.dispatcher();
    let client = ClientContext::default();
    let quiet = dispatcher
        .dispatch(
            &client,
            PRODUCE,
            kind(produce_request("missing", 0, 0, batch(&["x"]))),
        )
        .await;
    assert!(matches!(quiet, Err(DispatchError::Refused { .. })));
    let unknown = dispatcher
        .dispatch(&client, 0, kind(ShareGroupHeartbeatRequest::default()))
        .await;
    assert!(matches!(unknown, Err(DispatchError::Unsupported { .. })));
    let version = dispatcher
        .dispatch(&client, 99, kind(ApiVersionsRequest::default()))
        .await;
    assert!(matches!(version, Err(DispatchError::Unsupported { .. })));
}

#[tokio::test]
async fn a_stopped_broker_says_so() {
    let broker = TestBroker::start().await;
    let dispatcher = broker.handle.dispatcher();
    broker.handle.shutdown().await.unwrap();
    let late = dispatcher
        .dispatch(
            &ClientContext::default(),
            0,
            kind(ApiVersionsRequest::default()),
        )
        .await;
    assert_eq!(late.unwrap_err(), DispatchError::Stopped);
}
