//! What a connection does with bytes that it does not understand, and with limits.

use moldau_broker::handlers::DISPATCH_TABLE;
use moldau_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use moldau_protocol::{ApiKey, Decoder, ErrorCode, KString, Message};

use crate::fixture::*;

/// Sends one frame and expects that the broker closes this connection and serves the next one.
async fn closes_the_connection(frame: &[u8]) {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.send_bytes(frame).await;
    assert_eq!(wire.receive_frame().await, None);
    broker.connect().await.call(12, all_topics()).await;
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

/// Trap 2: Kafka closes the connection instead of answering.
#[tokio::test]
async fn an_unknown_api_closes_the_connection() {
    closes_the_connection(&framed(&[0x03, 0xe7, 0, 0, 0, 0, 0, 1, 255, 255])).await;
}

#[tokio::test]
async fn an_api_that_exists_but_is_not_served_closes_the_connection() {
    closes_the_connection(&framed(&[0, 68, 0, 0, 0, 0, 0, 1, 255, 255, 0])).await;
}

/// Trap 2: only ApiVersions answers a version that it does not know.
#[tokio::test]
async fn a_version_that_is_not_served_closes_the_connection() {
    closes_the_connection(&framed(&[0, 3, 0, 99, 0, 0, 0, 1, 255, 255, 0])).await;
    closes_the_connection(&framed(&[0, 1, 0, 3, 0, 0, 0, 1, 255, 255, 0])).await;
}

/// Trap 2: so does a body that cannot be read.
#[tokio::test]
async fn a_body_that_cannot_be_read_closes_the_connection() {
    closes_the_connection(&framed(&[
        0, 3, 0, 1, 0, 0, 0, 1, 255, 255, 0x7f, 255, 255, 255,
    ]))
    .await;
}

#[tokio::test]
async fn a_frame_without_a_header_closes_the_connection() {
    closes_the_connection(&framed(&[])).await;
    closes_the_connection(&framed(&[0, 3, 0])).await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_closes_the_connection() {
    closes_the_connection(&(101 * 1024 * 1024_u32).to_be_bytes()).await;
    closes_the_connection(&u32::MAX.to_be_bytes()).await;
    closes_the_connection(b"GET / HTTP/1.1\r\n\r\n").await;
}

#[tokio::test]
async fn the_frame_limit_is_a_setting() {
    let broker = TestBroker::start_with(|config| config.socket_request_max_bytes = 1000).await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.send(
        PRODUCE,
        produce_request("t", 0, -1, batch(&["v".repeat(1000).as_str()])),
    )
    .await;
    assert_eq!(wire.receive_frame().await, None);
}

/// Trap 1: a client of the future asks again in a version that it is told.
#[tokio::test]
async fn an_unknown_version_of_api_versions_is_answered_in_v0() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.send_bytes(&framed(&[0, 18, 0, 99, 0, 0, 0, 42, 255, 255]))
        .await;
    let mut frame = wire.receive_frame().await.unwrap();
    assert_eq!(frame.split_to(4)[..], 42_u32.to_be_bytes());
    let response = ApiVersionsResponse::decode(&mut Decoder::new(frame), 0).unwrap();
    assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
    let own: Vec<_> = response
        .api_keys
        .iter()
        .map(|api| (api.api_key, api.min_version, api.max_version))
        .collect();
    assert_eq!(own, [(18, 0, 4)]);
    // The connection goes on.
    wire.call(0, ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn api_versions_names_every_api_of_the_dispatch_table() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    for version in 0..=4 {
        let request = ApiVersionsRequest {
            client_software_name: KString::from("test"),
            client_software_version: KString::from("1.0"),
            ..Default::default()
        };
        let response = wire.call(version, request).await;
        let told: Vec<_> = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version, api.max_version))
            .collect();
        let table: Vec<_> = DISPATCH_TABLE
            .iter()
            .map(|api| (api.key as i16, api.versions.min, api.versions.max))
            .collect();
        assert_eq!(told, table);
        assert!(
            told.contains(&(ApiKey::Produce as i16, 0, 13)),
            "old librdkafka needs Produce v0"
        );
        assert!(
            response
                .supported_features
                .iter()
                .all(|feature| feature.min_version > 0 || version >= 4)
        );
        if version >= 3 {
            let level = |name| {
                let mut features = response.finalized_features.iter();
                features
                    .find(|feature| feature.name == name)
                    .map(|feature| feature.max_version_level)
            };
            assert_eq!(
                level("group.version"),
                Some(1),
                "trap 13: it works, so it is said"
            );
            assert!(level("metadata.version").is_some());
            assert!(response.finalized_features_epoch >= 0);
        }
    }
}

/// Trap 1: from version 3 on the names are checked.
#[tokio::test]
async fn the_clients_software_must_have_a_name() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    let request = ApiVersionsRequest {
        client_software_name: KString::from("bad name!"),
        client_software_version: KString::from("1.0"),
        ..Default::default()
    };
    let response = wire.call(3, request).await;
    assert_eq!(response.error_code, ErrorCode::InvalidRequest.code());
}

#[tokio::test]
async fn requests_before_a_bad_one_are_still_answered() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.send(PRODUCE, produce_request("t", 0, -1, batch(&["kept"])))
        .await;
    wire.receive(ApiKey::Produce, PRODUCE).await;
    wire.send_bytes(&framed(&[0x03, 0xe7, 0, 0, 0, 0, 0, 1, 255, 255]))
        .await;
    assert_eq!(wire.receive_frame().await, None);
    assert_eq!(broker.connect().await.values("t", 0, 0).await, ["kept"]);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed() {
    let broker = TestBroker::start_with(|config| config.max_connections = 1).await;
    let mut first = broker.connect().await;
    first.call(12, all_topics()).await;
    let mut second = broker.connect().await;
    assert_eq!(second.receive_frame().await, None);
    first.call(12, all_topics()).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let broker = TestBroker::start_with(|config| config.connections_max_idle_ms = 1).await;
    let mut wire = broker.connect().await;
    assert_eq!(wire.receive_frame().await, None);
}

/// Trap 19: a time to wait is told only if the broker waits too. There are no quotas, so it is none,
/// and nobody can set any.
#[tokio::test]
async fn trap_19_without_quotas_nobody_is_told_to_wait() {
    let quotas = [ApiKey::DescribeClientQuotas, ApiKey::AlterClientQuotas];
    assert!(DISPATCH_TABLE.iter().all(|api| !quotas.contains(&api.key)));
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    for _ in 0..20 {
        let value = "v".repeat(100_000);
        let request = produce_request("t", 0, -1, batch(&[&value]));
        assert_eq!(wire.call(PRODUCE, request).await.throttle_time_ms, 0);
        let fetched = wire.call(FETCH, fetch_request("t", 0, 0)).await;
        assert_eq!(fetched.throttle_time_ms, 0);
    }
}

/// Trap 20: without SASL there is no handshake. A client that begins one is not left waiting.
#[tokio::test]
async fn trap_20_a_sasl_handshake_closes_the_connection() {
    let sasl = [ApiKey::SaslHandshake, ApiKey::SaslAuthenticate];
    assert!(DISPATCH_TABLE.iter().all(|api| !sasl.contains(&api.key)));
    for version in [0, 1] {
        let plain = [
            0, 17, 0, version, 0, 0, 0, 1, 255, 255, 0, 5, b'P', b'L', b'A', b'I', b'N',
        ];
        closes_the_connection(&framed(&plain)).await;
    }
}
