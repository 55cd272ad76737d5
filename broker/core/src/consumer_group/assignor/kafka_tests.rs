//! The same subscriptions give the same assignments as in Kafka 4.3.
//!
//! `kafka_assignments.txt` holds what Kafka's own assignors gave for random groups, three steps each
//! with a change of members, subscriptions or partitions between them:
//!
//! ```text
//! assignor partitions,of,topics  member instance topics target-before target-after  member …
//! ```

use std::collections::BTreeSet;

use moldau_protocol::types::{KString, Uuid};

use super::{Assignor, Input, Subscriber};
use crate::consumer_group::partitions::Partitions;

struct Member {
    id: KString,
    instance: Option<KString>,
    topics: BTreeSet<Uuid>,
    before: Partitions,
    after: Partitions,
}

fn topic_id(topic: &str) -> Uuid {
    let mut id = [0; 16];
    id[15] = topic.parse::<u8>().expect("a small number") + 1;
    Uuid(id)
}

fn list(text: &str, separator: char) -> Vec<&str> {
    let parts = text.split(separator);
    parts
        .filter(|part| !part.is_empty() && *part != "-")
        .collect()
}

fn partitions(text: &str) -> Partitions {
    let of_topic = |topic: &str| {
        let (topic, indexes) = topic.split_once(':').expect("topic:partitions");
        let indexes = list(indexes, ',')
            .into_iter()
            .map(|index| index.parse().expect("a number"));
        indexes
            .map(|index| (topic_id(topic), index))
            .collect::<Vec<_>>()
    };
    list(text, '/').into_iter().flat_map(of_topic).collect()
}

fn member(text: &str) -> Member {
    let [id, instance, topics, before, after] = list_of_five(text);
    Member {
        id: KString::copy_from(id),
        instance: (instance != "-").then(|| KString::copy_from(instance)),
        topics: list(topics, ',').into_iter().map(topic_id).collect(),
        before: partitions(before),
        after: partitions(after),
    }
}

fn list_of_five(text: &str) -> [&str; 5] {
    let fields: Vec<&str> = text.split(' ').collect();
    fields.try_into().expect("five fields")
}

fn subscriber(member: &Member) -> Subscriber<'_> {
    Subscriber {
        member_id: &member.id,
        instance_id: member.instance.as_ref(),
        topics: member.topics.clone(),
        target: Some(&member.before),
    }
}

#[test]
fn assignments_are_those_of_kafka() {
    for line in include_str!("kafka_assignments.txt").lines() {
        let (head, rest) = line.split_once("  ").expect("members");
        let (assignor, counts) = head.split_once(' ').expect("partitions");
        let assignor = Assignor::from_name(assignor).expect("an assignor");
        let counts = list(counts, ',').into_iter().enumerate();
        let counts = counts.map(|(topic, count)| {
            (
                topic_id(&topic.to_string()),
                count.parse().expect("a number"),
            )
        });
        let members: Vec<Member> = rest.split("  ").map(member).collect();
        let input = Input {
            members: members.iter().map(subscriber).collect(),
            partition_counts: counts.collect(),
            homogeneous: members
                .windows(2)
                .all(|pair| pair[0].topics == pair[1].topics),
        };
        let assigned = assignor.assign(&input);
        let expected: Vec<_> = members.iter().map(|member| member.after.clone()).collect();
        assert_eq!(assigned, expected, "{line}");
    }
}
