//! Every API answers in every version that it advertises.

use moldau_broker::handlers::DISPATCH_TABLE;
use moldau_protocol::dispatch::ClientContext;
use moldau_protocol::frame;
use moldau_protocol::{ApiKey, Decoder, RequestKind};

use crate::fixture::*;

/// A request with default values, as far as a version can carry them.
fn default_request(key: ApiKey, version: i16) -> Option<RequestKind> {
    // Zeros and empty strings: the shortest body that decodes.
    let zeros = bytes::Bytes::from(vec![0; 256]);
    let mut decoder = Decoder::new(zeros);
    RequestKind::decode(key, version, &mut decoder).ok()
}

#[tokio::test]
async fn every_version_of_every_api_is_answered_in_that_version() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let dispatcher = broker.handle.dispatcher();
    let mut answered = 0;
    for api in DISPATCH_TABLE {
        for version in api.versions.iter() {
            let Some(request) = default_request(api.key, version) else {
                continue;
            };
            let asked = dispatcher.dispatch(&ClientContext::default(), version, request);
            let Ok(response) = asked.await else { continue };
            let name = api.key.name();
            frame::encode_response(api.key, version, 7, &response)
                .unwrap_or_else(|error| panic!("{name} v{version}: {error}"));
            answered += 1;
        }
    }
    assert!(answered > 80, "only {answered} were answered");
}
