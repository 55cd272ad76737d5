//! `/metrics`: the figures of this process in Prometheus' text format.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use moldau_broker::MetricsSnapshot;

use super::{Console, api};

/// All metrics, one scrape.
pub(crate) async fn show(State(console): State<Console>) -> Response {
    let mut text = Exposition::default();
    broker(&mut text, &console);
    if let Some(connect) = &console.connect {
        text.family(
            "moldau_connector_records_total",
            "counter",
            "Records that a connector has moved.",
        );
        for status in connect.status() {
            text.sample(
                "moldau_connector_records_total",
                &[("connector", &status.name)],
                status.records,
            );
        }
    }
    if let Some(engine) = &console.engine {
        text.family(
            "moldau_query_records_total",
            "counter",
            "Records that a continuous query has read and written.",
        );
        for query in engine.queries() {
            text.sample(
                "moldau_query_records_total",
                &[("query", &query.id), ("direction", "in")],
                query.records_in,
            );
            text.sample(
                "moldau_query_records_total",
                &[("query", &query.id), ("direction", "out")],
                query.records_out,
            );
        }
    }
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text.0,
    )
        .into_response()
}

fn broker(text: &mut Exposition, console: &Console) {
    let broker = console.broker.snapshot();
    text.family(
        "moldau_connections",
        "gauge",
        "Open connections of Kafka clients.",
    );
    text.sample("moldau_connections", &[], broker.connections);
    topics(text, &broker);
    logs(text, &broker);
    latencies(text, &broker);
    group_lags(text, &broker);
}

fn group_lags(text: &mut Exposition, broker: &MetricsSnapshot) {
    let lag = "moldau_group_lag";
    text.family(
        lag,
        "gauge",
        "Records between the committed offsets of a group and the ends of its partitions.",
    );
    for group in &broker.groups {
        text.sample(lag, &[("group", &group.group_id)], api::lag(group));
    }
}

fn topics(text: &mut Exposition, broker: &MetricsSnapshot) {
    let messages = "moldau_topic_messages_in_total";
    text.family(messages, "counter", "Records appended to a topic.");
    for topic in &broker.topics {
        text.sample(messages, &[("topic", &topic.name)], topic.messages_in);
    }
    let bytes = "moldau_topic_bytes_total";
    text.family(
        bytes,
        "counter",
        "Bytes of record batches that a topic took in and gave out.",
    );
    for topic in &broker.topics {
        for (direction, total) in [("in", topic.bytes_in), ("out", topic.bytes_out)] {
            text.sample(
                bytes,
                &[("topic", &topic.name), ("direction", direction)],
                total,
            );
        }
    }
}

fn logs(text: &mut Exposition, broker: &MetricsSnapshot) {
    let (size, end) = ("moldau_log_size_bytes", "moldau_log_end_offset");
    let partitions = || {
        broker.topics.iter().flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(move |partition| (topic.name.as_str(), partition))
        })
    };
    text.family(size, "gauge", "Size of a partition's log on disk.");
    for (topic, partition) in partitions() {
        let number = partition.partition.to_string();
        text.sample(
            size,
            &[("topic", topic), ("partition", &number)],
            partition.size_bytes,
        );
    }
    text.family(
        end,
        "gauge",
        "Offset that the next record of a partition will get.",
    );
    for (topic, partition) in partitions() {
        let number = partition.partition.to_string();
        text.sample(
            end,
            &[("topic", topic), ("partition", &number)],
            partition.log_end_offset,
        );
    }
}

fn latencies(text: &mut Exposition, broker: &MetricsSnapshot) {
    text.family(
        "moldau_request_latency_seconds",
        "histogram",
        "Time from a request's arrival to its response.",
    );
    let (bucket, sum, total) = (
        "moldau_request_latency_seconds_bucket",
        "moldau_request_latency_seconds_sum",
        "moldau_request_latency_seconds_count",
    );
    for request in &broker.requests {
        let name = ("request", request.name);
        let mut cumulative = 0;
        for (bound, count) in &request.latency_buckets {
            cumulative += count;
            text.sample(bucket, &[name, ("le", &bound.to_string())], cumulative);
        }
        text.sample(bucket, &[name, ("le", "+Inf")], request.count);
        text.sample(sum, &[name], request.latency_sum_seconds);
        text.sample(total, &[name], request.count);
    }
}

/// Text under construction.
#[derive(Debug, Default)]
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.push(format_args!("{name}"));
        for (position, (label, text)) in labels.iter().enumerate() {
            let before = if position == 0 { '{' } else { ',' };
            self.push(format_args!("{before}{label}=\"{}\"", Escaped(text)));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.push(format_args!("{close} {value}\n"));
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.0
            .write_fmt(text)
            .expect("writing to a string cannot fail");
    }
}

/// A label's text with backslash, quote and line feed escaped.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_separated() {
        let mut text = Exposition::default();
        text.family("size", "gauge", "A size.");
        text.sample("size", &[("a", "x\"y"), ("b", "1\n2")], 3);
        text.sample("plain", &[], 1.5);
        assert_eq!(
            text.0,
            "# HELP size A size.\n# TYPE size gauge\nsize{a=\"x\\\"y\",b=\"1\\n2\"} 3\nplain 1.5\n"
        );
    }
}
