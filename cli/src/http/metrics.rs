//! `/metrics`: the figures of this process in Prometheus' text format.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::{Console, api};

/// All metrics, one scrape.
pub(crate) async fn show(State(console): State<Console>) -> Response {
    let mut text = Exposition::default();
    broker(&mut text, &console);
    if let Ok(groups) = api::group_lags(&console).await {
        text.family(
            "moldau_group_lag",
            "gauge",
            "Records between the committed offsets of a group and the ends of its partitions.",
        );
        for group in groups {
            text.sample("moldau_group_lag", &[("group", &group.group)], group.lag);
        }
    }
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
    text.family(
        "moldau_topic_messages_in_total",
        "counter",
        "Records appended to a topic.",
    );
    for topic in &broker.topics {
        text.sample(
            "moldau_topic_messages_in_total",
            &[("topic", &topic.name)],
            topic.messages_in,
        );
    }
    text.family(
        "moldau_topic_bytes_total",
        "counter",
        "Bytes of record batches that a topic took in and gave out.",
    );
    for topic in &broker.topics {
        text.sample(
            "moldau_topic_bytes_total",
            &[("topic", &topic.name), ("direction", "in")],
            topic.bytes_in,
        );
        text.sample(
            "moldau_topic_bytes_total",
            &[("topic", &topic.name), ("direction", "out")],
            topic.bytes_out,
        );
    }
    text.family(
        "moldau_log_size_bytes",
        "gauge",
        "Size of a partition's log on disk.",
    );
    text.family(
        "moldau_log_end_offset",
        "gauge",
        "Offset that the next record of a partition will get.",
    );
    for topic in &broker.topics {
        for partition in &topic.partitions {
            let number = partition.partition.to_string();
            let labels = [
                ("topic", topic.name.as_str()),
                ("partition", number.as_str()),
            ];
            text.sample("moldau_log_size_bytes", &labels, partition.size_bytes);
            text.sample("moldau_log_end_offset", &labels, partition.log_end_offset);
        }
    }
    text.family(
        "moldau_request_latency_seconds",
        "histogram",
        "Time from a request's arrival to its response.",
    );
    for request in &broker.requests {
        let mut cumulative = 0;
        for (bound, count) in &request.latency_buckets {
            cumulative += count;
            let bound = bound.to_string();
            text.sample(
                "moldau_request_latency_seconds_bucket",
                &[("request", request.name), ("le", &bound)],
                cumulative,
            );
        }
        text.sample(
            "moldau_request_latency_seconds_bucket",
            &[("request", request.name), ("le", "+Inf")],
            request.count,
        );
        text.sample(
            "moldau_request_latency_seconds_sum",
            &[("request", request.name)],
            request.latency_sum_seconds,
        );
        text.sample(
            "moldau_request_latency_seconds_count",
            &[("request", request.name)],
            request.count,
        );
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
