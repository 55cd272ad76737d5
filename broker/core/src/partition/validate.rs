//! Whether a produced batch may be appended, and what must be done to it first.
//!
//! Everything is decided from the header, so the records stay opaque unless the topic's settings
//! ask for something that only records can answer. Then [`Treatment::check`] says what to look at.

use moldau_protocol::batch::TimestampType;
use moldau_protocol::compression::Compression;
use moldau_protocol::error_code::ErrorCode;

use super::batch::BatchSummary;
use crate::config::CompressionSetting;
use crate::rejection::Rejection;

/// The topic settings that a batch is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceRules {
    /// `max.message.bytes`
    pub max_message_bytes: i32,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `compression.type`
    pub compression: CompressionSetting,
    /// The level at which the leader compresses; the codec's own if `None`.
    pub compression_level: Option<i32>,
    /// Whether the topic is compacted.
    pub require_keys: bool,
}

/// What must be done to a valid batch before it is appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Treatment {
    /// The header gets the leader's time and the LogAppendTime bit, and a new checksum.
    pub log_append_time: bool,
    /// The records are compressed anew with this codec.
    pub recompress: Option<Compression>,
    /// Every record is decoded and checked.
    pub check: Option<RecordCheck>,
}

impl Treatment {
    /// Whether the bytes are appended as they came, but for base offset and leader epoch.
    #[must_use]
    pub const fn is_opaque(&self) -> bool {
        !self.log_append_time && self.recompress.is_none() && self.check.is_none()
    }
}

/// What each record is checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordCheck {
    /// Records without a key are refused.
    pub require_keys: bool,
    /// Timestamps below this are refused.
    pub earliest_timestamp: i64,
}

/// A refused record of a batch; the whole batch is refused with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRejection {
    /// Position of the record in its batch, from 0.
    pub index: i32,
    /// Why it is refused.
    pub rejection: Rejection,
}

impl RecordCheck {
    /// Checks one decoded record.
    ///
    /// # Errors
    /// The record has no key or is too old; it is named by its index.
    pub fn check(&self, index: i32, timestamp: i64, has_key: bool) -> Result<(), RecordRejection> {
        let rejection = if self.require_keys && !has_key {
            Rejection::new(
                ErrorCode::InvalidRecord,
                format!("record {index} has no key, which a compacted topic needs"),
            )
        } else if timestamp != NO_TIMESTAMP && timestamp < self.earliest_timestamp {
            let earliest = self.earliest_timestamp;
            let message = format!(
                "record {index} has timestamp {timestamp}, before the earliest allowed, {earliest}"
            );
            Rejection::new(ErrorCode::InvalidTimestamp, message)
        } else {
            return Ok(());
        };
        Err(RecordRejection { index, rejection })
    }
}

/// Checks the header of a batch that a client wants to append.
///
/// # Errors
/// The code and sentence for the client.
pub fn validate_batch(
    batch: &BatchSummary,
    rules: &ProduceRules,
    now_ms: i64,
) -> Result<Treatment, Rejection> {
    check_format(batch)?;
    let largest = usize::try_from(rules.max_message_bytes).unwrap_or_default();
    if batch.size_in_bytes > largest {
        let size = batch.size_in_bytes;
        let message =
            format!("the batch has {size} bytes; the topic setting max.message.bytes is {largest}");
        return Err(Rejection::new(ErrorCode::MessageTooLarge, message));
    }
    check_latest_timestamp(batch, rules, now_ms)?;
    let earliest_timestamp = earliest_timestamp(batch, rules, now_ms);
    let check = RecordCheck {
        require_keys: rules.require_keys,
        earliest_timestamp,
    };
    Ok(Treatment {
        log_append_time: rules.timestamp_type == TimestampType::LogAppendTime,
        recompress: recompression(batch, rules.compression),
        check: (check.require_keys || check.earliest_timestamp != i64::MIN).then_some(check),
    })
}

fn check_format(batch: &BatchSummary) -> Result<(), Rejection> {
    let invalid = |message: String| Err(Rejection::new(ErrorCode::InvalidRecord, message));
    if batch.magic != 2 {
        return invalid(format!(
            "the batch has format {}; only 2 is accepted",
            batch.magic
        ));
    }
    if batch.compression.is_none() {
        return Err(Rejection::new(
            ErrorCode::UnsupportedCompressionType,
            "the batch has an unknown compression type",
        ));
    }
    if batch.control {
        return invalid("clients may not write control records".to_owned());
    }
    if batch.record_count <= 0 || batch.last_offset_delta < 0 {
        return invalid(format!(
            "the batch says that it has {} records",
            batch.record_count
        ));
    }
    if i64::from(batch.last_offset_delta) + 1 != i64::from(batch.record_count) {
        let (count, delta) = (batch.record_count, batch.last_offset_delta);
        return invalid(format!(
            "the batch has {count} records, but its last offset is {delta} after its first"
        ));
    }
    if batch.is_idempotent()
        && (batch.base_sequence < 0 || batch.producer_epoch.0 < 0 || batch.producer_id.0 < 0)
    {
        let (id, epoch, sequence) = (batch.producer_id, batch.producer_epoch, batch.base_sequence);
        return invalid(format!(
            "producer id {id} with epoch {epoch} and sequence number {sequence} is not valid"
        ));
    }
    if batch.transactional && !batch.is_idempotent() {
        return invalid("the batch is transactional, but has no producer id".to_owned());
    }
    Ok(())
}

fn check_latest_timestamp(
    batch: &BatchSummary,
    rules: &ProduceRules,
    now_ms: i64,
) -> Result<(), Rejection> {
    if batch.log_append_time {
        let message =
            "the timestamp type of the batch is LogAppendTime, which only the broker may set";
        return Err(Rejection::new(ErrorCode::InvalidTimestamp, message));
    }
    let latest = now_ms.saturating_add(rules.timestamp_after_max_ms);
    if rules.timestamp_type == TimestampType::CreateTime && batch.max_timestamp > latest {
        let timestamp = batch.max_timestamp;
        let message =
            format!("the batch has timestamp {timestamp}, after the latest allowed, {latest}");
        return Err(Rejection::new(ErrorCode::InvalidTimestamp, message));
    }
    Ok(())
}

/// The bound for the records' timestamps, or `i64::MIN` if none is needed.
///
/// The header has the first and the largest timestamp, but not the smallest. So every record is
/// looked at where the topic sets a bound, unless a lone record's timestamp is known to hold it.
fn earliest_timestamp(batch: &BatchSummary, rules: &ProduceRules, now_ms: i64) -> i64 {
    let bounded = rules.timestamp_type == TimestampType::CreateTime
        && rules.timestamp_before_max_ms != i64::MAX;
    let earliest = now_ms.saturating_sub(rules.timestamp_before_max_ms);
    let lone = batch.record_count == 1 && batch.max_timestamp >= earliest;
    if bounded && !lone { earliest } else { i64::MIN }
}

fn recompression(batch: &BatchSummary, setting: CompressionSetting) -> Option<Compression> {
    match setting {
        CompressionSetting::Codec(codec) if batch.compression != Some(codec) => Some(codec),
        CompressionSetting::Codec(_) | CompressionSetting::Producer => None,
    }
}

const NO_TIMESTAMP: i64 = -1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TopicConfig;
    use crate::ids::{ProducerEpoch, ProducerId};
    use crate::partition::fixture::batch;

    const NOW: i64 = 10_000_000;

    fn rules() -> ProduceRules {
        TopicConfig::default().produce_rules()
    }

    #[test]
    fn a_plain_batch_stays_opaque() {
        let treatment = validate_batch(&batch(3), &rules(), NOW).unwrap();
        assert!(treatment.is_opaque());
    }

    fn refused(batch: BatchSummary) -> ErrorCode {
        validate_batch(&batch, &rules(), NOW).unwrap_err().code
    }

    #[test]
    fn headers_that_make_no_sense_are_refused() {
        let base = batch(3);
        let with_id = BatchSummary {
            producer_id: ProducerId(1),
            producer_epoch: ProducerEpoch(0),
            ..base
        };
        for batch in [
            BatchSummary { magic: 1, ..base },
            BatchSummary {
                control: true,
                ..base
            },
            BatchSummary {
                record_count: 0,
                ..base
            },
            BatchSummary {
                record_count: 4,
                ..base
            },
            BatchSummary {
                last_offset_delta: -1,
                ..base
            },
            BatchSummary {
                last_offset_delta: i32::MAX,
                ..base
            },
            BatchSummary {
                transactional: true,
                ..base
            },
            BatchSummary {
                base_sequence: -1,
                ..with_id
            },
            BatchSummary {
                producer_epoch: ProducerEpoch(-1),
                base_sequence: 0,
                ..with_id
            },
        ] {
            assert_eq!(refused(batch), ErrorCode::InvalidRecord, "{batch:?}");
        }
        let unknown = BatchSummary {
            compression: None,
            ..base
        };
        assert_eq!(refused(unknown), ErrorCode::UnsupportedCompressionType);
    }

    #[test]
    fn the_largest_size_and_the_latest_timestamp_are_still_accepted() {
        let edge = BatchSummary {
            size_in_bytes: 1_048_588,
            max_timestamp: NOW + 3_600_000,
            ..batch(3)
        };
        assert!(validate_batch(&edge, &rules(), NOW).is_ok());
        assert_eq!(
            refused(BatchSummary {
                size_in_bytes: 1_048_589,
                ..edge
            }),
            ErrorCode::MessageTooLarge
        );
        let later = BatchSummary {
            max_timestamp: NOW + 3_600_001,
            ..edge
        };
        assert_eq!(refused(later), ErrorCode::InvalidTimestamp);
        let stamped = BatchSummary {
            log_append_time: true,
            ..edge
        };
        assert_eq!(refused(stamped), ErrorCode::InvalidTimestamp);
    }

    #[test]
    fn the_leaders_clock_replaces_any_timestamp_under_log_append_time() {
        let rules = ProduceRules {
            timestamp_type: TimestampType::LogAppendTime,
            timestamp_before_max_ms: 1,
            ..rules()
        };
        let late = BatchSummary {
            max_timestamp: i64::MAX,
            ..batch(1)
        };
        let treatment = validate_batch(&late, &rules, NOW).unwrap();
        assert_eq!(
            treatment,
            Treatment {
                log_append_time: true,
                ..Treatment::default()
            }
        );
    }

    #[test]
    fn records_are_looked_at_only_where_the_header_cannot_tell() {
        let bounded = ProduceRules {
            timestamp_before_max_ms: 1_000,
            ..rules()
        };
        let lone = BatchSummary {
            max_timestamp: NOW - 1_000,
            ..batch(1)
        };
        assert_eq!(validate_batch(&lone, &bounded, NOW).unwrap().check, None);
        let several = BatchSummary {
            max_timestamp: NOW,
            ..batch(2)
        };
        let check = validate_batch(&several, &bounded, NOW)
            .unwrap()
            .check
            .unwrap();
        assert_eq!(check.check(0, NOW - 1_000, false), Ok(()));
        assert_eq!(check.check(1, NO_TIMESTAMP, false), Ok(()));
        let refused = check.check(1, NOW - 1_001, false).unwrap_err();
        assert_eq!(
            (refused.index, refused.rejection.code),
            (1, ErrorCode::InvalidTimestamp)
        );
    }

    #[test]
    fn a_compacted_topic_refuses_a_record_without_a_key() {
        let rules = ProduceRules {
            require_keys: true,
            ..rules()
        };
        let check = validate_batch(&batch(2), &rules, NOW)
            .unwrap()
            .check
            .unwrap();
        assert_eq!(check.check(0, NOW, true), Ok(()));
        assert_eq!(
            check.check(1, NOW, false).unwrap_err().rejection.code,
            ErrorCode::InvalidRecord
        );
    }

    #[test]
    fn a_topic_with_its_own_codec_compresses_what_comes_with_another() {
        let rules = ProduceRules {
            compression: CompressionSetting::Codec(Compression::Zstd),
            ..rules()
        };
        assert_eq!(
            validate_batch(&batch(1), &rules, NOW).unwrap().recompress,
            Some(Compression::Zstd)
        );
        let zstd = BatchSummary {
            compression: Some(Compression::Zstd),
            ..batch(1)
        };
        assert!(validate_batch(&zstd, &rules, NOW).unwrap().is_opaque());
    }
}
