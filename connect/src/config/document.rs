//! The document as a whole.

use std::collections::BTreeMap;

use super::connector::ConnectorSpec;
use super::diagnostics::{Diagnostics, Report};
use super::placeholders::ParseContext;
use super::reader::{Fields, Keys, Reader};
use super::secret::Redactor;
use super::topics::TopicSpec;
use super::tree::{Node, Place, Value};

/// Everything a `moldau.yaml` says.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// Settings of the broker by their Kafka names, `num.partitions: 3`.
    pub broker: BTreeMap<String, String>,
    /// Topics to create.
    pub topics: Vec<TopicSpec>,
    /// Sources and sinks.
    pub connectors: Vec<ConnectorSpec>,
    /// Statements to run, in their order.
    pub sql: Vec<SqlBlock>,
    /// What `moldau start` shows while it runs.
    pub terminal: Option<TerminalSpec>,
}

/// SQL text and where it stands. A mistake in line `n` of the text (from 1) stands in line
/// `line + n - 1` of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlBlock {
    /// One or more statements.
    pub text: String,
    /// Line of the document in which the text begins.
    pub line: usize,
    /// Column in which its lines begin.
    pub column: usize,
}

/// A query whose changes the terminal shows as a live table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalSpec {
    /// Heading of the table.
    pub title: Option<String>,
    /// A push query.
    pub query: String,
    /// Line of the document in which the query begins.
    pub line: usize,
}

impl Document {
    /// Reads `text`; `origin` names it in messages.
    ///
    /// # Errors
    /// All mistakes of the document, each with its line.
    pub fn parse(text: &str, origin: &str, context: &ParseContext) -> Result<Self, Diagnostics> {
        let mut report = Report::new(text, origin);
        let document = match Node::parse(text) {
            Ok(node) => Self::read(&mut Reader::new(&mut report, context), &node),
            Err((message, place)) => {
                report.error(place.unwrap_or_default(), message);
                Self::default()
            }
        };
        report.finish().map(|()| document)
    }

    /// The topics that sources write to, without repeats.
    #[must_use]
    pub fn connector_topics(&self) -> Vec<String> {
        let mut names = Vec::new();
        for connector in self
            .connectors
            .iter()
            .filter(|connector| connector.is_source())
        {
            for topic in connector.topics() {
                if !names.contains(&topic) {
                    names.push(topic);
                }
            }
        }
        names
    }

    fn read(reader: &mut Reader<'_, '_>, node: &Node) -> Self {
        let mut document = Self::default();
        if node.value == Value::Null {
            let start = Place {
                line: 1,
                column: 1,
                ..Place::default()
            };
            reader.report.error_with_hint(
                start,
                "the document is empty",
                "begin with `version: 1`",
            );
            return document;
        }
        let fields = reader.fields(node, "the document", KEYS);
        check_version(reader, &fields);
        if let Some(node) = fields.node("broker") {
            document.broker = read_broker(reader, node);
        }
        if let Some(node) = fields.node("topics") {
            let topics = reader.any_fields(node, "`topics`");
            document.topics = topics
                .entries()
                .iter()
                .map(|entry| TopicSpec::read(reader, entry))
                .collect();
        }
        if let Some(node) = fields.node("connectors") {
            let connectors = reader.any_fields(node, "`connectors`");
            let read = |entry| ConnectorSpec::read(reader, entry);
            document.connectors = connectors.entries().iter().filter_map(read).collect();
        }
        if let Some(node) = fields.node("sql") {
            document.sql = read_sql(reader, node);
        }
        if let Some(node) = fields.node("terminal") {
            document.terminal = Some(TerminalSpec::read(reader, node));
        }
        document
    }
}

impl TerminalSpec {
    fn read(reader: &mut Reader<'_, '_>, node: &Node) -> Self {
        let fields = reader.fields(node, "`terminal`", TERMINAL_KEYS);
        let example = "query: SELECT * FROM alerts EMIT CHANGES";
        let title = reader.text(&fields, "title");
        let line = fields.node("query").map_or(0, |node| node.place.line);
        let query = match fields.node("query") {
            Some(node) => reader.verbatim(node, "`query`").unwrap_or_default(),
            None => {
                reader.missing(&fields, "query", example);
                String::new()
            }
        };
        Self {
            title,
            query: query.trim().trim_end_matches(';').to_owned(),
            line,
        }
    }
}

fn check_version(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) {
    let Some(node) = fields.node("version") else {
        return reader.missing(fields, "version", "version: 1");
    };
    if node.value != Value::Integer(1) {
        let message = "this version of the document is not known";
        reader
            .report
            .error_with_hint(node.place, message, "there is only `version: 1`");
    }
}

fn read_broker(reader: &mut Reader<'_, '_>, node: &Node) -> BTreeMap<String, String> {
    reader.redactor = Redactor::default();
    let fields = reader.any_fields(node, "`broker`");
    let mut settings = BTreeMap::new();
    for entry in fields.entries() {
        if matches!(entry.value.value, Value::Map(_)) {
            let message = format!("`{}` must be a plain value", entry.key);
            let hint = "write the Kafka name in one piece, for example num.partitions: 3";
            reader
                .report
                .error_with_hint(entry.key_place, message, hint);
            continue;
        }
        if let Some(value) = reader.text_of(&entry.value, &format!("`{}`", entry.key)) {
            settings.insert(entry.key.clone(), value);
        }
    }
    settings
}

/// SQL stays as it is written: `${..}` inside it belongs to SQL.
fn read_sql(reader: &mut Reader<'_, '_>, node: &Node) -> Vec<SqlBlock> {
    let nodes = match &node.value {
        Value::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    let mut blocks = Vec::new();
    for node in nodes {
        if let Some(text) = reader.verbatim(node, "`sql`") {
            blocks.push(SqlBlock {
                text,
                line: node.place.line,
                column: node.place.column,
            });
        }
    }
    blocks
}

const KEYS: Keys = Keys {
    known: &[
        "version",
        "broker",
        "topics",
        "connectors",
        "sql",
        "terminal",
    ],
    aliases: &[
        ("queries", "`sql`"),
        ("pipelines", "`connectors`"),
        ("sources", "`connectors`"),
        ("sinks", "`connectors`"),
        ("server", "`broker`"),
    ],
    later: &["schemas", "acls", "streams", "tests"],
};
const TERMINAL_KEYS: Keys = Keys {
    known: &["title", "query"],
    aliases: &[("sql", "`query`")],
    later: &[],
};
