//! `moldau topic`: list, describe, create, grow, delete.

use anyhow::bail;
use clap::{Args, Subcommand};
use moldau_client::admin::{NewTopic, OffsetSpec};
use moldau_client::{Admin, TopicPartition};
use serde::Serialize;

use crate::connection::{ConnectionArgs, offsets};
use crate::output::{Output, UsageError, count};

#[derive(Debug, Args)]
pub(crate) struct TopicArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    verb: TopicVerb,
}

#[derive(Debug, Subcommand)]
enum TopicVerb {
    /// List the topics.
    List {
        /// Show the internal topics as well.
        #[arg(long)]
        all: bool,
    },
    /// Show the partitions and settings of a topic.
    Describe {
        /// Name of the topic.
        topic: String,
    },
    /// Create topics.
    Create {
        /// Names of the topics.
        #[arg(required = true)]
        topics: Vec<String>,
        /// Number of partitions; the broker's `num.partitions` if not given.
        #[arg(short, long)]
        partitions: Option<i32>,
        /// Replicas of each partition; as many as the broker's default if not given.
        #[arg(short, long)]
        replication_factor: Option<i16>,
        /// A topic setting, as in `retention.ms=3600000`; may be repeated.
        #[arg(short, long = "config", value_name = "NAME=VALUE")]
        configs: Vec<String>,
    },
    /// Raise the number of partitions of a topic.
    AddPartitions {
        /// Name of the topic.
        topic: String,
        /// The number of partitions to have afterwards.
        #[arg(long)]
        to: i32,
    },
    /// Delete topics with all their records.
    Delete {
        /// Names of the topics.
        #[arg(required = true)]
        topics: Vec<String>,
    },
}

/// Runs `moldau topic …`.
///
/// # Errors
/// The cluster cannot be reached or refuses the request.
pub(crate) async fn run(args: TopicArgs, output: Output) -> anyhow::Result<()> {
    let admin = args.connection.connect().await?.admin();
    match args.verb {
        TopicVerb::List { all } => list(&admin, all, output).await,
        TopicVerb::Describe { topic } => describe(&admin, &topic, output).await,
        TopicVerb::Create {
            topics,
            partitions,
            replication_factor,
            configs,
        } => {
            let configs = configs
                .iter()
                .map(|text| setting(text))
                .collect::<Result<Vec<_>, _>>()?;
            let new = topics
                .iter()
                .map(|name| NewTopic {
                    name: name.clone(),
                    partitions: partitions.unwrap_or(-1),
                    replication_factor: replication_factor.unwrap_or(-1),
                    configs: configs.clone(),
                })
                .collect();
            report("created", admin.create_topics(new).await?, output)
        }
        TopicVerb::AddPartitions { topic, to } => {
            admin.create_partitions(&topic, to).await?;
            output.line(format_args!("topic {topic} has {to} partitions"))
        }
        TopicVerb::Delete { topics } => {
            report("deleted", admin.delete_topics(&topics).await?, output)
        }
    }
}

fn setting(text: &str) -> Result<(String, String), UsageError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(UsageError(format!(
            "--config {text:?} is not of the form NAME=VALUE"
        ))),
    }
}

#[derive(Debug, Serialize)]
struct TopicRow {
    topic: String,
    partitions: usize,
    replicas: usize,
    internal: bool,
}

async fn list(admin: &Admin, all: bool, output: Output) -> anyhow::Result<()> {
    let mut rows: Vec<TopicRow> = admin
        .list_topics()
        .await?
        .into_iter()
        .filter(|topic| all || !topic.is_internal)
        .map(|topic| TopicRow {
            topic: topic.name,
            partitions: topic.partitions.len(),
            replicas: topic
                .partitions
                .first()
                .map_or(0, |partition| partition.replicas.len()),
            internal: topic.is_internal,
        })
        .collect();
    rows.sort_by(|a, b| a.topic.cmp(&b.topic));
    output.rows(&["TOPIC", "PARTITIONS", "REPLICAS"], &rows, |row| {
        vec![
            row.topic.clone(),
            row.partitions.to_string(),
            row.replicas.to_string(),
        ]
    })
}

#[derive(Debug, Serialize)]
struct PartitionRow {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    start_offset: i64,
    end_offset: i64,
}

#[derive(Debug, Serialize)]
struct TopicDescription {
    topic: String,
    topic_id: String,
    partitions: Vec<PartitionRow>,
    configs: Vec<(String, Option<String>)>,
}

async fn describe(admin: &Admin, name: &str, output: Output) -> anyhow::Result<()> {
    let Some(topic) = admin
        .list_topics()
        .await?
        .into_iter()
        .find(|topic| topic.name == name)
    else {
        bail!(
            "topic {name:?} does not exist\nhint: `moldau topic list` shows the topics there are"
        );
    };
    let partitions: Vec<TopicPartition> = topic
        .partitions
        .iter()
        .map(|partition| TopicPartition::new(name, partition.partition))
        .collect();
    let starts = offsets(admin, &partitions, OffsetSpec::Earliest).await?;
    let ends = offsets(admin, &partitions, OffsetSpec::Latest).await?;
    let rows = topic
        .partitions
        .iter()
        .zip(&partitions)
        .map(|(partition, name)| PartitionRow {
            partition: partition.partition,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas.clone(),
            isr: partition.isr.clone(),
            start_offset: starts[name],
            end_offset: ends[name],
        })
        .collect();
    let configs = admin
        .describe_topic_configs(name)
        .await?
        .into_iter()
        .filter(|entry| !entry.is_default)
        .map(|entry| (entry.name, entry.value))
        .collect();
    let description = TopicDescription {
        topic: topic.name,
        topic_id: topic.topic_id.to_string(),
        partitions: rows,
        configs,
    };
    print_description(&description, output)
}

fn print_description(topic: &TopicDescription, output: Output) -> anyhow::Result<()> {
    if output.is_json() {
        return output.object(topic);
    }
    output.line(format_args!("topic     {}", topic.topic))?;
    output.line(format_args!("id        {}", topic.topic_id))?;
    for (name, value) in &topic.configs {
        output.line(format_args!(
            "setting   {name}={}",
            value.as_deref().unwrap_or("")
        ))?;
    }
    let heads = [
        "PARTITION",
        "LEADER",
        "EPOCH",
        "REPLICAS",
        "ISR",
        "START",
        "END",
        "RECORDS",
    ];
    output.rows(&heads, &topic.partitions, |row| {
        vec![
            row.partition.to_string(),
            row.leader
                .map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
            row.leader_epoch.to_string(),
            ids(&row.replicas),
            ids(&row.isr),
            row.start_offset.to_string(),
            row.end_offset.to_string(),
            count((row.end_offset - row.start_offset).max(0).unsigned_abs()),
        ]
    })
}

fn ids(ids: &[i32]) -> String {
    ids.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

#[derive(Debug, Serialize)]
struct Outcome {
    topic: String,
    ok: bool,
    error: Option<String>,
}

fn report<E: std::fmt::Display>(
    done: &str,
    results: Vec<(String, Result<(), E>)>,
    output: Output,
) -> anyhow::Result<()> {
    let rows: Vec<Outcome> = results
        .into_iter()
        .map(|(topic, result)| match result {
            Ok(()) => Outcome {
                topic,
                ok: true,
                error: None,
            },
            Err(error) => Outcome {
                topic,
                ok: false,
                error: Some(error.to_string()),
            },
        })
        .collect();
    output.rows(&["TOPIC", "STATUS"], &rows, |row| {
        vec![
            row.topic.clone(),
            row.error
                .clone()
                .map_or_else(|| done.to_owned(), |error| format!("error: {error}")),
        ]
    })?;
    match rows.iter().filter(|row| !row.ok).count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} topics were not {done}", rows.len()),
    }
}
