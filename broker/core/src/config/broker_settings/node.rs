//! Who the node is, where it listens, and its limits.

use crate::config::setting::{Rule, Setting};

#[rustfmt::skip]
pub(super) const ROWS: &[Setting] = &[
    Setting::list("advertised.listeners", "", "Addresses that clients are told to connect to; unset, each client is told the address it came in on.").unset(),
    Setting::boolean("auto.create.topics.enable", "true", "Whether a topic that is asked for is created.").dynamic(),
    Setting::int("broker.id", "1", "The node's id under its older name.").rule(Rule::AtLeast(0)),
    Setting::string("broker.rack", "", "The rack that the node stands in, as consumers see it.").unset(),
    Setting::long("connections.max.idle.ms", "600000", "How long a connection may be silent before it is closed.").rule(Rule::AtLeast(0)).dynamic(),
    Setting::int("default.replication.factor", "1", "Replicas of topics that are created without a number.").rule(Rule::AtLeast(1)).dynamic(),
    Setting::boolean("delete.topic.enable", "true", "Whether topics can be deleted.").dynamic(),
    Setting::int("fetch.max.bytes", "57671680", "Largest answer to a fetch.").rule(Rule::AtLeast(1024)).dynamic(),
    Setting::list("listeners", "PLAINTEXT://:9092", "Addresses that the node listens on; without a host it is every address of both IP versions."),
    Setting::list("log.dir", "", "Older name of `log.dirs`, which wins where both are set.").unset(),
    Setting::list("log.dirs", "./moldau-data", "The one directory that holds everything the node keeps."),
    Setting::int("max.connections", "2147483647", "Connections that the node holds open; further ones are closed at once.").rule(Rule::AtLeast(0)).dynamic(),
    Setting::int("max.incremental.fetch.session.cache.slots", "1000", "Fetch sessions that are kept at once.").rule(Rule::AtLeast(0)),
    Setting::int("max.request.partition.size.limit", "2000", "Partitions in one answer to DescribeTopicPartitions.").rule(Rule::AtLeast(1)).dynamic(),
    Setting::int("node.id", "1", "The node's id.").rule(Rule::AtLeast(0)),
    Setting::int("num.partitions", "1", "Partitions of topics that are created without a number.").rule(Rule::AtLeast(1)).dynamic(),
    Setting::int("num.writer.threads", "", "Moldau's own: threads that append to partitions; unset, half of the cores and at most 4.").rule(Rule::AtLeast(1)).unset(),
    Setting::list("process.roles", "broker,controller", "What the node does in the cluster; one node does both.").only(&["broker,controller", "controller,broker"]),
    Setting::int("queued.max.requests", "500", "Appends that wait for one writer thread before producers have to wait.").rule(Rule::AtLeast(1)),
    Setting::int("request.timeout.ms", "30000", "How long an append by the broker itself, as for committed offsets, may take.").rule(Rule::AtLeast(1)),
    Setting::int("socket.request.max.bytes", "104857600", "Largest request that is read.").rule(Rule::AtLeast(1)),
    Setting::long("tail.cache.bytes", "67108864", "Moldau's own: memory for the newest batches of all partitions.").rule(Rule::AtLeast(0)),
];
