//! The object sink on stores in memory and on disk, killed at every step.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use flate2::read::GzDecoder;
use object_store::memory::InMemory;
use proptest::prelude::*;

use super::spec::Rotation;
use super::store::Target;
use super::*;
use crate::config::connector::{Direction, SinkKind};
use crate::config::{ConnectorSpec, Document, ParseContext};
use crate::runtime::TaskContext;
use crate::runtime::cluster::OutRecord;
use crate::runtime::error::ConnectError;
use crate::runtime::fake_cluster::{Disk, FakeCluster, killed};
use crate::runtime::sink_task::run_with;
use crate::runtime::status::{ConnectorState, StatusBoard};

/// A store whose writes are steps of the process.
struct Mortal {
    cluster: FakeCluster,
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

impl Target for Mortal {
    async fn put(&self, name: &str, content: Bytes) -> Result<(), ConnectError> {
        let put = self.cluster.step(|_| {
            let mut objects = self.objects.lock().expect("no panic");
            if let Some(before) = objects.insert(name.to_owned(), content.clone()) {
                assert_eq!(
                    before, content,
                    "{name} was written anew with other content"
                );
            }
        });
        put.ok_or_else(|| killed().into())
    }
}

fn connector(sink: &str) -> (ConnectorSpec, ObjectSinkSpec) {
    let text = format!("version: 1\nconnectors:\n  c:\n    topics: t\n    sink: {sink}\n");
    let document = Document::parse(&text, "test.yaml", &ParseContext::new("/data"));
    let spec = document
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .connectors
        .remove(0);
    let Direction::Sink(sink) = &spec.direction else {
        panic!("a sink")
    };
    let SinkKind::Object(object) = sink.kind.clone() else {
        panic!("an object sink")
    };
    (spec.clone(), *object)
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

async fn run<T: Target>(
    spec: &ConnectorSpec,
    object: &ObjectSinkSpec,
    cluster: FakeCluster,
    target: T,
) -> Result<(), ConnectError> {
    let context = context(cluster, spec);
    let Direction::Sink(sink_spec) = &spec.direction else {
        panic!("a sink")
    };
    let sink = ObjectSink::new(object, &spec.errors.retry, target, &context);
    run_with(&context, spec, sink_spec, &object.format, sink)
        .await
        .map(drop)
}

fn fill(disk: &mut Disk, count: usize) {
    for _ in 0..count {
        let number = disk
            .topics
            .get("t")
            .map_or(0, |logs| logs.iter().map(Vec::len).sum());
        let record = OutRecord {
            // A day has passed after every eighth record.
            timestamp: Some(i64::try_from(number / 8).expect("few") * 86_400_000),
            value: Some(Bytes::from(format!("{{\"n\":{number}}}"))),
            ..OutRecord::default()
        };
        disk.append("t", 2, record);
    }
}

fn lines(objects: &BTreeMap<String, Bytes>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (name, content) in objects {
        let mut text = String::new();
        if name.ends_with(".gz") {
            GzDecoder::new(&**content)
                .read_to_string(&mut text)
                .expect("gzip");
        } else {
            text.push_str(std::str::from_utf8(content).expect("text"));
        }
        lines.extend(text.lines().map(str::to_owned));
    }
    lines.sort();
    lines
}

#[tokio::test]
async fn objects_are_cut_by_records_and_named_by_their_first_offset() {
    let (spec, mut object) =
        connector("{ object_store: { path: /x, prefix: raw/, rotate: { records: 3 } } }");
    object.rotate.max_age = Duration::ZERO;
    let disk = Arc::new(Mutex::new(Disk::default()));
    fill(&mut disk.lock().expect("no panic"), 8);
    let store = Arc::new(InMemory::new());
    let cluster = FakeCluster::start(&disk, None, false);
    run(&spec, &object, cluster, StoreTarget::of(store.clone()))
        .await
        .expect("alive");
    let mut names: Vec<_> =
        futures::StreamExt::collect::<Vec<_>>(object_store::ObjectStore::list(&*store, None))
            .await
            .into_iter()
            .map(|meta| meta.expect("listed").location.to_string())
            .collect();
    names.sort();
    let expected = [
        "raw/t/partition=0/t+0+00000000000000000000.jsonl",
        "raw/t/partition=0/t+0+00000000000000000003.jsonl",
        "raw/t/partition=1/t+1+00000000000000000000.jsonl",
        "raw/t/partition=1/t+1+00000000000000000003.jsonl",
    ];
    assert_eq!(names, expected);
    let committed = &disk.lock().expect("no panic").committed;
    assert!(
        committed
            .values()
            .all(|c| c.offset == 4 && c.metadata.is_empty()),
        "{committed:?}"
    );
}

#[tokio::test]
async fn folders_on_this_machine_hold_the_objects_by_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = format!(
        "{{ object_store: {{ url: 'file://{}', compression: gzip, partition: {{ by: time, path: 'day=%F' }} }} }}",
        folder.path().display()
    );
    let (spec, mut object) = connector(&sink);
    object.rotate.max_age = Duration::ZERO;
    let disk = Arc::new(Mutex::new(Disk::default()));
    fill(&mut disk.lock().expect("no panic"), 20);
    let cluster = FakeCluster::start(&disk, None, false);
    let target = StoreTarget::open(&object.place).expect("a folder");
    run(&spec, &object, cluster, target).await.expect("alive");
    let pattern = format!("{}/t/day=1970-01-0*/t+*.jsonl.gz", folder.path().display());
    let mut objects = BTreeMap::new();
    for path in glob::glob(&pattern).expect("a pattern").flatten() {
        let content = Bytes::from(std::fs::read(&path).expect("read"));
        objects.insert(path.display().to_string(), content);
    }
    let mut expected: Vec<_> = (0..20)
        .map(|number| format!("{{\"n\":{number}}}"))
        .collect();
    expected.sort();
    assert_eq!(lines(&objects), expected);
    assert!(
        objects.keys().any(|name| name.contains("day=1970-01-03")),
        "{:?}",
        objects.keys()
    );
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_tried_again_and_shows_in_the_status() {
    // Port 9 (discard) on this machine: nobody listens there.
    let (spec, object) = connector(
        "{ s3: { bucket: b, endpoint: 'http://127.0.0.1:9', allow_http: true, region: r, credentials: { access_key_id: AKID, secret_access_key: hunter2 }, rotate: { records: 1 } } }\n    errors: { retry: { delay: 1ms, max_delay: 1ms } }",
    );
    let disk = Arc::new(Mutex::new(Disk::default()));
    fill(&mut disk.lock().expect("no panic"), 1);
    let cluster = FakeCluster::start(&disk, None, false);
    let mut context = context(cluster, &spec);
    let (close, closing) = tokio::sync::watch::channel(false);
    context.closing = closing;
    let Direction::Sink(sink_spec) = &spec.direction else {
        panic!("a sink")
    };
    let target = StoreTarget::open(&object.place).expect("no connection is made yet");
    let sink = ObjectSink::new(&object, &spec.errors.retry, target, &context);
    let status = context.status.clone();
    let failing = run_with(&context, &spec, sink_spec, &object.format, sink);
    let watching = async {
        while status.read().state != ConnectorState::Retrying {
            tokio::task::yield_now().await;
        }
        close.send_replace(true);
    };
    let (result, ()) = tokio::join!(failing, watching);
    result.expect("closed in the middle of retries");
    let error = status.read().last_error.expect("an error");
    assert!(error.starts_with("cannot write t/partition=0/t+0+00000000000000000000.jsonl to s3://b at http://127.0.0.1:9"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

fn rotation(records: Option<u64>, interval: Option<u64>) -> Rotation {
    Rotation {
        records,
        interval: interval.map(Duration::from_millis),
        ..Rotation::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Lives that end at any step, each with another rotation, then one that goes to the end.
    #[test]
    fn every_record_is_in_one_object_whenever_the_process_is_killed(
        lives in proptest::collection::vec((1_usize..12, 0_u32..20, any::<bool>(), 1_u64..6, any::<bool>()), 1..6),
        gzip in any::<bool>(),
        by_time in any::<bool>(),
    ) {
        let compression = if gzip { "gzip" } else { "none" };
        let by = if by_time { "{ by: time, path: 'day=%F' }" } else { "{ by: partition }" };
        let sink = format!("{{ object_store: {{ path: /x, compression: {compression}, partition: {by} }} }}");
        let (spec, mut object) = connector(&sink);
        let disk = Arc::new(Mutex::new(Disk::default()));
        let objects = Arc::new(Mutex::new(BTreeMap::new()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut total = 0;
        for (count, dies_at, after, records, by_interval) in lives {
            fill(&mut disk.lock().expect("no panic"), count);
            total += count;
            let interval = by_interval.then_some(1);
            object.rotate = rotation(Some(records), interval);
            let cluster = FakeCluster::start(&disk, Some(dies_at), after);
            let target = Mortal { cluster: cluster.clone(), objects: objects.clone() };
            let _ = runtime.block_on(run(&spec, &object, cluster, target));
        }
        object.rotate = Rotation { max_age: Duration::ZERO, ..rotation(None, None) };
        let cluster = FakeCluster::start(&disk, None, false);
        let target = Mortal { cluster: cluster.clone(), objects: objects.clone() };
        runtime.block_on(run(&spec, &object, cluster, target)).expect("alive");
        let mut expected: Vec<_> = (0..total).map(|number| format!("{{\"n\":{number}}}")).collect();
        expected.sort();
        prop_assert_eq!(lines(&objects.lock().expect("no panic")), expected);
    }
}
