//! What tests may see of a consumer group.

use std::collections::BTreeMap;

use moldau_protocol::types::{KString, Uuid};

use super::{ConsumerGroup, held};

/// A member as tests see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) epoch: i32,
    pub(crate) assigned: Vec<(Uuid, i32)>,
    /// Also what it is to give up.
    pub(crate) held: Vec<(Uuid, i32)>,
    pub(crate) topics: Vec<Uuid>,
}

impl ConsumerGroup {
    /// All that the log keeps, in a form that can be compared.
    pub(crate) fn durable(&self) -> String {
        format!(
            "{:#?}",
            (
                self.epoch,
                self.target_epoch,
                &self.members,
                &self.current,
                &self.targets,
                &self.regexes,
                &self.static_members,
                &self.owners,
            )
        )
    }

    pub(crate) fn seen(&self, image: &crate::metadata::MetadataImage) -> BTreeMap<KString, Seen> {
        let see = |(member_id, member): (&KString, &super::Member)| {
            let current = self.current(member_id);
            let names = self.subscribed_names(member);
            let topics = names.iter().filter_map(|name| image.topic(name));
            let seen = Seen {
                epoch: current.member_epoch,
                assigned: current.assigned.partitions().iter().collect(),
                held: held(&current).collect(),
                topics: topics.map(|topic| topic.id).collect(),
            };
            (member_id.clone(), seen)
        };
        self.members.iter().map(see).collect()
    }

    pub(crate) fn assert_invariants(&self) {
        let mut owners: BTreeMap<(Uuid, i32), &KString> = BTreeMap::new();
        for (member_id, current) in &self.current {
            for at in held(current) {
                let other = owners.insert(at, member_id);
                assert!(
                    other.is_none() || other == Some(member_id),
                    "{at:?} is held by {other:?} and {member_id}"
                );
            }
        }
        let listed: Vec<_> = self.owners.iter().collect();
        let owners: Vec<_> = owners.into_iter().collect();
        assert_eq!(owners, listed, "owners agree with what members hold");
        for (instance, member_id) in &self.static_members {
            let member = self
                .members
                .get(member_id)
                .expect("a static member is a member");
            assert_eq!(member.instance_id.as_ref(), Some(instance));
        }
        assert!(self.target_epoch.epoch <= self.epoch.epoch);
        assert!(self.current.keys().all(|id| self.members.contains_key(id)));
        assert!(self.targets.keys().all(|id| self.members.contains_key(id)));
    }
}
