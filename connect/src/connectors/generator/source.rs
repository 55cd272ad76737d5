//! Source `generator` at work.
//!
//! Record `n` depends on the seed and `n` alone, so a restart goes on with the next record, and a
//! second run with the same seed makes the same records (except for timestamps).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{FieldGenerator, GeneratorSpec};
use crate::runtime::error::ConnectError;
use crate::runtime::source::{OffsetEntry, PositionTag, Source, SourceBatch, SourceRecord, Stored};

/// Makes records at a steady rate.
#[derive(Debug)]
pub(crate) struct GeneratorSource {
    spec: GeneratorSpec,
    /// Number of the next record, from 0.
    next: u64,
    /// Since when, and from which number on, the rate is kept.
    pace: Option<(Instant, u64)>,
    part: Arc<str>,
}

impl GeneratorSource {
    pub(crate) fn new(spec: &GeneratorSpec) -> Self {
        let part = Arc::from(format!("generator-{:x}", spec.seed));
        Self {
            spec: spec.clone(),
            next: 0,
            pace: None,
            part,
        }
    }

    fn offset_key(&self) -> Value {
        json!({"generator": self.spec.seed})
    }

    fn record(&self, number: u64, timestamp: i64) -> SourceRecord {
        let mut value = Map::new();
        for (index, (name, generator)) in self.spec.fields.iter().enumerate() {
            let mut random = Random::new(self.spec.seed, number, index as u64);
            value.insert(name.clone(), generator.make(number, timestamp, &mut random));
        }
        let tag = PositionTag {
            part: self.part.clone(),
            position: number,
            check: 0,
        };
        SourceRecord {
            timestamp,
            value: Value::Object(value),
            tag: Some(tag),
            ..SourceRecord::default()
        }
    }

    /// Records that are due now.
    fn due(&self, started: Instant, first: u64) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "elapsed time times rate is small and not negative"
        )]
        let should_be = (started.elapsed().as_secs_f64() * self.spec.records_per_second) as u64 + 1;
        let due = (first + should_be).saturating_sub(self.next).min(MAX_BATCH);
        self.spec
            .count
            .map_or(due, |count| due.min(count.saturating_sub(self.next)))
    }

    fn is_finished(&self) -> bool {
        self.spec.count.is_some_and(|count| self.next >= count)
    }
}

impl Source for GeneratorSource {
    fn restore(&mut self, stored: Stored) -> Result<(), ConnectError> {
        let key = self.offset_key();
        let entry = stored.entries.iter().find(|(known, _)| *known == key);
        self.next = entry
            .and_then(|(_, value)| value.get("next")?.as_u64())
            .unwrap_or(0);
        Ok(())
    }

    async fn poll(&mut self) -> Result<SourceBatch, ConnectError> {
        let (started, first) = *self.pace.get_or_insert_with(|| (Instant::now(), self.next));
        let mut count = self.due(started, first);
        while count == 0 && !self.is_finished() {
            #[expect(clippy::cast_precision_loss, reason = "a pause need not be exact")]
            let next = (self.next - first) as f64 / self.spec.records_per_second;
            tokio::time::sleep_until(started + Duration::from_secs_f64(next)).await;
            count = self.due(started, first);
        }
        let timestamp = chrono::Utc::now().timestamp_millis();
        let numbers = self.next..self.next + count;
        let records = numbers
            .map(|number| self.record(number, timestamp))
            .collect();
        self.next += count;
        let after = vec![OffsetEntry {
            key: self.offset_key(),
            value: Some(json!({"next": self.next})),
        }];
        Ok(SourceBatch {
            records,
            before: Vec::new(),
            after,
            finished: self.is_finished(),
        })
    }
}

impl FieldGenerator {
    fn make(&self, number: u64, timestamp: i64, random: &mut Random) -> Value {
        match self {
            Self::Sequence { start, step } => {
                let number = i64::try_from(number).unwrap_or(i64::MAX);
                Value::from(start.wrapping_add(step.wrapping_mul(number)))
            }
            Self::Integer { min, max } => {
                let span = max.wrapping_sub(*min).cast_unsigned();
                let random = random.next();
                let above = span.checked_add(1).map_or(random, |count| random % count);
                Value::from(min.wrapping_add(above.cast_signed()))
            }
            Self::Float { min, max, decimals } => {
                let scale = 10_f64.powi(i32::try_from(*decimals).unwrap_or(0));
                let value = min + random.fraction() * (max - min);
                Value::from(((value * scale).round() / scale).clamp(*min, *max))
            }
            Self::Choice(values) => {
                let index = random.next() % (values.len().max(1) as u64);
                let index = usize::try_from(index).unwrap_or(0);
                values.get(index).cloned().unwrap_or(Value::Null)
            }
            Self::Timestamp => Value::from(timestamp),
            Self::Text { words } => {
                let word =
                    |random: &mut Random| WORDS[(random.next() % WORDS.len() as u64) as usize];
                let words: Vec<&str> = (0..*words).map(|_| word(random)).collect();
                Value::from(words.join(" "))
            }
            Self::Constant(value) => value.clone(),
        }
    }
}

/// `SplitMix64`: small, well spread, and the same in every version.
struct Random(u64);

impl Random {
    fn new(seed: u64, number: u64, field: u64) -> Self {
        let mut random = Self(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.0 ^= random.next() ^ field.wrapping_mul(0xa076_1d64_78bd_642f);
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At least 0, below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Records that one poll gives at most.
const MAX_BATCH: u64 = 2_000;
const WORDS: [&str; 24] = [
    "river", "bridge", "water", "stone", "boat", "north", "valley", "mill", "spring", "meadow",
    "rain", "bank", "ferry", "island", "flood", "current", "source", "mouth", "lock", "weir",
    "otter", "reed", "trout", "heron",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> GeneratorSpec {
        let field = |name: &str, generator| (name.to_owned(), generator);
        GeneratorSpec {
            fields: vec![
                field("id", FieldGenerator::Sequence { start: 10, step: 5 }),
                field("n", FieldGenerator::Integer { min: -2, max: 2 }),
                field(
                    "any",
                    FieldGenerator::Integer {
                        min: i64::MIN,
                        max: i64::MAX,
                    },
                ),
                field(
                    "x",
                    FieldGenerator::Float {
                        min: 1.0,
                        max: 2.0,
                        decimals: 2,
                    },
                ),
                field("c", FieldGenerator::Choice(vec![json!("DE"), json!(7)])),
                field("note", FieldGenerator::Text { words: 3 }),
                field("fixed", FieldGenerator::Constant(json!(true))),
            ],
            records_per_second: 1e6,
            count: Some(500),
            seed: 42,
        }
    }

    async fn values(source: &mut GeneratorSource) -> Vec<Value> {
        let mut values = Vec::new();
        loop {
            let batch = source.poll().await.expect("a batch");
            values.extend(batch.records.into_iter().map(|record| record.value));
            if batch.finished {
                return values;
            }
        }
    }

    #[tokio::test]
    async fn the_same_seed_makes_the_same_records_and_stops_at_the_count() {
        let first = values(&mut GeneratorSource::new(&spec())).await;
        let second = values(&mut GeneratorSource::new(&spec())).await;
        assert_eq!(first.len(), 500);
        assert_eq!(first, second);
        let other = GeneratorSpec { seed: 43, ..spec() };
        assert_ne!(values(&mut GeneratorSource::new(&other)).await, first);
        for (number, value) in first.iter().enumerate() {
            assert_eq!(value["id"], json!(10 + 5 * number));
            assert!((-2..=2).contains(&value["n"].as_i64().expect("an integer")));
            assert!((1.0..=2.0).contains(&value["x"].as_f64().expect("a number")));
            assert_eq!(
                value["note"].as_str().expect("a text").split(' ').count(),
                3
            );
        }
        let countries: Vec<_> = first.iter().filter(|value| value["c"] == "DE").collect();
        assert!((200..300).contains(&countries.len()), "{}", countries.len());
    }

    #[tokio::test]
    async fn a_restart_goes_on_with_the_next_record() {
        let all = values(&mut GeneratorSource::new(&spec())).await;
        let mut source = GeneratorSource::new(&spec());
        let entries = vec![(source.offset_key(), json!({"next": 400}))];
        source
            .restore(Stored {
                entries,
                first_start: false,
            })
            .expect("restored");
        assert_eq!(values(&mut source).await, all[400..]);
    }
}
