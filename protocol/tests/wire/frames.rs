//! Frames: length, header and body together.

use bytes::Bytes;
use moldau_protocol::frame::{self, FrameError, RequestHeader};
use moldau_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchResponse, ResponseKind,
};
use moldau_protocol::{ApiKey, DecodeError, EncodeError, KString, VersionRange};

use crate::golden::{Decoded, Golden};

#[test]
fn every_golden_message_passes_through_a_frame() {
    for golden in Golden::all() {
        let (decoded, _) = golden.decode(golden.bytes.clone()).expect("golden bytes");
        let encoded = match &decoded {
            Decoded::Request(request) => frame::encode_request(&header(&golden), request),
            Decoded::Response(response) => {
                frame::encode_response(golden.key, golden.version, 77, response)
            }
        };
        let encoded = encoded.expect("encode").to_bytes().expect("no files");
        let body = encoded.slice(4..);
        assert_eq!(
            encoded[..4],
            (body.len() as u32).to_be_bytes(),
            "{}",
            golden.title()
        );
        assert!(body.ends_with(&golden.bytes), "{}", golden.title());
        match decoded {
            Decoded::Request(request) => {
                assert_eq!(frame::parse_request(body), Ok((header(&golden), request)))
            }
            Decoded::Response(response) => {
                assert_eq!(
                    frame::decode_response(golden.key, golden.version, body),
                    Ok((77, response))
                );
            }
        }
    }
}

fn header(golden: &Golden) -> RequestHeader {
    RequestHeader {
        api_key: golden.key as i16,
        api_version: golden.version,
        correlation_id: 42,
        client_id: (golden.version % 2 == 0).then(|| KString::from_static("client")),
    }
}

#[test]
fn the_client_id_has_a_two_byte_length_also_in_flexible_headers() {
    let header = RequestHeader {
        api_key: 18,
        api_version: 3,
        correlation_id: 1,
        client_id: Some("ab".into()),
    };
    let encoded =
        frame::encode_request(&header, &ApiVersionsRequest::default().into()).expect("encode");
    let encoded = encoded.to_bytes().expect("no files");
    assert_eq!(
        encoded[4..],
        *b"\x00\x12\x00\x03\x00\x00\x00\x01\x00\x02ab\x00\x01\x01\x00"
    );
}

/// Trap 17: a client that does not know our versions yet must be able to read it.
#[test]
fn the_header_of_an_api_versions_response_is_always_version_0() {
    let response = ResponseKind::from(ApiVersionsResponse::default());
    let encoded = frame::encode_response(ApiKey::ApiVersions, 3, 5, &response).expect("encode");
    let encoded = encoded.to_bytes().expect("no files");
    // Correlation id, then at once the error code: no tagged fields between.
    assert_eq!(encoded[4..10], [0, 0, 0, 5, 0, 0]);
    assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
}

/// Trap 17: tagged fields stand in the headers of flexible versions alone.
#[test]
fn header_versions_follow_the_flexible_versions() {
    assert_eq!(
        (
            ApiKey::Fetch.request_header_version(11),
            ApiKey::Fetch.response_header_version(11)
        ),
        (1, 0)
    );
    assert_eq!(
        (
            ApiKey::Fetch.request_header_version(12),
            ApiKey::Fetch.response_header_version(12)
        ),
        (2, 1)
    );
    assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
}

#[test]
fn an_unknown_version_keeps_what_an_answer_needs() {
    let error = frame::parse_request(Bytes::from_static(
        b"\x00\x12\x00\x63\x00\x00\x00\x07anything",
    ));
    let valid = VersionRange::new(0, 4);
    let expected = FrameError::UnsupportedVersion {
        api_key: ApiKey::ApiVersions,
        api_version: 99,
        valid,
        correlation_id: 7,
    };
    assert_eq!(error, Err(expected.clone()));
    assert_eq!(expected.correlation_id(), Some(7));
    assert_eq!(
        expected.to_string(),
        "ApiVersions has no version 99, only 0-4"
    );
}

#[test]
fn unknown_apis_and_short_frames_are_errors() {
    let unknown = frame::parse_request(Bytes::from_static(b"\x03\xe7\x00\x00\x00\x00\x00\x07"));
    assert_eq!(
        unknown,
        Err(FrameError::UnknownApi {
            api_key: 999,
            api_version: 0,
            correlation_id: 7
        })
    );
    // APIs that Kafka has given up are unknown as well.
    let gone = frame::parse_request(Bytes::from_static(b"\x00\x04\x00\x00\x00\x00\x00\x07"));
    assert_eq!(
        gone,
        Err(FrameError::UnknownApi {
            api_key: 4,
            api_version: 0,
            correlation_id: 7
        })
    );
    assert_eq!(
        frame::parse_request(Bytes::from_static(b"\x00\x12\x00")),
        Err(FrameError::TooShort { length: 3 })
    );
}

#[test]
fn a_malformed_request_tells_where_reading_stopped() {
    let error = frame::parse_request(Bytes::from_static(
        b"\x00\x0c\x00\x00\x00\x00\x00\x07\xff\xff\x00\x09group",
    ));
    let source = DecodeError::InvalidLength {
        length: 9,
        remaining: 5,
    };
    let expected = FrameError::Malformed {
        api_key: ApiKey::Heartbeat,
        api_version: 0,
        correlation_id: 7,
        position: 12,
        source,
    };
    assert_eq!(error, Err(expected));
}

#[test]
fn a_message_of_another_api_is_not_sent() {
    let response = ResponseKind::from(FetchResponse::default());
    let error = frame::encode_response(ApiKey::Produce, 9, 1, &response);
    assert_eq!(
        error,
        Err(EncodeError::WrongApi {
            key: "Produce",
            message: "Fetch"
        })
    );
}
