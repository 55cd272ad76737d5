//! Pipelines on a real broker: they run, stop, start again and are killed.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use moldau_broker::{Broker, BrokerConfig, BrokerHandle};
use moldau_client::{Client, ClientConfig};
use moldau_connect::config::{Document, ParseContext};
use moldau_connect::{Connect, ConnectConfig, ConnectHandle, ConnectorState, ConnectorStatus};

/// A process: a broker and the connectors of a document.
struct Process {
    broker: BrokerHandle,
    connect: ConnectHandle,
}

impl Process {
    async fn start(folder: &Path, document: &str) -> Self {
        let mut config = BrokerConfig::new(folder.join("data"));
        config.listeners = vec!["127.0.0.1:0".parse().expect("an address")];
        let broker = Broker::start(config).await.expect("a broker");
        let client = Client::in_process(broker.dispatcher(), ClientConfig::new(""));
        let document = Document::parse(document, "test.yaml", &ParseContext::new(folder));
        let document = document.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let connect = Connect::start(client, document.connectors, ConnectConfig::new(folder));
        Self { broker, connect }
    }

    async fn stop(self) {
        self.connect.close().await;
        self.broker.shutdown().await.expect("stopped");
    }

    fn status(&self, name: &str) -> ConnectorStatus {
        let all = self.connect.status();
        all.into_iter()
            .find(|status| status.name == name)
            .expect("a connector of that name")
    }

    /// Waits until `done`, but not for ever.
    async fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
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

fn append(path: &Path, lines: impl IntoIterator<Item = String>) {
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
fn texts(path: &Path) -> Vec<String> {
    let content = fs::read_to_string(path).unwrap_or_default();
    let whole = content.rfind('\n').map_or("", |end| &content[..end]);
    let text = |line: &str| serde_json::from_str::<String>(line).expect("a JSON text");
    whole.lines().map(text).collect()
}

const PIPELINE: &str = r#"
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

fn lines(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|number| format!("line {number}"))
}

/// All lines of all objects, in the order of their names.
fn lake(folder: &Path) -> Vec<String> {
    let pattern = folder
        .join("lake/lines/partition=*/*.jsonl")
        .display()
        .to_string();
    let objects = glob::glob(&pattern).expect("a pattern").flatten();
    objects.flat_map(|path| texts(&path)).collect()
}

#[tokio::test]
async fn lines_of_a_file_go_through_a_topic_once_over_stops_and_renames() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, out) = (
        folder.path().join("app.log"),
        folder.path().join("out.jsonl"),
    );
    let mut written = 0;
    for _ in 0..3 {
        append(&log, lines(written..written + 100));
        written += 100;
        let process = Process::start(folder.path(), PIPELINE).await;
        append(&log, lines(written..written + 100));
        written += 100;
        process
            .until("the lines in the file", || texts(&out).len() >= written)
            .await;
        process
            .until("the lines in objects", || {
                lake(folder.path()).len() >= written
            })
            .await;
        assert_eq!(process.status("in").state, ConnectorState::Running);
        process.stop().await;
        fs::rename(&log, folder.path().join(format!("app.log.{written}"))).expect("rename");
    }
    assert_eq!(texts(&out), lines(0..written).collect::<Vec<_>>());
    assert_eq!(lake(folder.path()), lines(0..written).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_reached_shows_in_the_status_and_the_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let document = r#"
version: 1
connectors:
  numbers:
    source: { generator: { fields: { n: sequence }, rate: 10000/s, count: 20 } }
    topic: numbers
  lake:
    topics: numbers
    sink:
      s3:
        bucket: lake
        endpoint: http://127.0.0.1:9
        allow_http: true
        region: anywhere
        credentials: { access_key_id: key, secret_access_key: hunter2 }
        rotate: { records: 5 }
  nowhere:
    topics: numbers
    sink: { file: { path: /dev/null/out.jsonl } }
  out:
    topics: numbers
    sink: { file: { path: "${data_dir}/out.jsonl", commit_interval: 20ms } }
"#;
    let process = Process::start(folder.path(), document).await;
    let out = folder.path().join("out.jsonl");
    let count = || fs::read_to_string(&out).unwrap_or_default().lines().count();
    process
        .until("the numbers in the file", || count() == 20)
        .await;
    process
        .until("the generator's end", || {
            process.status("numbers").state == ConnectorState::Stopped
        })
        .await;
    process
        .until("the error of the store", || {
            process.status("lake").state == ConnectorState::Retrying
        })
        .await;
    process
        .until("the error of the file", || {
            process.status("nowhere").state == ConnectorState::Failed
        })
        .await;
    let error = process.status("lake").last_error.expect("an error");
    assert!(
        error.contains("to s3://lake at http://127.0.0.1:9"),
        "{error}"
    );
    let error = process.status("nowhere").last_error.expect("an error");
    assert!(error.starts_with("open /dev/null/out.jsonl"), "{error}");
    assert_eq!(process.status("out").records, 20);
    process.stop().await;
}

#[tokio::test]
async fn a_record_that_is_no_json_goes_to_the_dead_letters() {
    let folder = tempfile::tempdir().expect("a folder");
    let document = r#"
version: 1
connectors:
  in:
    source: { file: { include: "${data_dir}/app.log", poll_interval: 10ms } }
    topic: lines
    encode: { value: raw }
  out:
    topics: lines
    sink: { file: { path: "${data_dir}/out.jsonl", commit_interval: 20ms } }
    errors: { tolerance: all, dead_letter: letters }
  letters:
    topics: letters
    decode: { value: text }
    sink: { file: { path: "${data_dir}/letters.jsonl", envelope: [value, headers] } }
"#;
    append(
        &folder.path().join("app.log"),
        ["{\"a\":1}", "oops", "{\"a\":2}"].map(str::to_owned),
    );
    let process = Process::start(folder.path(), document).await;
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    process
        .until("the good records", || {
            read("out.jsonl") == "{\"a\":1}\n{\"a\":2}\n"
        })
        .await;
    process
        .until("the letter", || read("letters.jsonl").ends_with('\n'))
        .await;
    let letter = read("letters.jsonl");
    assert!(
        letter.starts_with("{\"value\":\"oops\",\"headers\":["),
        "{letter}"
    );
    assert!(
        letter.contains("[\"__connect.errors.offset\",\"1\"]"),
        "{letter}"
    );
    assert_eq!(process.status("out").errors, 1);
    process.stop().await;
}

/// Not a test by itself: the process that [`lines_survive_kill_9`] starts and kills.
#[tokio::test]
async fn child_process() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER).map(PathBuf::from) else {
        return;
    };
    let _process = Process::start(&folder, PIPELINE).await;
    std::future::pending::<()>().await;
}

fn start_child(folder: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child_process", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("started")
}

#[tokio::test]
async fn lines_survive_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, out) = (
        folder.path().join("app.log"),
        folder.path().join("out.jsonl"),
    );
    let mut written = 0;
    for round in 0..8 {
        let mut child = start_child(folder.path());
        let seen = texts(&out).len();
        // Killed at different moments: while it starts, and after some lines have come through.
        for _ in 0..round {
            append(&log, lines(written..written + 50));
            written += 50;
            tokio::time::sleep(Duration::from_millis(37)).await;
        }
        let some = async {
            while round % 2 == 1 && texts(&out).len() == seen {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, some)
            .await
            .expect("lines come through");
        child.kill().expect("killed");
        child.wait().expect("gone");
        if round % 3 == 2 {
            fs::rename(&log, folder.path().join(format!("app.log.{round}"))).expect("rename");
        }
    }
    append(&log, lines(written..written + 50));
    written += 50;
    let process = Process::start(folder.path(), PIPELINE).await;
    process
        .until("all lines in the file", || texts(&out).len() >= written)
        .await;
    process
        .until("all lines in objects", || {
            lake(folder.path()).len() >= written
        })
        .await;
    process.stop().await;
    check_once("file", texts(&out), written);
    check_once("objects", lake(folder.path()), written);
}

fn check_once(place: &str, found: Vec<String>, written: usize) {
    let mut counts: BTreeMap<String, usize> = lines(0..written).map(|line| (line, 0)).collect();
    for line in found {
        *counts.entry(line).or_default() += 1;
    }
    let wrong: Vec<_> = counts
        .into_iter()
        .filter(|(_, count)| *count != 1)
        .collect();
    assert!(wrong.is_empty(), "{place}: {wrong:?}");
}

const CHILD_FOLDER: &str = "MOLDAU_TEST_CHILD_FOLDER";
/// How long anything may take, on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
