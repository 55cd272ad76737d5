//! Idempotent and transactional producers.

use crate::config::setting::{Rule, Setting, SettingKind};

const ONE_REPLICA: &str = "a cluster of one node keeps one replica";

#[rustfmt::skip]
pub(super) const ROWS: &[Setting] = &[
    Setting::int("producer.id.expiration.ms", "86400000", "How long a partition remembers an idempotent producer that is silent.").rule(Rule::AtLeast(1)).dynamic(),
    Setting::int("transaction.abort.timed.out.transaction.cleanup.interval.ms", "10000", "How often transactions that took too long are looked for.").rule(Rule::AtLeast(1)).default_only(),
    Setting::int("transaction.max.timeout.ms", "900000", "Longest transaction timeout that a producer may ask for.").rule(Rule::AtLeast(1)),
    Setting::boolean("transaction.partition.verification.enable", "true", "Whether a partition accepts transactional records of open transactions alone."),
    Setting::int("transaction.remove.expired.transaction.cleanup.interval.ms", "3600000", "How often expired transactional ids are looked for.").rule(Rule::AtLeast(1)),
    Setting::ignored("transaction.state.log.min.isr", SettingKind::Int, ONE_REPLICA),
    Setting::int("transaction.state.log.num.partitions", "50", "Partitions of `__transaction_state` when it is created.").rule(Rule::AtLeast(1)),
    Setting::short("transaction.state.log.replication.factor", "3", "Replicas of `__transaction_state`, at most one on each live node.").rule(Rule::AtLeast(1)),
    Setting::int("transaction.state.log.segment.bytes", "104857600", "Largest segment file of `__transaction_state`.").rule(Rule::AtLeast(1_048_576)),
    Setting::int("transactional.id.expiration.ms", "604800000", "How long a transactional id without a transaction is remembered.").rule(Rule::AtLeast(1)),
];
