//! `moldau consume`: prints the records of a topic, from a place on, live or to the end.

use std::collections::BTreeMap;
use std::io::Write;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use moldau_client::admin::OffsetSpec;
use moldau_client::{
    Client, Consumer, ConsumerConfig, Isolation, OffsetAndMetadata, OffsetReset, SeekTo,
    TopicPartition,
};
use moldau_protocol::batch::Record;
use serde_json::{Value, json};

use crate::connection::{ConnectionArgs, offsets};
use crate::output::Output;
use crate::shutdown::Shutdown;

/// How long one poll waits for records before the end is looked at again.
const POLL_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Topic to read.
    topic: String,
    /// Where to begin: `start`, `end`, an offset, or `-N` for the last N records of each partition.
    #[arg(short, long, default_value = "start", allow_hyphen_values = true)]
    from: From,
    /// Only this partition.
    #[arg(short, long)]
    partition: Option<i32>,
    /// Stop after this many records.
    #[arg(short = 'n', long, value_name = "N")]
    max_records: Option<u64>,
    /// Stop at the end that the topic had when the command began.
    #[arg(short, long)]
    exit_at_end: bool,
    /// Read as a member of this consumer group and commit what was printed.
    #[arg(short, long, conflicts_with_all = ["partition", "exit_at_end"])]
    group: Option<String>,
    /// Print the key before the value, separated by this text.
    #[arg(short = 'K', long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// Show only records of committed transactions.
    #[arg(long)]
    read_committed: bool,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Start,
    End,
    Offset(i64),
    Last(i64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "start" | "beginning" => return Ok(Self::Start),
            "end" => return Ok(Self::End),
            _ => {}
        }
        match text.parse::<i64>() {
            Ok(number) if number < 0 => Ok(Self::Last(number.saturating_neg())),
            Ok(number) => Ok(Self::Offset(number)),
            Err(_) => {
                Err("expected `start`, `end`, an offset, or `-N` for the last N records".to_owned())
            }
        }
    }
}

/// Runs `moldau consume …`.
///
/// # Errors
/// The topic does not exist or cannot be read.
pub(crate) async fn run(args: ConsumeArgs, output: Output) -> anyhow::Result<()> {
    let client = args.connection.connect().await?;
    let mut shutdown = Shutdown::listen()?;
    let mut reader = Reader::open(&client, &args).await?;
    tokio::select! {
        result = reader.print(&args, output) => result?,
        () = shutdown.requested() => {}
    }
    reader.consumer.close().await;
    Ok(())
}

struct Reader {
    consumer: Consumer,
    /// Exclusive end of each partition that is not yet reached; `None` reads for ever.
    ends: Option<BTreeMap<TopicPartition, i64>>,
    printed: u64,
}

impl Reader {
    async fn open(client: &Client, args: &ConsumeArgs) -> anyhow::Result<Self> {
        let Some(partitions) = client.partition_count(&args.topic).await? else {
            bail!(
                "topic {:?} does not exist\nhint: `moldau topic list` shows the topics there are",
                args.topic
            );
        };
        let isolation = if args.read_committed {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        };
        let reset = if args.from == From::End {
            OffsetReset::Latest
        } else {
            OffsetReset::Earliest
        };
        let mut consumer = client.consumer(ConsumerConfig {
            group_id: args.group.clone(),
            auto_offset_reset: reset,
            isolation,
            ..ConsumerConfig::default()
        });
        if args.group.is_some() {
            consumer.subscribe(&[&args.topic])?;
            return Ok(Self {
                consumer,
                ends: None,
                printed: 0,
            });
        }
        let assigned: Vec<TopicPartition> = (0..partitions)
            .filter(|partition| args.partition.is_none_or(|wanted| wanted == *partition))
            .map(|partition| TopicPartition::new(&args.topic, partition))
            .collect();
        if assigned.is_empty() {
            bail!(
                "topic {:?} has no partition {}: it has {partitions}",
                args.topic,
                args.partition.unwrap_or(0)
            );
        }
        let admin = client.admin();
        let starts = offsets(&admin, &assigned, OffsetSpec::Earliest).await?;
        let ends = offsets(&admin, &assigned, OffsetSpec::Latest).await?;
        consumer.assign(assigned.clone());
        for partition in &assigned {
            let (start, end) = (starts[partition], ends[partition]);
            let begin = match args.from {
                From::Start => start,
                From::End => end,
                From::Offset(offset) => offset.clamp(start, end),
                From::Last(count) => end.saturating_sub(count).max(start),
            };
            consumer.seek_to(partition, SeekTo::Offset(begin)).await?;
        }
        let ends = args.exit_at_end.then(|| {
            let mut ends = ends;
            ends.retain(|partition, end| starts[partition] < *end);
            ends
        });
        Ok(Self {
            consumer,
            ends,
            printed: 0,
        })
    }

    async fn print(&mut self, args: &ConsumeArgs, output: Output) -> anyhow::Result<()> {
        while !self.is_done(args) {
            let poll = self.consumer.poll(POLL_TIMEOUT).await?;
            let mut out = std::io::stdout().lock();
            let mut next = BTreeMap::new();
            for batch in &poll.batches {
                for record in batch.records()? {
                    let record = record
                        .with_context(|| format!("decode a record of {}", batch.topic_partition))?;
                    let end = self
                        .ends
                        .as_ref()
                        .and_then(|ends| ends.get(&batch.topic_partition));
                    if self.is_full(args)
                        || (self.ends.is_some() && end.is_none_or(|end| record.offset >= *end))
                    {
                        break;
                    }
                    write_record(&mut out, &batch.topic_partition, &record, args, output)?;
                    self.printed += 1;
                    next.insert(batch.topic_partition.clone(), record.offset + 1);
                }
            }
            out.flush()?;
            drop(out);
            self.forget_finished();
            if args.group.is_some() && !next.is_empty() {
                let offsets: Vec<_> = next
                    .into_iter()
                    .map(|(partition, offset)| (partition, OffsetAndMetadata::new(offset)))
                    .collect();
                self.consumer.commit(&offsets).await?;
            }
        }
        Ok(())
    }

    fn is_done(&self, args: &ConsumeArgs) -> bool {
        self.is_full(args) || self.ends.as_ref().is_some_and(BTreeMap::is_empty)
    }

    fn is_full(&self, args: &ConsumeArgs) -> bool {
        args.max_records.is_some_and(|max| self.printed >= max)
    }

    /// A partition is finished by its position, not by a printed record: the last offsets may hold
    /// transaction markers or compacted records that nobody ever sees.
    fn forget_finished(&mut self) {
        if let Some(ends) = &mut self.ends {
            ends.retain(|partition, end| {
                self.consumer
                    .position(partition)
                    .is_none_or(|position| position < *end)
            });
        }
    }
}

fn write_record(
    out: &mut impl Write,
    partition: &TopicPartition,
    record: &Record,
    args: &ConsumeArgs,
    output: Output,
) -> std::io::Result<()> {
    if output.is_json() {
        return writeln!(out, "{}", record_json(partition, record));
    }
    if let Some(separator) = &args.key_separator {
        out.write_all(record.key.as_deref().unwrap_or_default())?;
        out.write_all(separator.as_bytes())?;
    }
    out.write_all(record.value.as_deref().unwrap_or_default())?;
    out.write_all(b"\n")
}

/// One record as JSON; a value that is JSON is embedded as such, other text as a string, and bytes
/// that are not UTF-8 as `{"base16": "…"}`.
pub(crate) fn record_json(partition: &TopicPartition, record: &Record) -> Value {
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|header| json!({ "key": header.key.as_str(), "value": header.value.as_deref().map(text_json) }))
        .collect();
    json!({
        "topic": partition.topic.as_str(),
        "partition": partition.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": record.key.as_deref().map(text_json),
        "value": record.value.as_deref().map(value_json),
        "headers": headers,
    })
}

fn value_json(bytes: &[u8]) -> Value {
    match bytes.first() {
        Some(b'{' | b'[') => serde_json::from_slice(bytes).unwrap_or_else(|_| text_json(bytes)),
        _ => text_json(bytes),
    }
}

fn text_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => {
            json!({ "base16": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_to_begin_is_a_word_an_offset_or_a_count_from_the_end() {
        assert_eq!("start".parse(), Ok(From::Start));
        assert_eq!("end".parse(), Ok(From::End));
        assert_eq!("17".parse(), Ok(From::Offset(17)));
        assert_eq!("-10".parse(), Ok(From::Last(10)));
        assert!("yesterday".parse::<From>().is_err());
    }

    #[test]
    fn values_are_embedded_as_json_where_they_are_json() {
        assert_eq!(value_json(br#"{"a":1}"#), json!({ "a": 1 }));
        assert_eq!(value_json(b"{broken"), json!("{broken"));
        assert_eq!(value_json(&[0xff, 0x00]), json!({ "base16": "ff00" }));
    }
}
