//! How the partitions of the subscribed topics are shared out among a group's members.

use std::collections::BTreeMap;

use bytes::Bytes;
use moldau_protocol::KString;

use crate::error::ClientError;
use crate::topic_partition::TopicPartition;

/// A strategy to share out partitions. Runs in the one member that the coordinator made the group's leader.
pub trait Assignor: Send + Sync + 'static {
    /// Name by which the members find a strategy that all of them have, such as `range`.
    fn name(&self) -> &str;

    /// Whether members keep reading while the group rebalances, and give up only what goes to others (KIP-429). Then a
    /// partition must not be given to a member while another one has it in its `owned_partitions`: leave it out,
    /// and the rebalance that follows can give it. All members of a group must agree on this.
    fn is_cooperative(&self) -> bool {
        false
    }

    /// What this member tells the leader beside its topics; asked before every join.
    fn subscription_user_data(&self) -> Option<Bytes> {
        None
    }

    /// Shares out the partitions. A member without an entry gets none.
    ///
    /// # Errors
    ///
    /// The partitions cannot be shared out. The leader's [`poll`](crate::Consumer::poll) gives the error.
    fn assign(
        &self,
        group: &GroupSubscriptions,
    ) -> Result<BTreeMap<KString, MemberAssignment>, ClientError>;

    /// Called in every member after each rebalance with what it got.
    fn on_assignment(&self, assignment: &MemberAssignment, generation: i32) {
        let _ = (assignment, generation);
    }
}

/// A group at a rebalance.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GroupSubscriptions {
    /// The members.
    pub members: Vec<MemberSubscription>,
    /// Number of partitions of each topic that any member subscribes to; topics that do not exist are left out.
    pub partition_counts: BTreeMap<KString, i32>,
}

/// What one member wants.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MemberSubscription {
    /// Id, given by the coordinator.
    pub member_id: KString,
    /// Static name, if it has one.
    pub group_instance_id: Option<KString>,
    /// The topics.
    pub topics: Vec<KString>,
    /// What it had before the rebalance, where it tells.
    pub owned_partitions: Vec<TopicPartition>,
    /// The generation in which it had them, where it tells.
    pub generation: Option<i32>,
    /// What its strategy adds.
    pub user_data: Option<Bytes>,
}

/// What one member gets.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MemberAssignment {
    /// Its partitions.
    pub partitions: Vec<TopicPartition>,
    /// What the leader's strategy adds.
    pub user_data: Option<Bytes>,
}

/// Kafka's `range`: per topic, neighbouring partitions to each member in the order of their ids.
#[derive(Clone, Copy, Debug, Default)]
pub struct RangeAssignor;

impl Assignor for RangeAssignor {
    fn name(&self) -> &str {
        "range"
    }

    fn assign(
        &self,
        group: &GroupSubscriptions,
    ) -> Result<BTreeMap<KString, MemberAssignment>, ClientError> {
        let members = in_order(&group.members);
        let mut assignments = BTreeMap::new();
        for (topic, count) in &group.partition_counts {
            let subscribed: Vec<_> = members
                .iter()
                .filter(|member| member.topics.contains(topic))
                .collect();
            let count = usize::try_from(*count).unwrap_or(0);
            let mut next = 0;
            for (place, member) in subscribed.iter().enumerate() {
                let extra = usize::from(place < count % subscribed.len());
                let share = count / subscribed.len() + extra;
                give(&mut assignments, member, topic, next..next + share);
                next += share;
            }
        }
        Ok(assignments)
    }
}

/// Kafka's `roundrobin`: all partitions of all topics in turn to the members in the order of their ids.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobinAssignor;

impl Assignor for RoundRobinAssignor {
    fn name(&self) -> &str {
        "roundrobin"
    }

    fn assign(
        &self,
        group: &GroupSubscriptions,
    ) -> Result<BTreeMap<KString, MemberAssignment>, ClientError> {
        let members = in_order(&group.members);
        let mut assignments = BTreeMap::new();
        let mut turn = members.iter().cycle();
        for (topic, count) in &group.partition_counts {
            if !members.iter().any(|member| member.topics.contains(topic)) {
                continue;
            }
            for partition in 0..usize::try_from(*count).unwrap_or(0) {
                let next = turn.by_ref().find(|member| member.topics.contains(topic));
                if let Some(member) = next {
                    give(&mut assignments, member, topic, partition..partition + 1);
                }
            }
        }
        Ok(assignments)
    }
}

/// Members in the order that Kafka's assignors use: static ones by their names first, then the others by id.
fn in_order(members: &[MemberSubscription]) -> Vec<&MemberSubscription> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by(
        |left, right| match (&left.group_instance_id, &right.group_instance_id) {
            (Some(left), Some(right)) => left.cmp(right),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => left.member_id.cmp(&right.member_id),
        },
    );
    members
}

fn give(
    assignments: &mut BTreeMap<KString, MemberAssignment>,
    member: &MemberSubscription,
    topic: &KString,
    partitions: std::ops::Range<usize>,
) {
    let assignment = assignments.entry(member.member_id.clone()).or_default();
    assignment
        .partitions
        .extend(partitions.map(|partition| TopicPartition {
            topic: topic.clone(),
            partition: partition as i32,
        }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &'static str, topics: &[&'static str]) -> MemberSubscription {
        MemberSubscription {
            member_id: id.into(),
            topics: topics.iter().map(|topic| KString::from(*topic)).collect(),
            ..MemberSubscription::default()
        }
    }

    fn check(
        assignor: &dyn Assignor,
        members: &[MemberSubscription],
        topics: &[(&'static str, i32)],
        expected: &[(&str, &str)],
    ) {
        let group = GroupSubscriptions {
            members: members.to_vec(),
            partition_counts: topics
                .iter()
                .map(|(topic, count)| (KString::from(*topic), *count))
                .collect(),
        };
        let assignments = assignor.assign(&group).unwrap();
        let shown: Vec<_> = assignments
            .iter()
            .map(|(member, assignment)| {
                let partitions: Vec<_> = assignment
                    .partitions
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                (member.to_string(), partitions.join(" "))
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(member, partitions)| ((*member).to_owned(), (*partitions).to_owned()))
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn range_gives_neighbours_and_the_first_members_get_one_more() {
        check(
            &RangeAssignor,
            &[member("b", &["x", "y"]), member("a", &["x", "y"])],
            &[("x", 3), ("y", 2)],
            &[("a", "x-0 x-1 y-0"), ("b", "x-2 y-1")],
        );
    }

    #[test]
    fn range_gives_a_topic_only_to_its_subscribers() {
        check(
            &RangeAssignor,
            &[member("a", &["x"]), member("b", &["y"])],
            &[("x", 2), ("y", 2)],
            &[("a", "x-0 x-1"), ("b", "y-0 y-1")],
        );
    }

    #[test]
    fn round_robin_goes_on_from_topic_to_topic() {
        check(
            &RoundRobinAssignor,
            &[member("a", &["x", "y"]), member("b", &["x", "y"])],
            &[("x", 3), ("y", 3)],
            &[("a", "x-0 x-2 y-1"), ("b", "x-1 y-0 y-2")],
        );
    }

    #[test]
    fn round_robin_skips_members_without_the_topic() {
        check(
            &RoundRobinAssignor,
            &[member("a", &["x"]), member("b", &["x", "y"])],
            &[("x", 1), ("y", 2)],
            &[("a", "x-0"), ("b", "y-0 y-1")],
        );
    }

    #[test]
    fn topics_without_subscriber_are_nobodys() {
        for assignor in [&RangeAssignor as &dyn Assignor, &RoundRobinAssignor] {
            check(assignor, &[], &[("x", 2)], &[]);
        }
    }
}
