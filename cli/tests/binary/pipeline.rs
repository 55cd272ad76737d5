//! File to topic to SQL to file, through stops and kills.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use serde_json::Value;

use crate::moldau::{Server, eventually};

#[test]
fn lines_of_a_file_arrive_once_through_sql_whatever_stops_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.log");
    let output = folder.path().join("output.jsonl");
    let file = folder.path().join("moldau.yaml");
    std::fs::write(&file, document(&input, &output)).unwrap();

    let mut written = 0;
    append(&input, &mut written, 500);
    let server = Server::start("start", Some(&file), folder.path());
    wait_for(&output, written);
    append(&input, &mut written, 500);
    server.kill();

    append(&input, &mut written, 500);
    let server = Server::start("start", Some(&file), folder.path());
    wait_for(&output, written);
    append(&input, &mut written, 500);
    assert_eq!(server.interrupt(), Some(0));

    let server = Server::start("start", Some(&file), folder.path());
    wait_for(&output, written);
    let counted = server.client(
        &[
            "sql",
            "--json",
            "SELECT count(*) AS n, count(DISTINCT line) AS d FROM lines",
        ],
        "",
    );
    let counted: Value = serde_json::from_str(counted.trim()).unwrap();
    assert_eq!(
        (counted["n"].as_str(), counted["d"].as_str()),
        (Some("2000"), Some("2000")),
        "topic: repeats or gaps"
    );
}

fn document(input: &Path, output: &Path) -> String {
    format!(
        "version: 1
connectors:
  read:
    source: {{ file: {{ include: [{input:?}] }} }}
    topic: lines
  keep:
    topics: [even]
    sink: {{ file: {{ path: {output:?} }} }}
sql: |
  CREATE STREAM lines (line VARCHAR) WITH (KAFKA_TOPIC = 'lines', VALUE_FORMAT = 'JSON');
  CREATE STREAM even WITH (KAFKA_TOPIC = 'even') AS
    SELECT line FROM lines WHERE line LIKE '%even%' EMIT CHANGES;
"
    )
}

fn append(path: &Path, written: &mut usize, count: usize) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("the input opens");
    for number in *written..*written + count {
        writeln!(
            file,
            "line {number} {}",
            if number % 2 == 0 { "even" } else { "odd" }
        )
        .expect("the input takes a line");
    }
    *written += count;
}

/// Waits until every even line is in the output, at least once; continuous SQL is at-least-once, so
/// only the lines, not their number, must agree.
fn wait_for(output: &Path, written: usize) {
    eventually("the last line in the output", || {
        let text = std::fs::read_to_string(output).ok()?;
        let mut seen = BTreeMap::new();
        for line in text.lines() {
            let Ok(row) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            *seen.entry(row["line"].as_str()?.to_owned()).or_insert(0) += 1;
        }
        (seen.len() == written / 2).then_some(())
    });
}
