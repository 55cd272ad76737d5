//! `moldau group`: list, describe with lag, reset, delete.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use moldau_client::admin::OffsetSpec;
use moldau_client::{Admin, OffsetAndMetadata, TopicPartition};
use serde::Serialize;

use crate::connection::ConnectionArgs;
use crate::output::{Output, count};

#[derive(Debug, Args)]
pub(crate) struct GroupArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    verb: GroupVerb,
}

#[derive(Debug, Subcommand)]
enum GroupVerb {
    /// List the consumer groups.
    List,
    /// Show the committed offsets, the lag and the members of a group.
    Describe {
        /// Name of the group.
        group: String,
    },
    /// Move a group that has no members to the start or end of what it has read.
    Reset {
        /// Name of the group.
        group: String,
        /// Where the group goes on.
        #[arg(long)]
        to: ResetTo,
        /// Only this topic.
        #[arg(long)]
        topic: Option<String>,
    },
    /// Delete groups that have no members, with their offsets.
    Delete {
        /// Names of the groups.
        #[arg(required = true)]
        groups: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ResetTo {
    Start,
    End,
}

/// Runs `moldau group …`.
///
/// # Errors
/// The cluster cannot be reached or refuses the request.
pub(crate) async fn run(args: GroupArgs, output: Output) -> anyhow::Result<()> {
    let admin = args.connection.connect().await?.admin();
    match args.verb {
        GroupVerb::List => list(&admin, output).await,
        GroupVerb::Describe { group } => describe(&admin, &group, output).await,
        GroupVerb::Reset { group, to, topic } => {
            reset(&admin, &group, to, topic.as_deref(), output).await
        }
        GroupVerb::Delete { groups } => {
            for (group, result) in admin.delete_groups(&groups).await? {
                result?;
                output.line(format_args!("group {group} deleted"))?;
            }
            Ok(())
        }
    }
}

#[derive(Debug, Serialize)]
struct GroupRow {
    group: String,
    state: String,
    protocol_type: String,
}

async fn list(admin: &Admin, output: Output) -> anyhow::Result<()> {
    let mut rows: Vec<GroupRow> = admin
        .list_groups()
        .await?
        .into_iter()
        .map(|group| GroupRow {
            group: group.group_id,
            state: group.state,
            protocol_type: group.protocol_type,
        })
        .collect();
    rows.sort_by(|a, b| a.group.cmp(&b.group));
    output.rows(&["GROUP", "STATE", "PROTOCOL"], &rows, |row| {
        vec![
            row.group.clone(),
            row.state.clone(),
            row.protocol_type.clone(),
        ]
    })
}

#[derive(Debug, Serialize)]
struct LagRow {
    topic: String,
    partition: i32,
    committed_offset: i64,
    end_offset: i64,
    lag: i64,
}

#[derive(Debug, Serialize)]
struct GroupDescription {
    group: String,
    state: String,
    members: Vec<MemberRow>,
    offsets: Vec<LagRow>,
}

#[derive(Debug, Serialize)]
struct MemberRow {
    member_id: String,
    client_id: String,
    host: String,
}

async fn describe(admin: &Admin, group: &str, output: Output) -> anyhow::Result<()> {
    let Some(described) = admin
        .describe_groups(&[group.to_owned()])
        .await?
        .into_iter()
        .next()
    else {
        bail!("group {group:?} was not described by its coordinator");
    };
    let offsets = lag(admin, group).await?;
    if described.state == "Dead" && offsets.is_empty() {
        bail!(
            "group {group:?} does not exist\nhint: `moldau group list` shows the groups there are"
        );
    }
    let members = described
        .members
        .into_iter()
        .map(|member| MemberRow {
            member_id: member.member_id,
            client_id: member.client_id,
            host: member.client_host,
        })
        .collect();
    let description = GroupDescription {
        group: group.to_owned(),
        state: described.state,
        members,
        offsets,
    };
    if output.is_json() {
        return output.object(&description);
    }
    output.line(format_args!("group     {}", description.group))?;
    output.line(format_args!("state     {}", description.state))?;
    for member in &description.members {
        output.line(format_args!(
            "member    {} ({}, {})",
            member.member_id, member.client_id, member.host
        ))?;
    }
    output.rows(
        &["TOPIC", "PARTITION", "COMMITTED", "END", "LAG"],
        &description.offsets,
        |row| {
            vec![
                row.topic.clone(),
                row.partition.to_string(),
                row.committed_offset.to_string(),
                row.end_offset.to_string(),
                count(row.lag.max(0).unsigned_abs()),
            ]
        },
    )
}

async fn lag(admin: &Admin, group: &str) -> anyhow::Result<Vec<LagRow>> {
    let committed = admin.group_offsets(group).await?;
    let wanted: Vec<_> = committed
        .keys()
        .map(|partition| (partition.clone(), OffsetSpec::Latest))
        .collect();
    let ends = admin.list_offsets(&wanted).await?;
    Ok(committed
        .into_iter()
        .map(|(partition, committed)| {
            let end = ends
                .get(&partition)
                .map_or(committed.offset, |listed| listed.offset);
            LagRow {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                committed_offset: committed.offset,
                end_offset: end,
                lag: end - committed.offset,
            }
        })
        .collect())
}

async fn reset(
    admin: &Admin,
    group: &str,
    to: ResetTo,
    topic: Option<&str>,
    output: Output,
) -> anyhow::Result<()> {
    let spec = match to {
        ResetTo::Start => OffsetSpec::Earliest,
        ResetTo::End => OffsetSpec::Latest,
    };
    let partitions: Vec<TopicPartition> = admin
        .group_offsets(group)
        .await?
        .into_keys()
        .filter(|partition| topic.is_none_or(|topic| partition.topic == topic))
        .collect();
    if partitions.is_empty() {
        bail!(
            "group {group:?} has no committed offsets{}",
            topic
                .map(|topic| format!(" for topic {topic:?}"))
                .unwrap_or_default()
        );
    }
    let wanted: Vec<_> = partitions
        .iter()
        .map(|partition| (partition.clone(), spec))
        .collect();
    let targets: BTreeMap<TopicPartition, OffsetAndMetadata> = admin
        .list_offsets(&wanted)
        .await?
        .into_iter()
        .map(|(partition, listed)| (partition, OffsetAndMetadata::new(listed.offset)))
        .collect();
    let changed = targets.len();
    admin
        .alter_group_offsets(group, targets.into_iter().collect())
        .await?;
    output.line(format_args!("group {group}: {changed} partitions moved"))
}
