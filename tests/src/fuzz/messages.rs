//! Requests, responses and frames.
//!
//! ```text
//! requests, responses   API key i16, version i16, body
//! frames                what follows the length on a connection
//! ```

use bytes::Bytes;
use moldau_protocol::frame::parse_request;
use moldau_protocol::{ApiKey, Decoder, Encoder, RequestKind, ResponseKind};

use super::golden::request_header;

/// Decodes a request. What can be decoded can be encoded, and is the same then.
pub(super) fn request(bytes: &[u8]) {
    let Some((key, version, body)) = split(bytes) else {
        return;
    };
    let mut input = Decoder::new(body);
    let Ok(request) = RequestKind::decode(key, version, &mut input) else {
        return;
    };
    let mut output = Encoder::new();
    let encoded = request.encode(&mut output, version);
    encoded.expect("what was decoded can be encoded");
    let bytes = output.finish().to_bytes().expect("nothing lies in files");
    let again = RequestKind::decode(key, version, &mut Decoder::new(bytes));
    assert_eq!(again.as_ref(), Ok(&request), "{key:?} version {version}");
}

/// Decodes a response, as the client does.
pub(super) fn response(bytes: &[u8]) {
    let Some((key, version, body)) = split(bytes) else {
        return;
    };
    let mut input = Decoder::new(body);
    let Ok(response) = ResponseKind::decode(key, version, &mut input) else {
        return;
    };
    let mut output = Encoder::new();
    let encoded = response.encode(&mut output, version);
    encoded.expect("what was decoded can be encoded");
    let bytes = output.finish().to_bytes().expect("nothing lies in files");
    let again = ResponseKind::decode(key, version, &mut Decoder::new(bytes));
    assert_eq!(again.as_ref(), Ok(&response), "{key:?} version {version}");
}

/// Reads a frame, as the broker does.
pub(super) fn frame(bytes: &[u8]) {
    if let Err(error) = parse_request(Bytes::copy_from_slice(bytes)) {
        assert!(!error.to_string().is_empty());
    }
}

fn split(bytes: &[u8]) -> Option<(ApiKey, i16, Bytes)> {
    let [a, b, c, d, body @ ..] = bytes else {
        return None;
    };
    let key = ApiKey::from_i16(i16::from_be_bytes([*a, *b]))?;
    let version = i16::from_be_bytes([*c, *d]);
    Some((key, version, Bytes::copy_from_slice(body)))
}

/// Empty requests of all APIs in all versions; the corpus has full ones.
pub(super) fn request_examples() -> Vec<Vec<u8>> {
    examples(|key, version, bytes| {
        RequestKind::decode(key, version, &mut Decoder::new(bytes)).is_ok()
    })
}

/// Empty responses of all APIs in all versions.
pub(super) fn response_examples() -> Vec<Vec<u8>> {
    examples(|key, version, bytes| {
        ResponseKind::decode(key, version, &mut Decoder::new(bytes)).is_ok()
    })
}

/// The shortest run of zeros that is a message, for each API and version.
fn examples(decodes: impl Fn(ApiKey, i16, Bytes) -> bool) -> Vec<Vec<u8>> {
    let mut examples = Vec::new();
    for key in ApiKey::iter() {
        for version in key.valid_versions().iter() {
            let zeros = [0; MAX_ZEROS];
            let length = (0..=MAX_ZEROS)
                .find(|length| decodes(key, version, Bytes::copy_from_slice(&zeros[..*length])));
            let head = [(key as i16).to_be_bytes(), version.to_be_bytes()].concat();
            examples.push([&head, &zeros[..length.unwrap_or(0)]].concat());
        }
    }
    examples
}

/// The same requests with a header in front.
pub(super) fn frame_examples() -> Vec<Vec<u8>> {
    let frame = |request: Vec<u8>| {
        let (head, body) = request.split_at(4);
        let key = i16::from_be_bytes([head[0], head[1]]);
        let version = i16::from_be_bytes([head[2], head[3]]);
        [&request_header(key, version), body].concat()
    };
    request_examples().into_iter().map(frame).collect()
}

/// The longest empty message has fewer bytes.
const MAX_ZEROS: usize = 96;
