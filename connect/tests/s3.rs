//! The sink `s3` against a real S3 server.
//!
//! Needs `MOLDAU_TEST_S3=http://host:port` with a bucket `moldau-test` that any key may write to;
//! `tests/clients/s3_moto.sh` starts one. Without it the tests say so and pass.

use std::io::Read;
use std::time::Duration;

use flate2::read::GzDecoder;
use futures::StreamExt;
use moldau_broker::{Broker, BrokerConfig, BrokerHandle};
use moldau_client::{Client, ClientConfig};
use moldau_connect::config::{Document, ParseContext};
use moldau_connect::{Connect, ConnectConfig, ConnectHandle};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt};

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn endpoint() -> Option<String> {
    let endpoint = std::env::var("MOLDAU_TEST_S3").ok();
    if endpoint.is_none() {
        println!("skipped: MOLDAU_TEST_S3 is not set, see tests/clients/s3_moto.sh");
    }
    endpoint
}

async fn start(folder: &std::path::Path, document: &str) -> (BrokerHandle, ConnectHandle) {
    let mut config = BrokerConfig::new(folder.join("data"));
    config.listeners = vec!["127.0.0.1:0".parse().expect("an address")];
    let broker = Broker::start(config).await.expect("a broker");
    let client = Client::in_process(broker.dispatcher(), ClientConfig::new(""));
    let document = Document::parse(document, "test.yaml", &ParseContext::new(folder));
    let document = document.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let connect = Connect::start(client, document.connectors, ConnectConfig::new(folder));
    (broker, connect)
}

fn store(endpoint: &str) -> impl ObjectStore {
    // The sink under test has installed the provider of cryptography already, or this one does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_bucket_name("moldau-test")
        .with_region("us-east-1")
        .with_access_key_id("key")
        .with_secret_access_key("secret")
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .build()
        .expect("a store")
}

/// Size and lines of each object below `prefix`.
async fn objects(store: &impl ObjectStore, prefix: &str) -> Vec<(u64, Vec<String>)> {
    let listed: Vec<_> = store.list(Some(&Path::from(prefix))).collect().await;
    let mut objects = Vec::new();
    for meta in listed {
        let meta = meta.expect("listed");
        let content = store
            .get(&meta.location)
            .await
            .expect("there")
            .bytes()
            .await
            .expect("read");
        let mut text = String::new();
        if meta.location.to_string().ends_with(".gz") {
            GzDecoder::new(&*content)
                .read_to_string(&mut text)
                .expect("gzip");
        } else {
            text.push_str(std::str::from_utf8(&content).expect("text"));
        }
        objects.push((meta.size, text.lines().map(str::to_owned).collect()));
    }
    objects
}

fn document(endpoint: &str, prefix: &str, count: usize, words: usize, sink: &str) -> String {
    format!(
        r#"
version: 1
connectors:
  numbers:
    source:
      generator:
        fields: {{ n: {{ sequence: {{ start: 0 }} }}, note: {{ text: {{ words: {words} }} }} }}
        rate: 1000000/s
        count: {count}
    topic: numbers
  lake:
    topics: numbers
    sink:
      s3:
        bucket: moldau-test
        prefix: {prefix}
        endpoint: {endpoint}
        allow_http: true
        region: us-east-1
        credentials: {{ access_key_id: key, secret_access_key: secret }}
        {sink}
"#
    )
}

async fn until_written(
    store: &impl ObjectStore,
    prefix: &str,
    count: usize,
    connect: &ConnectHandle,
) {
    let waiting = async {
        while objects(store, prefix)
            .await
            .iter()
            .map(|(_, lines)| lines.len())
            .sum::<usize>()
            < count
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let result = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(result.is_ok(), "waited in vain: {:#?}", connect.status());
}

fn numbers(objects: &[(u64, Vec<String>)]) -> Vec<u64> {
    let number = |line: &String| {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        value["n"].as_u64().expect("a number")
    };
    let mut numbers: Vec<_> = objects
        .iter()
        .flat_map(|(_, lines)| lines)
        .map(number)
        .collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn records_are_in_zipped_objects_once_over_a_restart() {
    let Some(endpoint) = endpoint() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let prefix = format!("zipped-{}", std::process::id());
    let sink = "compression: gzip\n        rotate: { records: 300, max_age: 100ms }";
    let store = store(&endpoint);
    for count in [1_000, 2_000] {
        let document = document(&endpoint, &prefix, count, 5, sink);
        let (broker, connect) = start(folder.path(), &document).await;
        until_written(&store, &prefix, count, &connect).await;
        connect.close().await;
        broker.shutdown().await.expect("stopped");
    }
    let objects = objects(&store, &prefix).await;
    assert_eq!(numbers(&objects), (0..2_000).collect::<Vec<_>>());
    assert!(objects.iter().all(|(_, lines)| lines.len() <= 300));
}

#[tokio::test]
async fn a_large_object_goes_in_parts() {
    let Some(endpoint) = endpoint() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let prefix = format!("large-{}", std::process::id());
    let sink = "rotate: { bytes: 18MiB, max_age: 10s }";
    let store = store(&endpoint);
    let document = document(&endpoint, &prefix, 2_000, 2_000, sink);
    let (broker, connect) = start(folder.path(), &document).await;
    until_written(&store, &prefix, 2_000, &connect).await;
    connect.close().await;
    broker.shutdown().await.expect("stopped");
    let objects = objects(&store, &prefix).await;
    assert_eq!(numbers(&objects), (0..2_000).collect::<Vec<_>>());
    assert!(
        objects.iter().any(|(size, _)| *size > 16 << 20),
        "one object is larger than one part"
    );
}
