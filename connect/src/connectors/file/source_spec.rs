//! The settings of source `file`.

use std::time::Duration;

use glob::Pattern;

use crate::config::connector::ReadFrom;
use crate::config::reader::{Fields, Keys, Reader};
use crate::config::tree::Node;

/// Which files are read, and how.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FileSourceSpec {
    /// Glob patterns of paths; `**` stands for any folders.
    pub(crate) include: Vec<String>,
    /// A path or file name that matches one of these is left out.
    pub(crate) exclude: Vec<Pattern>,
    /// For files that are there when the connector runs for the first time.
    pub(crate) read_from: ReadFrom,
    /// Pause between two looks at the files.
    pub(crate) poll_interval: Duration,
    /// How long a renamed file is read on after its last line.
    pub(crate) rotate_wait: Duration,
    /// Longer lines are cut.
    pub(crate) max_line_bytes: usize,
    /// Whether records have a field `host`.
    pub(crate) host: bool,
}

impl FileSourceSpec {
    pub(crate) fn read(reader: &mut Reader<'_, '_>, node: &Node) -> Self {
        let fields = reader.fields(node, "source `file`", KEYS);
        let include = read_include(reader, &fields);
        let exclude = read_exclude(reader, &fields);
        let choices = [("beginning", ReadFrom::Beginning), ("end", ReadFrom::End)];
        let read_from = reader.one_of(&fields, "read_from", &choices);
        let intervals = Duration::from_millis(10)..=Duration::from_secs(3_600);
        let poll_interval = reader.duration(&fields, "poll_interval", intervals);
        let waits = Duration::ZERO..=Duration::from_secs(86_400);
        let rotate_wait = reader.duration(&fields, "rotate_wait", waits);
        let max_line = reader
            .size(&fields, "max_line_bytes")
            .unwrap_or(DEFAULT_MAX_LINE_BYTES);
        if !(MIN_LINE_BYTES..=MAX_LINE_BYTES).contains(&max_line) {
            let message = "`max_line_bytes` must lie between 1KiB and 16MiB";
            reader.report.error(fields.place, message);
        }
        Self {
            include,
            exclude,
            read_from: read_from.unwrap_or(ReadFrom::Beginning),
            poll_interval: poll_interval.unwrap_or(DEFAULT_POLL_INTERVAL),
            rotate_wait: rotate_wait.unwrap_or(DEFAULT_ROTATE_WAIT),
            max_line_bytes: usize::try_from(max_line).unwrap_or(usize::MAX),
            host: reader.boolean(&fields, "host", true),
        }
    }
}

fn read_include(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Vec<String> {
    let mut patterns = Vec::new();
    for (pattern, place) in
        reader.required_texts(fields, "include", "include: [\"/var/log/*.log\"]")
    {
        if let Err(error) = Pattern::new(&pattern) {
            reader.report.error(
                place,
                format!("`include`: `{pattern}` is no pattern: {}", error.msg),
            );
        }
        patterns.push(pattern);
    }
    patterns
}

fn read_exclude(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for (pattern, place) in reader.texts(fields, "exclude") {
        match Pattern::new(&pattern) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => {
                let message = format!("`exclude`: `{pattern}` is no pattern: {}", error.msg);
                reader.report.error(place, message);
            }
        }
    }
    patterns
}

const DEFAULT_POLL_INTERVAL: Duration = Duration::from_millis(250);
const DEFAULT_ROTATE_WAIT: Duration = Duration::from_secs(10);
const DEFAULT_MAX_LINE_BYTES: u64 = 256 << 10;
const MIN_LINE_BYTES: u64 = 1 << 10;
const MAX_LINE_BYTES: u64 = 16 << 20;
const KEYS: Keys = Keys {
    known: &[
        "include",
        "exclude",
        "read_from",
        "poll_interval",
        "rotate_wait",
        "max_line_bytes",
        "host",
    ],
    aliases: &[
        ("file", "`include`"),
        ("path", "`include`"),
        ("paths", "`include`"),
        ("read_from_head", "`read_from: beginning`"),
        ("start_at", "`read_from`"),
        ("rotate_wait_secs", "`rotate_wait: 10s`"),
        ("topic", "`topic` beside `source`"),
    ],
    later: &["multiline", "flush_partial_after"],
};
