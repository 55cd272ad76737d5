//! Names of files and directories, as Kafka has them.
//!
//! ```text
//! orders-0/                            directory of a partition: topic, dash, partition
//! orders-0.3f2b…c1-delete/             the same, while its files are being removed
//! 00000000000000000042.log             segment whose first offset is at least 42
//! 00000000000000000042.log.deleted     segment that is about to be removed
//! 00000000000000000042.log.cleaned     compaction that did not end
//! 00000000000000000042.log.swap        compaction that ended, but has not replaced its source
//! ```

use std::fmt;
use std::str::FromStr;

/// A partition of a topic, as it names its directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's index, from zero.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    #[must_use]
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Reads the name of a partition's directory.
impl FromStr for TopicPartition {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let parsed = name.rsplit_once('-').and_then(|(topic, partition)| {
            let digits = partition.bytes().all(|byte| byte.is_ascii_digit());
            (digits && !topic.is_empty())
                .then(|| Some(Self::new(topic, partition.parse().ok()?)))?
        });
        parsed.ok_or_else(|| format!("{name:?} is not of the form <topic>-<partition>"))
    }
}

/// What a file of a partition's directory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    /// Record batches.
    Log,
    /// Offset to position.
    OffsetIndex,
    /// Timestamp to offset.
    TimeIndex,
    /// Aborted transactions.
    TransactionIndex,
    /// State of the idempotent producers.
    ProducerSnapshot,
}

impl FileKind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Log,
        Self::OffsetIndex,
        Self::TimeIndex,
        Self::TransactionIndex,
        Self::ProducerSnapshot,
    ];

    /// The files that come and go with a segment, the log first.
    pub(crate) const OF_SEGMENT: [Self; 4] = [
        Self::Log,
        Self::OffsetIndex,
        Self::TimeIndex,
        Self::TransactionIndex,
    ];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::OffsetIndex => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TransactionIndex => ".txnindex",
            Self::ProducerSnapshot => ".snapshot",
        }
    }
}

/// Whether a file is in use, and if not, how far its removal or replacement has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileState {
    /// Part of the log.
    Live,
    /// To be removed.
    Deleted,
    /// Result of a compaction that did not end.
    Cleaned,
    /// Result of a compaction that ended: replaces the live files.
    Swap,
}

/// A file's name taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileName {
    pub(crate) offset: i64,
    pub(crate) kind: FileKind,
    pub(crate) state: FileState,
}

impl FileName {
    /// Takes a name apart; `None` if it is none of a segment's.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (name, state) = [
            (DELETED_SUFFIX, FileState::Deleted),
            (CLEANED_SUFFIX, FileState::Cleaned),
            (SWAP_SUFFIX, FileState::Swap),
        ]
        .into_iter()
        .find_map(|(suffix, state)| Some((name.strip_suffix(suffix)?, state)))
        .unwrap_or((name, FileState::Live));
        let (digits, rest) = name.split_at_checked(OFFSET_DIGITS)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let offset = digits.parse().ok()?;
        let kind = FileKind::ALL
            .into_iter()
            .find(|kind| kind.suffix() == rest)?;
        Some(Self {
            offset,
            kind,
            state,
        })
    }
}

/// The name of a live file.
pub(crate) fn file_name(offset: i64, kind: FileKind) -> String {
    format!("{offset:0width$}{}", kind.suffix(), width = OFFSET_DIGITS)
}

/// Ends the name of a file that is to be removed.
pub(crate) const DELETED_SUFFIX: &str = ".deleted";
/// Ends the name of a directory that is being removed.
pub(crate) const DELETE_DIRECTORY_SUFFIX: &str = "-delete";
/// Ends the name of a file that a compaction writes.
pub(crate) const CLEANED_SUFFIX: &str = ".cleaned";
/// Ends the name of a file that a compaction has written and that replaces live ones.
pub(crate) const SWAP_SUFFIX: &str = ".swap";
const OFFSET_DIGITS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_kafkas() {
        assert_eq!(file_name(42, FileKind::Log), "00000000000000000042.log");
        assert_eq!(
            file_name(i64::MAX, FileKind::TimeIndex),
            "09223372036854775807.timeindex"
        );
        let parsed = FileName::parse("00000000000000000042.index.deleted");
        let expected = FileName {
            offset: 42,
            kind: FileKind::OffsetIndex,
            state: FileState::Deleted,
        };
        assert_eq!(parsed, Some(expected));
    }

    #[test]
    fn every_kind_and_state_is_read_back() {
        for kind in FileKind::ALL {
            for (suffix, state) in [
                ("", FileState::Live),
                (DELETED_SUFFIX, FileState::Deleted),
                (CLEANED_SUFFIX, FileState::Cleaned),
                (SWAP_SUFFIX, FileState::Swap),
            ] {
                let name = file_name(7, kind) + suffix;
                assert_eq!(
                    FileName::parse(&name),
                    Some(FileName {
                        offset: 7,
                        kind,
                        state
                    })
                );
            }
        }
    }

    #[test]
    fn other_names_are_none_of_a_segments() {
        for name in [
            "leader-epoch-checkpoint",
            "42.log",
            "99999999999999999999.log",
            "0000000000000000004é.log",
            ".log",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_directory_names_its_topic_and_partition() {
        let read = |name: &str| name.parse::<TopicPartition>().ok();
        assert_eq!(
            read("orders-eu-12"),
            Some(TopicPartition::new("orders-eu", 12))
        );
        assert_eq!(
            read("__consumer_offsets-0").map(|it| it.to_string()),
            Some("__consumer_offsets-0".to_owned())
        );
        for name in [
            "orders",
            "-3",
            "orders-",
            "orders--1x",
            "orders-+1",
            "orders-0.abc-delete",
        ] {
            assert_eq!(read(name), None, "{name}");
        }
    }
}
