//! A broker with connectors, and files that are written and read around it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use moldau_broker::{Broker, BrokerConfig, BrokerHandle};
use moldau_client::{Client, ClientConfig};
use moldau_connect::config::{Document, ParseContext};
use moldau_connect::{Connect, ConnectConfig, ConnectHandle};

/// A process: a broker and the connectors of a document.
pub(crate) struct Process {
    broker: BrokerHandle,
    pub(crate) connect: ConnectHandle,
}

impl Process {
    pub(crate) async fn start(folder: &Path, document: &str) -> Self {
        let mut config = BrokerConfig::new(folder.join("data"));
        config.listeners = vec!["127.0.0.1:0".parse().expect("an address")];
        let broker = Broker::start(config).await.expect("a broker");
        let client = Client::in_process(broker.dispatcher(), ClientConfig::new(""));
        let document = Document::parse(document, "test.yaml", &ParseContext::new(folder));
        let document = document.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let connect = Connect::start(client, document.connectors, ConnectConfig::new(folder));
        Self { broker, connect }
    }

    pub(crate) async fn stop(self) {
        self.connect.close().await;
        self.broker.shutdown().await.expect("stopped");
    }

    /// Waits until `done`, but not for ever.
    pub(crate) async fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let waiting = async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("waited in vain for {what}: {:#?}", self.connect.status());
        }
    }
}

pub(crate) fn append(path: &Path, lines: impl IntoIterator<Item = String>) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("open");
    for line in lines {
        file.write_all(format!("{line}\n").as_bytes())
            .expect("write");
    }
}

/// The lines of JSON texts in a file; none when it is not there.
pub(crate) fn texts(path: &Path) -> Vec<String> {
    let content = fs::read_to_string(path).unwrap_or_default();
    let whole = content.rfind('\n').map_or("", |end| &content[..end]);
    let text = |line: &str| serde_json::from_str::<String>(line).expect("a JSON text");
    whole.lines().map(text).collect()
}

pub(crate) const PIPELINE: &str = r#"
version: 1
connectors:
  in:
    source: { file: { include: "${data_dir}/app.log*", poll_interval: 10ms } }
    topic: lines
    encode: { value: text }
  out:
    topics: lines
    decode: { value: text }
    sink: { file: { path: "${data_dir}/out.jsonl", commit_interval: 20ms } }
  lake:
    topics: lines
    decode: { value: text }
    sink: { object_store: { path: "${data_dir}/lake", rotate: { records: 50, max_age: 100ms } } }
"#;

pub(crate) fn lines(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|number| format!("line {number}"))
}

/// All lines of all objects, in the order of their names.
pub(crate) fn lake(folder: &Path) -> Vec<String> {
    let pattern = folder
        .join("lake/lines/partition=*/*.jsonl")
        .display()
        .to_string();
    let objects = glob::glob(&pattern).expect("a pattern").flatten();
    objects.flat_map(|path| texts(&path)).collect()
}

/// How long anything may take, on a slow and busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
