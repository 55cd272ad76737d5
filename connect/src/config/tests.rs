//! Documents by example: what they mean, and what is said about mistakes.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Document, Diagnostics> {
    Document::parse(text, "moldau.yaml", &ParseContext::new("/data"))
}

#[track_caller]
fn mistakes(text: &str, expected: Expect) {
    let diagnostics = parse(text).expect_err("the document has a mistake");
    expected.assert_eq(&diagnostics.to_string());
}

const WHOLE: &str = r#"
version: 1
broker:
  num.partitions: 3
  log.retention.ms: "86400000"
topics:
  plain:
  orders: { partitions: 6, replication_factor: 1, configs: { retention.ms: 60000, cleanup.policy: compact } }
connectors:
  logs:
    source:
      file: { include: ["/var/log/*.log", "${data_dir}/moldau.log"], exclude: ["*.gz"], read_from: end, rotate_wait: 30s }
    topic: logs
    key: "${value.path}"
    encode: { value: text }
    transforms:
      - filter: "value.line LIKE '%error%'"
    errors: { tolerance: all, dead_letter: logs.dlq, retry: { delay: 2s, max_delay: 1m } }
  host:
    source: { host_metrics: { interval: 1s } }
    topic: host-metrics
  made-up:
    source:
      generator:
        rate: 50/s
        count: 1_000
        seed: 7
        fields:
          id: sequence
          n: { integer: { min: 1, max: 6 } }
          x: { float: { min: 0.5, max: 2, decimals: 3 } }
          c: { choice: [DE, CH, NO] }
          at: timestamp
          note: { text: { words: 3 } }
          fixed: { constant: true }
    topic: logs
  lines:
    topics: [logs, orders]
    sink: { file: { path: "${data_dir}/out.jsonl", fsync: never, envelope: [key, value] } }
  lake:
    topics: orders
    sink:
      s3:
        bucket: lake
        prefix: raw/
        endpoint: http://localhost:9000
        allow_http: true
        credentials: { access_key_id: key, secret_access_key: hunter2 }
        compression: gzip
        partition: { by: time, path: "day=%F" }
        rotate: { records: 500_000, bytes: 128MiB, interval: 1h, max_age: 10m }
  local:
    topics: orders
    sink: { object_store: { url: "file:///tmp/lake" } }
sql: |
  CREATE STREAM logs (line VARCHAR) WITH (KAFKA_TOPIC='logs');
  SELECT '${env:HOME}';
terminal:
  title: Lines
  query: SELECT * FROM logs EMIT CHANGES;
"#;

#[test]
fn a_whole_document_is_read() {
    let document = parse(WHOLE).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert_eq!(document.broker["num.partitions"], "3");
    let orders = document
        .topics
        .iter()
        .find(|topic| topic.name == "orders")
        .expect("orders");
    assert_eq!(
        (orders.partitions, orders.replication_factor, orders.line),
        (Some(6), Some(1), 8)
    );
    assert_eq!(
        orders.configs[0],
        ("retention.ms".to_owned(), "60000".to_owned())
    );
    let kinds: Vec<_> = document
        .connectors
        .iter()
        .map(|c| (c.name.as_str(), c.kind()))
        .collect();
    let expected = [
        ("logs", "file source"),
        ("host", "host_metrics source"),
        ("made-up", "generator source"),
        ("lines", "file sink"),
        ("lake", "s3 sink"),
        ("local", "object_store sink"),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(document.connector_topics(), ["logs", "host-metrics"]);
    assert_eq!(document.connectors[0].dead_letter_topic(), Some("logs.dlq"));
    let debug = format!("{:?}", document.connectors[0]);
    assert!(debug.contains("/data/moldau.log"), "{debug}");
}

#[test]
fn sql_keeps_its_text_and_knows_its_line() {
    let document = parse(WHOLE).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let block = &document.sql[0];
    assert!(
        block.text.contains("SELECT '${env:HOME}';\n"),
        "{}",
        block.text
    );
    let line = WHOLE
        .lines()
        .position(|line| line.contains("CREATE STREAM"))
        .map(|index| index + 1);
    assert_eq!((Some(block.line), block.column), (line, 3));
    let terminal = document.terminal.expect("a terminal");
    assert_eq!(terminal.query, "SELECT * FROM logs EMIT CHANGES");
    let list = parse("version: 1\nsql:\n  - SELECT 1;\n  - |\n    SELECT 2;\n").expect("a list");
    assert_eq!(
        list.sql.iter().map(|block| block.line).collect::<Vec<_>>(),
        [3, 5]
    );
}

#[test]
fn secrets_show_in_no_debug_output() {
    let document = parse(WHOLE).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert!(!format!("{document:?}").contains("hunter2"));
    let text = "version: 1\nconnectors:\n  a: { topics: t, sink: { file: { path: \"/x/${env:CARGO_PKG_NAME}\" } } }\n";
    let debug = format!("{:?}", parse(text).expect("a document"));
    assert!(
        debug.contains("/x/***") && !debug.contains("moldau-connect"),
        "{debug}"
    );
}

#[test]
fn unknown_keys_say_what_was_meant() {
    mistakes(
        "version: 1\nconnectors:\n  lake:\n    topics: [orders]\n    sink:\n      s3:\n        bucket: b\n        flush_size: 1000\n        prefx: raw\n",
        expect![[r#"
            error: unknown key `flush_size` in sink `s3`
              ┌─ moldau.yaml:8:9
            8 │         flush_size: 1000
              │         ^^^^^^^^^^ did you mean `rotate: { records: .. }`?

            error: unknown key `prefx` in sink `s3`
              ┌─ moldau.yaml:9:9
            9 │         prefx: raw
              │         ^^^^^ did you mean `prefix`?
        "#]],
    );
}

#[test]
fn wrong_types_missing_values_and_repeats_are_reported_together() {
    mistakes(
        "version: 2\ntopics:\n  a b: { partitions: many }\n  t: { partitions: 0 }\n  t: { configs: { retention_ms: 5 } }\nconnectors:\n  x:\n    source: { file: { poll_interval: 10 } }\n    topic:\n  y:\n    topics: []\n    sink: { file: [1] }\n",
        expect![[r#"
            error: this version of the document is not known
              ┌─ moldau.yaml:1:10
            1 │ version: 2
              │          ^ there is only `version: 1`

            error: topic name `a b` has the character ` `
              ┌─ moldau.yaml:3:3
            3 │   a b: { partitions: many }
              │   ^^^ use letters, digits, `.`, `_` and `-`

            error: `partitions` must be an integer, not text
              ┌─ moldau.yaml:3:22
            3 │   a b: { partitions: many }
              │                      ^^^^

            error: `partitions` must lie between 1 and 100000
              ┌─ moldau.yaml:4:20
            4 │   t: { partitions: 0 }
              │                    ^

            error: `t` stands twice in `topics`
              ┌─ moldau.yaml:5:3
            5 │   t: { configs: { retention_ms: 5 } }
              │   ^ the first one is in line 4

            error: unknown topic setting `retention_ms`
              ┌─ moldau.yaml:5:19
            5 │   t: { configs: { retention_ms: 5 } }
              │                   ^^^^^^^^^^^^ did you mean `retention.ms`?

            error: source `file`: `include` is missing
              ┌─ moldau.yaml:8:21
            8 │     source: { file: { poll_interval: 10 } }
              │                     ^ add for example include: ["/var/log/*.log"]

            error: `poll_interval`: `10` has no unit: write for example `10s`
              ┌─ moldau.yaml:8:38
            8 │     source: { file: { poll_interval: 10 } }
              │                                      ^^

            error: `topic` has no value
              ┌─ moldau.yaml:9:10
            9 │     topic:
              │          ^

            error: connector "y": field `topics` is empty
               ┌─ moldau.yaml:11:13
            11 │     topics: []
               │             ^ list at least one, for example topics: [orders]

            error: sink `file` must be a map of keys and values, not a list
               ┌─ moldau.yaml:12:19
            12 │     sink: { file: [1] }
               │                   ^
        "#]],
    );
}

#[test]
fn kinds_and_sides_are_checked() {
    mistakes(
        "version: 1\nconnectors:\n  a:\n    source: { fil: {} }\n    topic: t\n  b:\n    sink: { postgres: {} }\n    topics: t\n  c:\n    topic: t\n  d:\n    source: { host_metrics: }\n    topics: t\n    encode: { value: raw }\n",
        expect![[r#"
            error: unknown source `fil`
              ┌─ moldau.yaml:4:15
            4 │     source: { fil: {} }
              │               ^^^ did you mean `file`?

            error: unknown sink `postgres`
              ┌─ moldau.yaml:7:13
            7 │     sink: { postgres: {} }
              │             ^^^^^^^^ not supported yet; there are: file, s3, object_store

            error: connector "c" needs one of `source` and `sink`
              ┌─ moldau.yaml:9:3
            9 │   c:
              │   ^ for example source: { file: .. }

            error: connector "d": `topic` is missing
               ┌─ moldau.yaml:12:5
            12 │     source: { host_metrics: }
               │     ^ add for example topic: orders

            error: unknown key `topics` in connector "d"
               ┌─ moldau.yaml:13:5
            13 │     topics: t
               │     ^^^^^^ did you mean `topic`?

            error: this source has JSON values only
               ┌─ moldau.yaml:14:22
            14 │     encode: { value: raw }
               │                      ^^^ `text` and `raw` are for source `file`
        "#]],
    );
}

#[test]
fn values_are_checked_where_they_stand() {
    mistakes(
        "version: 1\nconnectors:\n  a:\n    topics: t\n    decode: { value: jsn }\n    sink:\n      s3: { bucket: b, endpoint: \"http://x\", partition: { by: time, path: yyyy/MM }, rotate: { bytes: 2TB, max_age: 1ms } }\n  b:\n    topics: t\n    transforms:\n      - filter: \"value.a = 1 AND level = 'x'\"\n    sink: { file: { path: \"${env:MOLDAU_UNSET}\", fsync: always } }\n",
        expect![[r#"
            error: `jsn` is no value for `value` in `decode`
              ┌─ moldau.yaml:5:22
            5 │     decode: { value: jsn }
              │                      ^^^ did you mean `json`?

            error: `endpoint`: `http://x` is not encrypted
              ┌─ moldau.yaml:7:34
            7 │       s3: { bucket: b, endpoint: "http://x", partition: { by: time, path: yyyy/MM }, rotate: { bytes: 2TB, max_age: 1ms } }
              │                                  ^^^^^^^^^^ add `allow_http: true` if that is meant

            error: `path`: this is a pattern of Java, here strftime is used
              ┌─ moldau.yaml:7:75
            7 │       s3: { bucket: b, endpoint: "http://x", partition: { by: time, path: yyyy/MM }, rotate: { bytes: 2TB, max_age: 1ms } }
              │                                                                           ^^^^^^^ for example year=%Y/month=%m/day=%d/hour=%H

            error: `bytes`: `TB` is no unit of size: use B, KiB, MiB or GiB
              ┌─ moldau.yaml:7:103
            7 │       s3: { bucket: b, endpoint: "http://x", partition: { by: time, path: yyyy/MM }, rotate: { bytes: 2TB, max_age: 1ms } }
              │                                                                                                       ^^^

            error: `max_age` must lie between 100ms and 604800s
              ┌─ moldau.yaml:7:117
            7 │       s3: { bucket: b, endpoint: "http://x", partition: { by: time, path: yyyy/MM }, rotate: { bytes: 2TB, max_age: 1ms } }
              │                                                                                                                     ^^^

            error: `filter`: unknown name `level`, did you mean `value.level`?
               ┌─ moldau.yaml:11:34
            11 │       - filter: "value.a = 1 AND level = 'x'"
               │                                  ^ for example: value.level = 'ERROR' AND value.code >= 500

            error: `path`: the environment variable MOLDAU_UNSET is not set
               ┌─ moldau.yaml:12:27
            12 │     sink: { file: { path: "${env:MOLDAU_UNSET}", fsync: always } }
               │                           ^^^^^^^^^^^^^^^^^^^^^ set it before the start: export MOLDAU_UNSET=..

            error: `always` is no value for `fsync` in sink `file`
               ┌─ moldau.yaml:12:57
            12 │     sink: { file: { path: "${env:MOLDAU_UNSET}", fsync: always } }
               │                                                         ^^^^^^ use one of: commit, never
        "#]],
    );
}

#[test]
fn broken_yaml_and_an_empty_document_have_a_place_too() {
    mistakes(
        "version: 1\ntopics: [a\nsql: x\n",
        expect![[r#"
            error: illegal placement of ':' indicator
              ┌─ moldau.yaml:3:4
            3 │ sql: x
              │    ^
        "#]],
    );
    mistakes(
        "# nothing\n",
        expect![[r#"
            error: the document is empty
              ┌─ moldau.yaml:1:1
            1 │ # nothing
              │ ^ begin with `version: 1`
        "#]],
    );
    mistakes(
        "versoin: 1\nqueries: x\nstreams: x\n",
        expect![[r#"
            error: unknown key `versoin` in the document
              ┌─ moldau.yaml:1:1
            1 │ versoin: 1
              │ ^^^^^^^ did you mean `version`?

            error: the document: `version` is missing
              ┌─ moldau.yaml:1:1
            1 │ versoin: 1
              │ ^ add for example version: 1

            error: unknown key `queries` in the document
              ┌─ moldau.yaml:2:1
            2 │ queries: x
              │ ^^^^^^^ did you mean `sql`?

            error: `streams` in the document is not supported yet
              ┌─ moldau.yaml:3:1
            3 │ streams: x
              │ ^^^^^^^ leave it out for now
        "#]],
    );
}

proptest! {
    /// Cut and garbled documents give a document or mistakes, never a panic.
    #[test]
    fn no_text_makes_the_parser_panic(
        cut in 0..WHOLE.len(),
        position in 0..WHOLE.len(),
        garbage in "[\\x00-\\x7fäß€\u{1f600}]{0,8}",
    ) {
        let mut text = WHOLE.get(..cut.max(position)).unwrap_or(WHOLE).to_owned();
        text.insert_str(position.min(text.len()), &garbage);
        if let Err(diagnostics) = parse(&text) {
            prop_assert!(!diagnostics.items().is_empty());
            prop_assert!(!diagnostics.to_string().is_empty());
        }
    }
}

#[test]
fn the_examples_are_right() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let examples = std::path::Path::new(&folder).join("../examples");
    let mut found = 0;
    for pattern in ["yaml/*.yaml", "*/moldau.yaml"] {
        let pattern = examples.join(pattern).display().to_string();
        for path in glob::glob(&pattern).expect("a pattern").flatten() {
            let text = std::fs::read_to_string(&path).expect("readable");
            let origin = path.display().to_string();
            if let Err(diagnostics) = Document::parse(&text, &origin, &ParseContext::check_only()) {
                panic!("{diagnostics}");
            }
            found += 1;
        }
    }
    assert!(found >= 3, "{found} examples");
}
