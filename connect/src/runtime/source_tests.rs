//! File and generator sources that are killed at every step of their work.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::TaskContext;
use super::error::ConnectError;
use super::fake_cluster::{Disk, FakeCluster};
use super::source::{Source, SourceBatch, Stored};
use super::source_task::run_source;
use super::status::StatusBoard;
use super::supervisor::End;
use crate::config::connector::{Direction, SourceKind};
use crate::config::{ConnectorSpec, Document, ParseContext};
use crate::connectors::file::FileSource;
use crate::connectors::generator::GeneratorSource;

/// A source that is finished as soon as it finds nothing more.
struct Finite<S>(S);

impl<S: Source> Source for Finite<S> {
    fn restore(&mut self, stored: Stored) -> Result<(), ConnectError> {
        self.0.restore(stored)
    }

    async fn poll(&mut self) -> Result<SourceBatch, ConnectError> {
        let mut batch = self.0.poll().await?;
        batch.finished |= batch.records.is_empty();
        Ok(batch)
    }
}

fn connector(source: &str, more: &str) -> ConnectorSpec {
    let text = format!(
        "version: 1\nconnectors:\n  c:\n    source: {source}\n    topic: t\n    key: none\n{more}"
    );
    let document = Document::parse(&text, "test.yaml", &ParseContext::new("/data"));
    document
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .connectors
        .remove(0)
}

fn context(cluster: FakeCluster, spec: &ConnectorSpec) -> TaskContext<FakeCluster> {
    let closing = cluster.closing();
    let status = Arc::new(StatusBoard::new(spec));
    TaskContext {
        cluster,
        status,
        closing,
        host: Arc::from("box"),
    }
}

/// One life of the process.
async fn run(
    spec: &ConnectorSpec,
    disk: &Arc<Mutex<Disk>>,
    dies_at: Option<(u32, bool)>,
) -> Result<End, ConnectError> {
    let (step, after) = dies_at.unzip();
    let cluster = FakeCluster::start(disk, step, after.unwrap_or(false));
    let context = context(cluster, spec);
    let Direction::Source(source_spec) = &spec.direction else {
        panic!("a source")
    };
    match &source_spec.kind {
        SourceKind::File(file) => {
            let source = Finite(FileSource::new(file, &context.host));
            run_source(&context, spec, source_spec, source).await
        }
        SourceKind::Generator(generator) => {
            run_source(&context, spec, source_spec, GeneratorSource::new(generator)).await
        }
        SourceKind::HostMetrics(_) => panic!("has no progress"),
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("open");
    file.write_all(text.as_bytes()).expect("write");
}

#[tokio::test]
async fn lines_of_a_file_arrive_once_whenever_the_process_is_killed() {
    for after in [false, true] {
        for step in 0..24 {
            let folder = tempfile::tempdir().expect("a folder");
            let log = folder.path().join("app.log");
            let source = format!(
                "{{ file: {{ include: '{}*', poll_interval: 10ms }} }}",
                log.display()
            );
            let spec = connector(&source, "    encode: { value: text }\n");
            let disk = Arc::new(Mutex::new(Disk::default()));
            append(&log, "one\ntwo\nthree\nfour\n");
            let first = run(&spec, &disk, Some((step, after))).await;
            append(&log, "five\nsix\n");
            let second = run(&spec, &disk, Some((step / 2, !after))).await;
            fs::rename(&log, folder.path().join("app.log.1")).expect("rename");
            append(&log, "seven\neight\n");
            run(&spec, &disk, None).await.expect("nothing kills it now");
            let mut expected = [
                "one", "two", "three", "four", "five", "six", "seven", "eight",
            ];
            expected.sort_unstable();
            let values = disk.lock().expect("no panic").values("t");
            assert_eq!(
                values, expected,
                "step {step} after {after}: {first:?} {second:?}"
            );
        }
    }
}

#[tokio::test]
async fn records_of_a_generator_arrive_once_whenever_the_process_is_killed() {
    let source = "{ generator: { fields: { id: sequence }, rate: 100000/s, count: 6 } }";
    let spec = connector(source, "");
    for step in 0..12 {
        let disk = Arc::new(Mutex::new(Disk::default()));
        let _ = run(&spec, &disk, Some((step, true))).await;
        let _ = run(&spec, &disk, Some((step / 2, false))).await;
        assert_eq!(run(&spec, &disk, None).await.expect("alive"), End::Finished);
        let expected: Vec<_> = (1..=6).map(|id| format!("{{\"id\":{id}}}")).collect();
        assert_eq!(
            disk.lock().expect("no panic").values("t"),
            expected,
            "step {step}"
        );
    }
}

#[tokio::test]
async fn a_record_that_does_not_fit_stops_the_connector_or_is_set_aside() {
    let source = "{ generator: { fields: { id: sequence }, rate: 100000/s, count: 3 } }";
    let transforms = "    transforms:\n      - cast: { fields: { id: boolean } }\n      - cast: { fields: { id: integer } }\n      - filter: value.id = 1\n";
    let good = connector(source, transforms);
    let disk = Arc::new(Mutex::new(Disk::default()));
    run(&good, &disk, None).await.expect("casts fit");
    assert_eq!(disk.lock().expect("no panic").values("t").len(), 3);

    let bad = "    transforms:\n      - insert_field: { field: id.x, value: 1 }\n";
    let disk = Arc::new(Mutex::new(Disk::default()));
    let error = run(&connector(source, bad), &disk, None)
        .await
        .expect_err("a field inside a number");
    let text = error.to_string();
    assert!(
        text.contains("transform insert_field: field `id.x` lies inside a plain value"),
        "{text}"
    );
    assert!(text.contains("hint: `errors: { tolerance: all"), "{text}");

    let aside = format!("{bad}    errors: {{ tolerance: all, dead_letter: dlq }}\n");
    let spec = connector(source, &aside);
    run(&spec, &disk, None).await.expect("tolerated");
    let disk = disk.lock().expect("no panic");
    assert!(disk.values("t").is_empty());
    assert_eq!(
        disk.values("dlq"),
        [r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":3}"#]
    );
    let letter = &disk.topics["dlq"][0][0];
    let names: Vec<_> = letter.headers.iter().map(|header| &*header.key).collect();
    let expected = [
        "__connect.errors.connector.name",
        "__connect.errors.stage",
        "__connect.errors.exception.message",
        "moldau.source",
    ];
    assert_eq!(names, expected);
}
