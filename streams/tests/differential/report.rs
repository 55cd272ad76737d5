//! Two answers that differ, as text.

use std::fmt::Write;

use crate::case::{Answer, Case, Written};

/// The case, how to repeat it, and where the answers differ.
pub(crate) fn report(case: &Case, expected: &Answer, answer: &Answer) -> String {
    let mut text = format!(
        "answers differ; repeat with MOLDAU_TEST_SEED={} CASES=1\ncache: {}, persistent: {}\n",
        case.seed, case.cache, case.persistent
    );
    for step in &case.steps {
        let _ = writeln!(
            text,
            "  step {}",
            serde_json::to_string(step).expect("JSON")
        );
    }
    for record in &case.records {
        let _ = writeln!(
            text,
            "  record {}",
            serde_json::to_string(record).expect("JSON")
        );
    }
    let (expected, answer) = (&expected.comparable(), &answer.comparable());
    if expected.error != answer.error {
        let _ = writeln!(text, "Kafka Streams fails: {:?}", expected.error);
        let _ = writeln!(text, "Moldau fails: {:?}", answer.error);
    }
    if expected.describe != answer.describe {
        let _ = writeln!(text, "Kafka Streams describes:\n{}", expected.describe);
        let _ = writeln!(text, "Moldau describes:\n{}", answer.describe);
    }
    let mut topics: Vec<_> = expected.topics.keys().chain(answer.topics.keys()).collect();
    topics.sort();
    topics.dedup();
    for topic in topics {
        let (one, other) = (expected.topics.get(topic), answer.topics.get(topic));
        if one != other {
            let _ = writeln!(text, "topic {topic}:");
            let _ = writeln!(text, "  Kafka Streams: {}", records(one));
            let _ = writeln!(text, "  Moldau:        {}", records(other));
        }
    }
    text
}

fn records(records: Option<&Vec<Written>>) -> String {
    let records = records.into_iter().flatten().map(|record| {
        let (key, value) = (shown(record.0.as_ref()), shown(record.1.as_ref()));
        let headers = if record.3.is_empty() { "" } else { "+h" };
        format!("{}:{key}={value}@{}{headers}", record.4, record.2)
    });
    records.collect::<Vec<_>>().join(" ")
}

/// Letters as they are, other bytes in hexadecimal.
fn shown(hex: Option<&String>) -> String {
    let Some(hex) = hex else {
        return "null".to_owned();
    };
    let mut text = String::new();
    for at in (0..hex.len()).step_by(2) {
        let pair = &hex[at..at + 2];
        match u8::from_str_radix(pair, 16) {
            Ok(byte) if byte.is_ascii_graphic() => text.push(char::from(byte)),
            _ => text += &format!("[{pair}]"),
        }
    }
    text
}
