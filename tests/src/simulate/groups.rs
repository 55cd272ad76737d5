//! What groups were promised: who owns which partition, and which offsets are committed.

use std::collections::{BTreeMap, BTreeSet};

use moldau_core::coordinator::{CommittedOffset, Coordinator};
use moldau_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use moldau_protocol::messages::describe_groups::DescribedGroup;
use moldau_protocol::messages::sync_group::SyncGroupRequest;
use moldau_protocol::{KString, ResponseKind};

use super::consumers::assigned;

/// The promises to all groups.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// By group, generation and partition: the member that was told that it owns it.
    owners: BTreeMap<(usize, i32, i32), KString>,
    commits: BTreeMap<(usize, i32), Commits>,
    /// Which arrivals a request is about, by the tag that it got.
    tagged: BTreeMap<u64, Vec<(usize, i32, usize)>>,
    /// What each member of the new protocol was given last, by group and member.
    held: BTreeMap<(usize, KString), BTreeSet<i32>>,
    /// Whose heartbeat a request is, by its tag.
    beating: BTreeMap<u64, Beating>,
    /// Grows when a group is gone: what was asked of it says nothing of the next one of its name,
    /// although the answer may come later.
    incarnations: BTreeMap<usize, u64>,
    /// Who asks for its partitions, by the tag of the request.
    asking: BTreeMap<u64, Asking>,
    last_tag: u64,
    pub(super) generations: BTreeSet<(usize, i32)>,
    pub(super) acknowledged: u64,
}

/// A member of the new protocol that sent a heartbeat.
#[derive(Debug)]
struct Beating {
    group: usize,
    incarnation: u64,
    member: KString,
}

/// A member that asks for its partitions.
#[derive(Debug)]
struct Asking {
    group: usize,
    incarnation: u64,
    generation: i32,
    member: KString,
}

/// The history of one committed offset.
#[derive(Debug, Default)]
struct Commits {
    /// What was asked for, in the order in which it arrived; `None` deletes the offset.
    arrived: Vec<Option<i64>>,
    /// The latest of them that was acknowledged: nothing before it may be seen again.
    acknowledged: Option<usize>,
}

impl Promises {
    /// A request has arrived that asks for a member's partitions; the tag names it.
    pub(super) fn asks(&mut self, group: usize, request: &SyncGroupRequest) -> u64 {
        self.last_tag += 1;
        let instance = request.group_instance_id.as_ref();
        let asking = Asking {
            group,
            incarnation: self.incarnation(group),
            generation: request.generation_id,
            member: instance.unwrap_or(&request.member_id).clone(),
        };
        self.asking.insert(self.last_tag, asking);
        self.last_tag
    }

    /// A member is given partitions. What counts is what the broker says, not when it is heard: by
    /// then the group may be another one of the same name.
    fn owns(&mut self, asking: &Asking, partitions: &[u8]) {
        let Asking {
            group,
            generation,
            ref member,
            ..
        } = *asking;
        self.claim(
            group,
            generation,
            member,
            partitions.iter().map(|p| i32::from(*p)),
        );
    }

    fn claim(
        &mut self,
        group: usize,
        generation: i32,
        member: &KString,
        partitions: impl IntoIterator<Item = i32>,
    ) {
        self.generations.insert((group, generation));
        for partition in partitions {
            let key = (group, generation, partition);
            let owner = self.owners.entry(key).or_insert_with(|| member.clone());
            assert_eq!(
                owner, member,
                "two members own partition {partition} of group {group} in generation {generation}"
            );
        }
    }

    /// A heartbeat of the new protocol has arrived; the tag names it.
    pub(super) fn beats(&mut self, group: usize, request: &ConsumerGroupHeartbeatRequest) -> u64 {
        self.last_tag += 1;
        let instance = request.instance_id.as_ref();
        let beating = Beating {
            group,
            incarnation: self.incarnation(group),
            member: instance.unwrap_or(&request.member_id).clone(),
        };
        self.beating.insert(self.last_tag, beating);
        self.last_tag
    }

    /// What a member was given before and is not taken from it, it owns in the next epoch too.
    fn beat(&mut self, beating: Beating, answer: &ConsumerGroupHeartbeatResponse) {
        let member = (beating.group, beating.member);
        if answer.member_epoch < 0 {
            self.held.remove(&member);
            return;
        }
        if answer.assignment.is_some() {
            self.held.insert(member.clone(), assigned(answer));
        }
        let held = self.held.get(&member).cloned().unwrap_or_default();
        self.claim(member.0, answer.member_epoch, &member.1, held);
    }

    /// A request has arrived that sets an offset, or deletes some; the tag names it.
    pub(super) fn arrived(
        &mut self,
        group: usize,
        partitions: impl IntoIterator<Item = i32>,
        offset: Option<i64>,
    ) -> u64 {
        self.last_tag += 1;
        for partition in partitions {
            let commits = self.commits.entry((group, partition)).or_default();
            commits.arrived.push(offset);
            let place = (group, partition, commits.arrived.len() - 1);
            self.tagged.entry(self.last_tag).or_default().push(place);
        }
        self.last_tag
    }

    /// The broker answers the request of this tag.
    pub(super) fn answered(&mut self, tag: u64, response: &ResponseKind) {
        if let (Some(asking), ResponseKind::SyncGroup(response)) =
            (self.asking.remove(&tag), response)
            && response.error_code == 0
            && asking.incarnation == self.incarnation(asking.group)
        {
            self.owns(&asking, &response.assignment);
        }
        if let (Some(beating), ResponseKind::ConsumerGroupHeartbeat(response)) =
            (self.beating.remove(&tag), response)
            && response.error_code == 0
            && beating.incarnation == self.incarnation(beating.group)
        {
            self.beat(beating, response);
        }
        let places = self.tagged.remove(&tag).unwrap_or_default();
        if places.is_empty() || !is_good(response) {
            return;
        }
        self.acknowledged += 1;
        for (group, partition, index) in places {
            let commits = self.commits.entry((group, partition)).or_default();
            commits.acknowledged = commits.acknowledged.max(Some(index));
        }
    }

    /// A committed offset was read, or `None` was found.
    pub(super) fn check_offset(&self, group: usize, partition: i32, found: Option<i64>) {
        let empty = Commits::default();
        let commits = self.commits.get(&(group, partition)).unwrap_or(&empty);
        let from = commits.acknowledged.unwrap_or(0);
        let as_promised = commits.arrived.get(from..).unwrap_or_default();
        let nothing_yet = found.is_none() && commits.acknowledged.is_none();
        assert!(
            nothing_yet || as_promised.contains(&found),
            "group {group} finds {found:?} for partition {partition}, but {:?} was acknowledged \
             and only {as_promised:?} may be there",
            commits.arrived.get(from)
        );
    }

    /// The log of these groups lost records, as its flush mode allows.
    pub(super) fn forget(&mut self, group: usize) {
        self.forget_owners(group);
        for ((of, _), commits) in &mut self.commits {
            if *of == group {
                commits.acknowledged = None;
            }
        }
    }

    /// The group is gone: a new one of its name counts its generations from the beginning.
    pub(super) fn forget_owners(&mut self, group: usize) {
        self.owners.retain(|(of, ..), _| *of != group);
        self.held.retain(|(of, _), _| *of != group);
        *self.incarnations.entry(group).or_default() += 1;
    }

    fn incarnation(&self, group: usize) -> u64 {
        self.incarnations.get(&group).copied().unwrap_or_default()
    }
}

fn is_good(response: &ResponseKind) -> bool {
    match response {
        ResponseKind::OffsetCommit(response) => {
            let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.all(|partition| partition.error_code == 0)
        }
        ResponseKind::OffsetDelete(response) => {
            let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            response.error_code == 0 && partitions.all(|partition| partition.error_code == 0)
        }
        ResponseKind::DeleteGroups(response) => {
            response.results.iter().all(|group| group.error_code == 0)
        }
        _ => false,
    }
}

/// The committed offsets of a coordinator, by group and partition.
pub(super) fn offsets_of(coordinator: &Coordinator) -> BTreeMap<(KString, i32), CommittedOffset> {
    let mut offsets = BTreeMap::new();
    for group in coordinator.groups() {
        for (_, partition, committed) in group.offsets() {
            let key = (group.group_id().clone(), partition);
            offsets.insert(key, committed.clone());
        }
    }
    offsets
}

/// A coordinator says the same as the replay of its partition.
pub(super) fn check_replay(live: &Coordinator, replayed: &Coordinator) {
    assert_eq!(
        offsets_of(live),
        offsets_of(replayed),
        "the offsets of a coordinator and those of its replay"
    );
    let stable = |coordinator: &Coordinator| -> Vec<KString> {
        let stable = coordinator
            .groups()
            .filter(|group| group.state() == "Stable");
        stable.map(|group| group.group_id().clone()).collect()
    };
    for group in live.groups() {
        let described = live.describe_consumer_group(group.group_id());
        if described.error_code == 0 {
            assert_eq!(
                described,
                replayed.describe_consumer_group(group.group_id()),
                "a group of the new protocol and its replay"
            );
        }
    }
    for group_id in stable(live) {
        let describe = |coordinator: &Coordinator| -> DescribedGroup {
            coordinator.describe_group(&group_id, DESCRIBE_VERSION)
        };
        assert_eq!(
            describe(live),
            describe(replayed),
            "group {group_id} and its replay"
        );
    }
}

const DESCRIBE_VERSION: i16 = 6;
