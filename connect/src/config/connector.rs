//! One entry under `connectors`.

use std::fmt;
use std::time::Duration;

use super::connector_keys::{
    CODEC_KEYS, EITHER_KEYS, ERRORS_KEYS, LATER_KINDS, RETRY_KEYS, SINK_KEYS, SINK_KINDS,
    SOURCE_KEYS, SOURCE_KINDS,
};
use super::reader::{Fields, Reader};
use super::secret::Redactor;
use super::topics;
use super::tree::{Entry, Node, Place};
use crate::connectors::file::{FileSinkSpec, FileSourceSpec};
use crate::connectors::generator::GeneratorSpec;
use crate::connectors::host_metrics::HostMetricsSpec;
use crate::connectors::object::ObjectSinkSpec;
use crate::template::Template;
use crate::transforms::Transforms;

/// A connector as the document describes it. `Debug` shows no value that came from outside.
#[derive(Clone)]
pub struct ConnectorSpec {
    /// Its name, unique in the document; sinks consume as group `connect-<name>`.
    pub name: String,
    /// Line of the document it begins in.
    pub line: usize,
    pub(crate) direction: Direction,
    pub(crate) transforms: Transforms,
    pub(crate) errors: ErrorPolicy,
    pub(crate) redactor: Redactor,
}

#[derive(Debug, Clone)]
pub(crate) enum Direction {
    Source(SourceSpec),
    Sink(SinkSpec),
}

/// From outside into a topic.
#[derive(Debug, Clone)]
pub(crate) struct SourceSpec {
    pub(crate) topic: String,
    pub(crate) key: KeyChoice,
    pub(crate) encode: ValueEncoding,
    pub(crate) kind: SourceKind,
}

#[derive(Debug, Clone)]
pub(crate) enum SourceKind {
    File(FileSourceSpec),
    HostMetrics(HostMetricsSpec),
    Generator(GeneratorSpec),
}

/// From topics to outside.
#[derive(Debug, Clone)]
pub(crate) struct SinkSpec {
    pub(crate) topics: Vec<String>,
    pub(crate) read_from: ReadFrom,
    pub(crate) decode: ValueDecoding,
    pub(crate) kind: SinkKind,
}

#[derive(Debug, Clone)]
pub(crate) enum SinkKind {
    File(FileSinkSpec),
    Object(Box<ObjectSinkSpec>),
}

/// The key of the records of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyChoice {
    /// What fits the source: the path of a file, the host of its figures.
    Default,
    /// Records without a key.
    None,
    Template(Template),
}

/// How a source writes values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueEncoding {
    Json,
    /// The line as UTF-8 text; other bytes become U+FFFD.
    Text,
    /// The bytes of the line as they are.
    Raw,
}

/// How a sink reads values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueDecoding {
    Json,
    /// Any bytes, as a JSON text.
    Text,
}

/// Where reading begins when there is no progress yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadFrom {
    Beginning,
    End,
}

/// What happens to records that cannot be handled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ErrorPolicy {
    /// Whether to go on without the record; otherwise the connector fails.
    pub(crate) tolerate: bool,
    pub(crate) dead_letter: Option<String>,
    pub(crate) retry: RetryPolicy,
}

/// The pauses before a failed connector starts again; they double.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    pub(crate) delay: Duration,
    pub(crate) max_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
        }
    }
}

impl ConnectorSpec {
    /// Its kind for people: "file source", "s3 sink".
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.direction {
            Direction::Source(source) => match &source.kind {
                SourceKind::File(_) => "file source",
                SourceKind::HostMetrics(_) => "host_metrics source",
                SourceKind::Generator(_) => "generator source",
            },
            Direction::Sink(sink) => match &sink.kind {
                SinkKind::File(_) => "file sink",
                SinkKind::Object(object) if object.is_s3() => "s3 sink",
                SinkKind::Object(_) => "object_store sink",
            },
        }
    }

    /// Whether it writes into a topic.
    #[must_use]
    pub fn is_source(&self) -> bool {
        matches!(self.direction, Direction::Source(_))
    }

    /// The topics it writes to (source) or reads from (sink).
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        match &self.direction {
            Direction::Source(source) => vec![source.topic.clone()],
            Direction::Sink(sink) => sink.topics.clone(),
        }
    }

    /// The topic that takes records that could not be handled.
    #[must_use]
    pub fn dead_letter_topic(&self) -> Option<&str> {
        self.errors.dead_letter.as_deref()
    }

    /// Reads one entry; mistakes are reported.
    pub(crate) fn read(reader: &mut Reader<'_, '_>, entry: &Entry) -> Option<Self> {
        reader.redactor = Redactor::default();
        topics::check_name(reader, &entry.key, entry.key_place, "connector");
        let what = format!("connector \"{}\"", entry.key);
        let has = |key: &str| match &entry.value.value {
            super::tree::Value::Map(entries) => entries.iter().any(|entry| entry.key == key),
            _ => false,
        };
        let direction = match (has("source"), has("sink")) {
            (true, false) => Direction::Source(SourceSpec::read(reader, &entry.value, &what)?),
            (false, true) => Direction::Sink(SinkSpec::read(reader, &entry.value, &what)?),
            (both, _) => {
                reader.fields(&entry.value, &what, EITHER_KEYS);
                let message = format!("{what} needs one of `source` and `sink`");
                let hint = if both {
                    "make two connectors of it"
                } else {
                    "for example source: { file: .. }"
                };
                reader
                    .report
                    .error_with_hint(entry.key_place, message, hint);
                return None;
            }
        };
        let fields = reader.any_fields(&entry.value, &what);
        let is_source = matches!(direction, Direction::Source(_));
        let transforms = fields
            .node("transforms")
            .map(|node| Transforms::read(reader, node, is_source))
            .unwrap_or_default();
        if let (Direction::Source(source), Some(entry)) = (&direction, fields.find("transforms"))
            && source.encode == ValueEncoding::Raw
            && transforms.change_values()
        {
            let message = "`encode: { value: raw }` writes the bytes as they are";
            let hint = "only `filter` can stand in `transforms` beside it";
            reader
                .report
                .error_with_hint(entry.key_place, message, hint);
        }
        let errors = ErrorPolicy::read(reader, &fields);
        let redactor = reader.redactor.clone();
        Some(Self {
            name: entry.key.clone(),
            line: entry.key_place.line,
            direction,
            transforms,
            errors,
            redactor,
        })
    }
}

impl SourceSpec {
    fn read(reader: &mut Reader<'_, '_>, node: &Node, what: &str) -> Option<Self> {
        let fields = reader.fields(node, what, SOURCE_KEYS);
        let topic = reader.required_text(&fields, "topic", "topic: orders");
        if let Some(entry) = fields.find("topic") {
            topics::check_name(reader, &topic, entry.value.place, "topic");
        }
        let (entry, kinds) = single_kind(reader, &fields, "source", &SOURCE_KINDS)?;
        let kind = match entry.key.as_str() {
            "file" => SourceKind::File(FileSourceSpec::read(reader, &entry.value)),
            "host_metrics" => SourceKind::HostMetrics(HostMetricsSpec::read(reader, &entry.value)),
            "generator" => SourceKind::Generator(GeneratorSpec::read(reader, &entry.value)),
            _ => return unknown_kind(reader, entry, "source", kinds),
        };
        let encode = read_encode(reader, &fields, &kind);
        Some(Self {
            topic,
            key: read_key(reader, &fields),
            encode,
            kind,
        })
    }
}

impl SinkSpec {
    fn read(reader: &mut Reader<'_, '_>, node: &Node, what: &str) -> Option<Self> {
        let fields = reader.fields(node, what, SINK_KEYS);
        let mut names: Vec<String> = Vec::new();
        for (topic, place) in reader.required_texts(&fields, "topics", "topics: [orders]") {
            topics::check_name(reader, &topic, place, "topic");
            if names.contains(&topic) {
                reader
                    .report
                    .error(place, format!("topic `{topic}` stands twice in `topics`"));
            }
            names.push(topic);
        }
        let read_from = reader
            .one_of(&fields, "read_from", &READ_FROM)
            .unwrap_or(ReadFrom::Beginning);
        let decode = match fields.node("decode") {
            Some(node) => {
                let fields = reader.fields(node, "`decode`", CODEC_KEYS);
                let choices = [("json", ValueDecoding::Json), ("text", ValueDecoding::Text)];
                reader
                    .one_of(&fields, "value", &choices)
                    .unwrap_or(ValueDecoding::Json)
            }
            None => ValueDecoding::Json,
        };
        let (entry, kinds) = single_kind(reader, &fields, "sink", &SINK_KINDS)?;
        let kind = match entry.key.as_str() {
            "file" => SinkKind::File(FileSinkSpec::read(reader, &entry.value)),
            "s3" => SinkKind::Object(Box::new(ObjectSinkSpec::read_s3(reader, &entry.value))),
            "object_store" => SinkKind::Object(Box::new(ObjectSinkSpec::read_object_store(
                reader,
                &entry.value,
            ))),
            _ => return unknown_kind(reader, entry, "sink", kinds),
        };
        Some(Self {
            topics: names,
            read_from,
            decode,
            kind,
        })
    }
}

impl ErrorPolicy {
    fn read(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Self {
        let Some(node) = fields.node("errors") else {
            return Self::default();
        };
        let fields = reader.fields(node, "`errors`", ERRORS_KEYS);
        let tolerate = reader.one_of(&fields, "tolerance", &[("none", false), ("all", true)]);
        let dead_letter = reader.text(&fields, "dead_letter");
        if let (Some(name), Some(entry)) = (&dead_letter, fields.find("dead_letter")) {
            topics::check_name(reader, name, entry.value.place, "topic");
            if tolerate != Some(true) {
                let message = "`dead_letter` has no effect without `tolerance: all`";
                reader
                    .report
                    .error_with_hint(entry.key_place, message, "add `tolerance: all`");
            }
        }
        let mut retry = RetryPolicy::default();
        if let Some(node) = fields.node("retry") {
            let fields = reader.fields(node, "`retry`", RETRY_KEYS);
            let range = Duration::from_millis(1)..=Duration::from_secs(3_600);
            let delay = reader.duration(&fields, "delay", range.clone());
            retry.delay = delay.unwrap_or(retry.delay);
            let max_delay = reader.duration(&fields, "max_delay", range);
            retry.max_delay = max_delay.unwrap_or(retry.max_delay).max(retry.delay);
        }
        Self {
            tolerate: tolerate.unwrap_or(false),
            dead_letter,
            retry,
        }
    }
}

fn read_key(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> KeyChoice {
    let Some(node) = fields.node("key") else {
        return KeyChoice::Default;
    };
    match reader.verbatim(node, "`key`").as_deref() {
        None => KeyChoice::Default,
        Some("none") => KeyChoice::None,
        Some(text) => match Template::parse(text) {
            Ok(template) => KeyChoice::Template(template),
            Err(message) => {
                reader.report.error(node.place, format!("`key`: {message}"));
                KeyChoice::Default
            }
        },
    }
}

fn read_encode(
    reader: &mut Reader<'_, '_>,
    fields: &Fields<'_>,
    kind: &SourceKind,
) -> ValueEncoding {
    let Some(node) = fields.node("encode") else {
        return ValueEncoding::Json;
    };
    let fields = reader.fields(node, "`encode`", CODEC_KEYS);
    let choices = [
        ("json", ValueEncoding::Json),
        ("text", ValueEncoding::Text),
        ("raw", ValueEncoding::Raw),
    ];
    let encode = reader
        .one_of(&fields, "value", &choices)
        .unwrap_or(ValueEncoding::Json);
    if let Some(entry) = fields.find("value")
        && encode != ValueEncoding::Json
        && !matches!(kind, SourceKind::File(_))
    {
        let message = "this source has JSON values only";
        let hint = "`text` and `raw` are for source `file`";
        reader
            .report
            .error_with_hint(entry.value.place, message, hint);
    }
    encode
}

/// The single entry under `source` or `sink`, whose key is the kind.
fn single_kind<'n, 'k>(
    reader: &mut Reader<'_, '_>,
    fields: &Fields<'n>,
    side: &str,
    kinds: &'k [&'static str],
) -> Option<(&'n Entry, &'k [&'static str])> {
    let node = fields.node(side)?;
    let inner = reader.any_fields(node, &format!("`{side}`"));
    let entries = inner.entries();
    if let [entry] = entries {
        return Some((entry, kinds));
    }
    if let Some(second) = entries.get(1) {
        let message = format!("`{side}` has one kind, not {}", entries.len());
        let hint = "make a connector for each";
        reader
            .report
            .error_with_hint(second.key_place, message, hint);
    }
    None
}

fn unknown_kind<T>(
    reader: &mut Reader<'_, '_>,
    entry: &Entry,
    side: &str,
    kinds: &[&str],
) -> Option<T> {
    let message = format!("unknown {side} `{}`", entry.key);
    let hint = match (
        LATER_KINDS.contains(&entry.key.as_str()),
        super::suggest::closest(&entry.key, kinds.iter().copied()),
    ) {
        (true, _) => format!("not supported yet; there are: {}", kinds.join(", ")),
        (false, Some(kind)) => format!("did you mean `{kind}`?"),
        (false, None) => format!("there are: {}", kinds.join(", ")),
    };
    let place: Place = entry.key_place;
    reader.report.error_with_hint(place, message, hint);
    None
}

impl fmt::Debug for ConnectorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!(
            "ConnectorSpec {{ name: {:?}, line: {}, direction: {:?}, transforms: {:?}, errors: {:?} }}",
            self.name, self.line, self.direction, self.transforms, self.errors
        );
        f.write_str(&self.redactor.redact(&text))
    }
}

const READ_FROM: [(&str, ReadFrom); 2] =
    [("beginning", ReadFrom::Beginning), ("end", ReadFrom::End)];
