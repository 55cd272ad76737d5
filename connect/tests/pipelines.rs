//! Pipelines on a real broker: they run, stop, start again, and show what is wrong.

mod pipeline;

use std::fs;

use moldau_connect::{ConnectorState, ConnectorStatus};

use pipeline::{PIPELINE, Process, append, lake, lines, texts};

fn status(process: &Process, name: &str) -> ConnectorStatus {
    let all = process.connect.status();
    all.into_iter()
        .find(|status| status.name == name)
        .expect("a connector of that name")
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
        assert_eq!(status(&process, "in").state, ConnectorState::Running);
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
            status(&process, "numbers").state == ConnectorState::Stopped
        })
        .await;
    process
        .until("the error of the store", || {
            status(&process, "lake").state == ConnectorState::Retrying
        })
        .await;
    process
        .until("the error of the file", || {
            status(&process, "nowhere").state == ConnectorState::Failed
        })
        .await;
    let error = status(&process, "lake").last_error.expect("an error");
    assert!(
        error.contains("to s3://lake at http://127.0.0.1:9"),
        "{error}"
    );
    let error = status(&process, "nowhere").last_error.expect("an error");
    assert!(error.starts_with("open /dev/null/out.jsonl"), "{error}");
    assert_eq!(status(&process, "out").records, 20);
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
    assert_eq!(status(&process, "out").errors, 1);
    process.stop().await;
}
