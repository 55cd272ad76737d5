//! The section `topics`.

use super::reader::{Keys, Reader};
use super::suggest;
use super::tree::{Entry, Place, Value};

/// A topic that is created if it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Number of partitions; `None` leaves it to the broker.
    pub partitions: Option<i32>,
    /// Replicas of each partition; `None` leaves it to the broker.
    pub replication_factor: Option<i16>,
    /// Kafka's topic settings, in the order of the document.
    pub configs: Vec<(String, String)>,
    /// Line of the document it begins in.
    pub line: usize,
}

impl TopicSpec {
    pub(crate) fn read(reader: &mut Reader<'_, '_>, entry: &Entry) -> Self {
        check_name(reader, &entry.key, entry.key_place, "topic");
        let mut topic = Self {
            name: entry.key.clone(),
            partitions: None,
            replication_factor: None,
            configs: Vec::new(),
            line: entry.key_place.line,
        };
        // `orders:` alone is a topic with the broker's defaults.
        if entry.value.value == Value::Null {
            return topic;
        }
        let fields = reader.fields(&entry.value, &format!("topic \"{}\"", entry.key), KEYS);
        let partitions = reader.integer(&fields, "partitions", 1..=MAX_PARTITIONS);
        topic.partitions = partitions.and_then(|count| i32::try_from(count).ok());
        let replicas = reader.integer(&fields, "replication_factor", 1..=MAX_REPLICAS);
        topic.replication_factor = replicas.and_then(|count| i16::try_from(count).ok());
        if let Some(node) = fields.node("configs") {
            for entry in reader.any_fields(node, "`configs`").entries() {
                check_setting(reader, entry);
                if let Some(value) = reader.text_of(&entry.value, &format!("`{}`", entry.key)) {
                    topic.configs.push((entry.key.clone(), value));
                }
            }
        }
        topic
    }
}

fn check_setting(reader: &mut Reader<'_, '_>, entry: &Entry) {
    if TOPIC_SETTINGS.contains(&entry.key.as_str()) {
        return;
    }
    let message = format!("unknown topic setting `{}`", entry.key);
    let hint = suggest::closest(&entry.key, TOPIC_SETTINGS).map_or_else(
        || "the names are Kafka's, for example retention.ms".to_owned(),
        |name| format!("did you mean `{name}`?"),
    );
    reader
        .report
        .error_with_hint(entry.key_place, message, hint);
}

/// Kafka's rule for topic names, which also holds for our connectors.
pub(crate) fn check_name(reader: &mut Reader<'_, '_>, name: &str, place: Place, what: &str) {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let problem = if name.is_empty() {
        return;
    } else if let Some(bad) = name.chars().find(|c| !legal(*c)) {
        format!("has the character `{bad}`")
    } else if name.len() > MAX_NAME {
        format!("is longer than {MAX_NAME} characters")
    } else if matches!(name, "." | "..") {
        "is no name".to_owned()
    } else {
        return;
    };
    let hint = "use letters, digits, `.`, `_` and `-`";
    reader
        .report
        .error_with_hint(place, format!("{what} name `{name}` {problem}"), hint);
}

const MAX_NAME: usize = 249;
const MAX_PARTITIONS: i64 = 100_000;
const MAX_REPLICAS: i64 = 100;
const KEYS: Keys = Keys {
    known: &["partitions", "replication_factor", "configs"],
    aliases: &[
        ("num.partitions", "`partitions`"),
        ("replication.factor", "`replication_factor`"),
        ("replicas", "`replication_factor`"),
        ("retention.ms", "`configs: { retention.ms: .. }`"),
        ("cleanup.policy", "`configs: { cleanup.policy: .. }`"),
        ("settings", "`configs`"),
    ],
    later: &["schema"],
};
/// Kafka 4.3's topic settings, and `flush`, which is ours.
const TOPIC_SETTINGS: [&str; 34] = [
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];
