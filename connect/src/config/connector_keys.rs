//! The keys and kinds that a connector may have, and what people write instead of them.

use super::reader::Keys;

pub(super) const SOURCE_KINDS: [&str; 3] = ["file", "host_metrics", "generator"];
pub(super) const SINK_KINDS: [&str; 3] = ["file", "s3", "object_store"];
pub(super) const LATER_KINDS: [&str; 6] =
    ["http", "kafka", "postgres", "directory", "s3", "syslog"];
pub(super) const EITHER_KEYS: Keys = Keys {
    known: &[
        "source",
        "sink",
        "topic",
        "topics",
        "key",
        "encode",
        "decode",
        "read_from",
        "transforms",
        "errors",
    ],
    aliases: &[],
    later: LATER_KEYS,
};
pub(super) const SOURCE_KEYS: Keys = Keys {
    known: &["source", "topic", "key", "encode", "transforms", "errors"],
    aliases: &[
        ("topics", "`topic`"),
        ("value.converter", "`encode: { value: .. }`"),
        ("decode", "`encode`"),
        ("connector.class", "`source: { file: .. }`"),
        ("errors.tolerance", "`errors: { tolerance: .. }`"),
        ("tasks.max", "leave it out: one task is enough here"),
    ],
    later: LATER_KEYS,
};
pub(super) const SINK_KEYS: Keys = Keys {
    known: &[
        "sink",
        "topics",
        "read_from",
        "decode",
        "transforms",
        "errors",
    ],
    aliases: &[
        ("topic", "`topics: [..]`"),
        ("value.converter", "`decode: { value: .. }`"),
        ("encode", "`decode`"),
        ("connector.class", "`sink: { s3: .. }`"),
        ("errors.tolerance", "`errors: { tolerance: .. }`"),
        (
            "errors.deadletterqueue.topic.name",
            "`errors: { dead_letter: .. }`",
        ),
        ("flush.size", "`sink: { s3: { rotate: { records: .. } } }`"),
        (
            "rotate.interval.ms",
            "`sink: { s3: { rotate: { interval: .. } } }`",
        ),
        ("auto.offset.reset", "`read_from`"),
        ("tasks.max", "leave it out: one task is enough here"),
    ],
    later: LATER_KEYS,
};
pub(super) const LATER_KEYS: &[&str] = &[
    "tasks",
    "topics_regex",
    "delivery",
    "schema",
    "batch",
    "rate_limit",
];
pub(super) const CODEC_KEYS: Keys = Keys {
    known: &["value"],
    aliases: &[],
    later: &["key", "subject"],
};
pub(super) const ERRORS_KEYS: Keys = Keys {
    known: &["tolerance", "dead_letter", "retry"],
    aliases: &[
        ("deadletterqueue.topic.name", "`dead_letter`"),
        ("dlq", "`dead_letter`"),
    ],
    later: &[],
};
pub(super) const RETRY_KEYS: Keys = Keys {
    known: &["delay", "max_delay"],
    aliases: &[("errors.retry.delay.max.ms", "`max_delay`")],
    later: &["timeout"],
};
