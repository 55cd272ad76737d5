//! The part of an object's name between topic and file: by partition or by time.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Utc};

use crate::config::reader::{Fields, Keys, Reader};
use crate::config::tree::Place;

/// Which folder the records of a partition go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathPattern {
    /// `partition=<n>`, as the default partitioner of Kafka Connect's sinks has it.
    Partition,
    /// A pattern of strftime, filled in with the record's timestamp in UTC.
    Time(String),
}

impl PathPattern {
    pub(crate) fn read(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Self {
        let Some(node) = fields.node("partition") else {
            return Self::Partition;
        };
        let fields = reader.fields(node, "`partition`", KEYS);
        let by = reader.one_of(&fields, "by", &[("partition", false), ("time", true)]);
        let pattern = reader.text(&fields, "path");
        if let Some(entry) = fields.find("timezone") {
            let zone = reader.text_of(&entry.value, "`timezone`");
            if zone.as_deref().is_some_and(|zone| zone != "UTC") {
                reader
                    .report
                    .error(entry.value.place, "`timezone`: only UTC is supported yet");
            }
        }
        if by != Some(true) {
            if let Some(entry) = fields.find("path") {
                let message = "`path` needs `by: time`";
                reader.report.error(entry.key_place, message);
            }
            return Self::Partition;
        }
        let pattern = pattern.unwrap_or_else(|| DEFAULT_PATTERN.to_owned());
        check(
            reader,
            &pattern,
            fields.node("path").map_or(fields.place, |node| node.place),
        );
        Self::Time(pattern)
    }

    /// The folder for a record, without `/` at either end.
    pub(crate) fn folder(&self, partition: i32, timestamp: i64) -> String {
        match self {
            Self::Partition => format!("partition={partition}"),
            Self::Time(pattern) => {
                let time = DateTime::<Utc>::from_timestamp_millis(timestamp).unwrap_or_default();
                time.format(pattern).to_string()
            }
        }
    }
}

fn check(reader: &mut Reader<'_, '_>, pattern: &str, place: Place) {
    let hint = "for example year=%Y/month=%m/day=%d/hour=%H";
    if StrftimeItems::new(pattern).any(|item| matches!(item, Item::Error)) {
        let message = format!("`path`: `{pattern}` is no pattern of strftime");
        reader.report.error_with_hint(place, message, hint);
    } else if pattern.contains("YYYY") || pattern.contains("yyyy") {
        let message = "`path`: this is a pattern of Java, here strftime is used";
        reader.report.error_with_hint(place, message, hint);
    } else if pattern
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        let message = "`path` must not begin or end with `/` nor hold `//` or `..`";
        reader.report.error_with_hint(place, message, hint);
    }
}

const DEFAULT_PATTERN: &str = "year=%Y/month=%m/day=%d/hour=%H";
const KEYS: Keys = Keys {
    known: &["by", "path", "timezone"],
    aliases: &[
        ("path.format", "`path`"),
        ("locale", "leave it out: there is none"),
    ],
    later: &["timestamp", "field"],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_partition_or_the_time_of_the_record() {
        assert_eq!(PathPattern::Partition.folder(3, 0), "partition=3");
        let by_time = PathPattern::Time(DEFAULT_PATTERN.to_owned());
        assert_eq!(
            by_time.folder(3, 1_700_000_000_000),
            "year=2023/month=11/day=14/hour=22"
        );
        assert_eq!(
            by_time.folder(3, i64::MAX),
            "year=1970/month=01/day=01/hour=00"
        );
    }
}
