//! Which member of the group runs which tasks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use moldau_client::consumer::{Assignor, GroupSubscriptions, MemberAssignment};
use moldau_client::{ClientError, KString, TopicPartition};

use super::assignor_data::{self, AssignmentData, HostTasks, SubscriptionData};
use super::current_plan::CurrentPlan;
use super::shared::Shared;
use crate::runtime::error::StreamsError;
use crate::runtime::plan::Plan;
use crate::runtime::task_id::TaskId;

/// Hands out whole tasks: all partitions that a task reads go to one member.
///
/// A task stays with the member that has its state, or the newest of it, as long as the shares
/// stay even, in all and for each sub-topology; the rest goes to whoever has least. So a new or
/// a lost member moves few stores.
pub(super) struct TaskAssignor {
    pub(super) plan: Arc<CurrentPlan>,
    pub(super) shared: Arc<Shared>,
    pub(super) process_id: String,
    /// Which of its process's threads the member is.
    pub(super) thread: usize,
    pub(super) host: Option<String>,
    pub(super) num_standby_replicas: usize,
    /// Sub-topologies whose stores have changelogs.
    pub(super) stateful: BTreeSet<usize>,
}

impl Assignor for TaskAssignor {
    fn name(&self) -> &str {
        "moldau-streams"
    }

    fn subscription_user_data(&self) -> Option<Bytes> {
        let (generation, active, restoring) = self.shared.last_tasks(self.thread);
        let on_disk = self.shared.tasks_on_disk().into_iter();
        assignor_data::encode(&SubscriptionData {
            process_id: self.process_id.clone(),
            stop: self.shared.is_stop_asked(),
            host: self.host.clone(),
            active,
            restoring,
            generation,
            standby: self.caught_up_standbys(),
            on_disk: on_disk.map(|(id, used)| (id.to_string(), used)).collect(),
        })
    }

    fn on_assignment(&self, assignment: &MemberAssignment, generation: i32) {
        let data: AssignmentData = assignor_data::decode(assignment.user_data.as_ref());
        self.shared
            .set_assignment(self.thread, generation, data.clone());
        if data.stop && !self.shared.is_stop_asked() {
            self.shared.fail(StreamsError::StoppedByMember {
                group: self.shared.group().to_owned(),
            });
        }
    }

    fn assign(
        &self,
        group: &GroupSubscriptions,
    ) -> Result<BTreeMap<KString, MemberAssignment>, ClientError> {
        let plan = self.plan.get();
        check_partition_counts(&plan, &group.partition_counts)?;
        let mut members: Vec<_> = group.members.iter().collect();
        members.sort_by(|one, other| one.member_id.cmp(&other.member_id));
        if members.is_empty() {
            return Ok(BTreeMap::new());
        }
        let data: Vec<SubscriptionData> = members
            .iter()
            .map(|member| assignor_data::decode(member.user_data.as_ref()))
            .collect();
        let mut shares = vec![Share::default(); members.len()];
        let quotas = Quotas::new(&plan, members.len());
        let mut left = Vec::new();
        // Those with state first: they are the ones that should stay where they are.
        let mut tasks: Vec<_> = plan.tasks.keys().copied().collect();
        tasks.sort_by_key(|task| (!self.stateful.contains(&task.sub_topology), *task));
        for task in tasks {
            match keeper(task, &data, &shares, &quotas) {
                Some(keeper) => shares[keeper].add(task),
                None => left.push(task),
            }
        }
        for task in left {
            let least = (0..shares.len()).min_by_key(|index| shares[*index].load(task));
            if let Some(least) = least {
                shares[least].add(task);
            }
        }
        even_out(&mut shares);
        for share in &mut shares {
            share.tasks.sort_unstable();
        }
        let standbys = self.standbys(&shares, &data);
        let answers = answers(&shares, &standbys, &data);
        let assignment = |(share, answer): (Share, AssignmentData)| MemberAssignment {
            partitions: share
                .tasks
                .iter()
                .flat_map(|task| partitions(&plan, *task))
                .collect(),
            user_data: assignor_data::encode(&answer),
        };
        let ids = members.iter().map(|member| member.member_id.clone());
        let shares = shares.into_iter().zip(answers);
        Ok(ids.zip(shares.map(assignment)).collect())
    }
}

/// What each member is told: its standby tasks, and what runs where.
fn answers(
    shares: &[Share],
    standbys: &[Vec<TaskId>],
    data: &[SubscriptionData],
) -> Vec<AssignmentData> {
    let names = |tasks: &[TaskId]| tasks.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut hosts: BTreeMap<String, HostTasks> = BTreeMap::new();
    for (index, member) in data.iter().enumerate() {
        if let Some(host) = &member.host {
            let tasks = hosts.entry(host.clone()).or_default();
            tasks.active.extend(names(&shares[index].tasks));
            tasks.standby.extend(names(&standbys[index]));
        }
    }
    let answer = |(share, standby): (&Share, &Vec<TaskId>)| AssignmentData {
        stop: data.iter().any(|member| member.stop),
        active: names(&share.tasks),
        standby: names(standby),
        hosts: hosts.clone(),
    };
    shares.iter().zip(standbys).map(answer).collect()
}

/// The tasks of one member.
#[derive(Clone, Debug, Default)]
struct Share {
    tasks: Vec<TaskId>,
}

impl Share {
    fn add(&mut self, task: TaskId) {
        self.tasks.push(task);
    }

    /// All tasks first, then those of the same sub-topology, which are about equally heavy.
    fn load(&self, task: TaskId) -> (usize, usize) {
        let same = |other: &&TaskId| other.sub_topology == task.sub_topology;
        (self.tasks.len(), self.tasks.iter().filter(same).count())
    }
}

/// How many tasks a member may keep when all get about the same.
struct Quotas {
    all: usize,
    by_sub_topology: BTreeMap<usize, usize>,
}

impl Quotas {
    fn new(plan: &Plan, members: usize) -> Self {
        let mut counts = BTreeMap::new();
        for task in plan.tasks.keys() {
            *counts.entry(task.sub_topology).or_default() += 1;
        }
        let share = |count: usize| count.div_ceil(members);
        let by_sub_topology = counts
            .into_iter()
            .map(|(index, count)| (index, share(count)));
        Self {
            all: share(plan.tasks.len()),
            by_sub_topology: by_sub_topology.collect(),
        }
    }

    /// Whether a member with this share may keep the task too.
    fn allow(&self, share: &Share, task: TaskId) -> bool {
        let (all, same) = share.load(task);
        let of_same = self.by_sub_topology.get(&task.sub_topology);
        all < self.all && of_same.is_some_and(|quota| same < *quota)
    }
}

/// The member with the newest state of a task, of those that may have one more: the one that runs
/// it, else one whose process has followed its changelog, else the last one to run it of those
/// whose processes have it on their disks, else the one that has begun to restore it. Threads of
/// one process are equal; who has less to do is taken.
fn keeper(
    task: TaskId,
    data: &[SubscriptionData],
    shares: &[Share],
    quotas: &Quotas,
) -> Option<usize> {
    let name = task.to_string();
    // Better is greater.
    let newness = |member: &SubscriptionData| {
        if member.active.contains(&name) {
            return Some((4, i64::from(member.generation)));
        }
        if member.standby.contains(&name) {
            return Some((3, 0));
        }
        if let Some(used) = member.on_disk.get(&name) {
            return Some((2, i64::try_from(*used).unwrap_or(i64::MAX)));
        }
        let restores = member.restoring.contains(&name);
        restores.then(|| (1, i64::from(member.generation)))
    };
    let members = data.iter().enumerate();
    let members = members.filter(|(index, _)| quotas.allow(&shares[*index], task));
    let candidates = members.filter_map(|(index, member)| {
        let busy = shares[index].load(task);
        Some((newness(member)?, Reverse(busy), index))
    });
    candidates.max().map(|(.., index)| index)
}

/// Moves tasks until no member has two more than another.
fn even_out(shares: &mut [Share]) {
    loop {
        let size = |index: &usize| shares[*index].tasks.len();
        let most = (0..shares.len()).max_by_key(size);
        let least = (0..shares.len()).min_by_key(size);
        let (Some(most), Some(least)) = (most, least) else {
            return;
        };
        if shares[most].tasks.len() <= shares[least].tasks.len() + 1 {
            return;
        }
        if let Some(task) = shares[most].tasks.pop() {
            shares[least].add(task);
        }
    }
}

impl TaskAssignor {
    /// Chooses other processes for the standby tasks: those that have one already, then those
    /// with least to do. One member of a process keeps a standby task for all of its threads.
    fn standbys(&self, shares: &[Share], data: &[SubscriptionData]) -> Vec<Vec<TaskId>> {
        let mut standbys = vec![Vec::new(); shares.len()];
        if self.num_standby_replicas == 0 {
            return standbys;
        }
        for (owner, share) in shares.iter().enumerate() {
            let stateful = share.tasks.iter();
            for task in stateful.filter(|task| self.stateful.contains(&task.sub_topology)) {
                let name = task.to_string();
                let mut used = BTreeSet::from([&data[owner].process_id]);
                for _ in 0..self.num_standby_replicas {
                    let others = (0..shares.len()).filter(|i| !used.contains(&data[*i].process_id));
                    let best = others.min_by_key(|index| {
                        let load = standbys[*index].len() + shares[*index].tasks.len();
                        (!data[*index].standby.contains(&name), load, *index)
                    });
                    let Some(best) = best else { break };
                    used.insert(&data[best].process_id);
                    standbys[best].push(*task);
                }
            }
        }
        standbys
    }

    fn caught_up_standbys(&self) -> Vec<String> {
        let lags = self.shared.standbys.lags().into_iter();
        let near = lags.filter(|(_, lag)| *lag <= ACCEPTABLE_RECOVERY_LAG);
        near.map(|(task, _)| task.to_string()).collect()
    }
}

fn partitions(plan: &Plan, task: TaskId) -> impl Iterator<Item = TopicPartition> {
    let inputs = plan.tasks.get(&task).into_iter().flatten();
    inputs.map(|input| input.name.clone())
}

/// Partitions that were added after the start would be read by nobody.
fn check_partition_counts(plan: &Plan, counts: &BTreeMap<KString, i32>) -> Result<(), ClientError> {
    for (topic, count) in counts {
        let inputs = plan.tasks.values().flatten();
        let planned = inputs.filter(|input| input.name.topic == *topic).count();
        if planned > 0 && usize::try_from(*count).is_ok_and(|count| count > planned) {
            return Err(ClientError::Config {
                setting: "partitions",
                reason: format!(
                    "topic \"{topic}\" has {count} partitions now, but had {planned} when the application started; restart all of its members"
                ),
            });
        }
    }
    Ok(())
}

/// `acceptable.recovery.lag`, in records.
const ACCEPTABLE_RECOVERY_LAG: u64 = 10_000;

#[cfg(test)]
mod tests {
    use moldau_client::consumer::MemberSubscription;

    use super::*;
    use crate::runtime::cache_budget::CacheBudget;
    use crate::runtime::plan::TaskInput;
    use crate::runtime::store::StoreEnvironment;
    use crate::runtime::task_id::SourceIndex;

    /// Two sub-topologies, with two topics and one topic, of three partitions each.
    fn assignor() -> TaskAssignor {
        let mut tasks = BTreeMap::new();
        for partition in 0..3 {
            let input = |source: usize, topic: &str| TaskInput {
                source: SourceIndex(source),
                name: TopicPartition::new(topic, partition),
                by_pattern: source == 1,
            };
            let id = |sub_topology| TaskId {
                sub_topology,
                partition,
            };
            tasks.insert(id(0), vec![input(0, "a"), input(1, "b")]);
            tasks.insert(id(1), vec![input(0, "r")]);
        }
        TaskAssignor {
            plan: Arc::new(CurrentPlan::new(Plan {
                tasks,
                internal_topics: Vec::new(),
            })),
            shared: Arc::new(Shared::new(
                "app",
                1,
                StoreEnvironment::default(),
                Arc::new(CacheBudget::new(0)),
            )),
            process_id: "p".to_owned(),
            thread: 0,
            host: None,
            num_standby_replicas: 0,
            stateful: BTreeSet::from([1]),
        }
    }

    /// A member of a process of its own.
    fn member(id: &'static str, data: SubscriptionData) -> MemberSubscription {
        MemberSubscription {
            member_id: id.into(),
            user_data: assignor_data::encode(&SubscriptionData {
                process_id: id.to_owned(),
                ..data
            }),
            ..MemberSubscription::default()
        }
    }

    fn new(id: &'static str) -> MemberSubscription {
        member(id, SubscriptionData::default())
    }

    fn owner(id: &'static str, generation: i32, active: &[&str]) -> MemberSubscription {
        let data = SubscriptionData {
            active: names(active),
            generation,
            ..SubscriptionData::default()
        };
        member(id, data)
    }

    /// A member of a process that has followed the changelogs of these tasks.
    fn with_standby(id: &'static str, standby: &[&str]) -> MemberSubscription {
        let data = SubscriptionData {
            standby: names(standby),
            ..SubscriptionData::default()
        };
        member(id, data)
    }

    fn names(tasks: &[&str]) -> Vec<String> {
        tasks.iter().map(|name| (*name).to_owned()).collect()
    }

    /// A member of a process that has state on its disk, used at these times.
    fn with_disk(id: &'static str, used: &[(&str, u64)]) -> MemberSubscription {
        let used = used.iter().map(|(name, used)| ((*name).to_owned(), *used));
        let data = SubscriptionData {
            on_disk: used.collect(),
            ..SubscriptionData::default()
        };
        member(id, data)
    }

    fn assign(members: Vec<MemberSubscription>) -> Vec<Vec<String>> {
        let group = GroupSubscriptions {
            members,
            partition_counts: BTreeMap::new(),
        };
        let assignments = assignor().assign(&group).expect("an assignment");
        let names = |assignment: MemberAssignment| {
            assignment
                .partitions
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assignments.into_values().map(names).collect()
    }

    #[test]
    fn partitions_of_one_task_stay_together_and_shares_are_even() {
        let shares = assign(vec![new("m1"), new("m2")]);
        assert_eq!(shares[0], ["a-1", "b-1", "r-0", "r-2"]);
        assert_eq!(shares[1], ["a-0", "b-0", "a-2", "b-2", "r-1"]);
    }

    #[test]
    fn members_keep_what_they_had() {
        let first = owner("m1", 3, &["0_0", "0_2", "1_1"]);
        let second = owner("m2", 3, &["0_1", "1_0", "1_2"]);
        let shares = assign(vec![first, second]);
        assert_eq!(shares[0], ["a-0", "b-0", "a-2", "b-2", "r-1"]);
        assert_eq!(shares[1], ["a-1", "b-1", "r-0", "r-2"]);
    }

    #[test]
    fn a_member_that_was_away_does_not_take_back_what_others_were_given_since() {
        let late = owner("m1", 3, &["0_0", "0_2", "1_1"]);
        let current = owner("m2", 4, &["0_0", "0_1", "0_2", "1_0", "1_1", "1_2"]);
        let shares = assign(vec![late, current]);
        assert_eq!(shares[1], ["a-0", "b-0", "r-0", "r-1"]);
    }

    #[test]
    fn a_new_member_gets_a_part_of_each_sub_topology_from_one_that_had_all() {
        let all = ["0_0", "0_1", "0_2", "1_0", "1_1", "1_2"];
        let shares = assign(vec![owner("m1", 7, &all), new("m2")]);
        assert_eq!(shares[0], ["a-0", "b-0", "r-0", "r-1"]);
        assert_eq!(shares[1], ["a-1", "b-1", "a-2", "b-2", "r-2"]);
    }

    #[test]
    fn state_on_disk_is_used_again_where_it_was_used_last() {
        let first = with_disk("m1", &[("1_0", 5), ("1_1", 5), ("1_2", 5)]);
        let second = with_disk("m2", &[("1_1", 9), ("1_7", 9), ("x", 9)]);
        let shares = assign(vec![first, second]);
        assert_eq!(shares[0], ["a-1", "b-1", "r-0", "r-2"]);
        assert_eq!(shares[1], ["a-0", "b-0", "a-2", "b-2", "r-1"]);
        // Who runs the task now comes before who has old state of it.
        let running = owner("m1", 2, &["1_1"]);
        let shares = assign(vec![running, with_disk("m2", &[("1_0", 9), ("1_1", 9)])]);
        assert!(shares[0].contains(&"r-1".to_owned()), "{shares:?}");
        assert!(shares[1].contains(&"r-0".to_owned()), "{shares:?}");
    }

    #[test]
    fn state_on_disk_is_better_than_a_restore_that_has_begun_elsewhere() {
        let data = SubscriptionData {
            restoring: names(&["1_0", "1_1", "1_2"]),
            generation: 1,
            ..SubscriptionData::default()
        };
        let shares = assign(vec![member("m1", data), with_disk("m2", &[("1_0", 5)])]);
        assert_eq!(shares[0], ["a-1", "b-1", "r-1", "r-2"]);
        assert_eq!(shares[1], ["a-0", "b-0", "a-2", "b-2", "r-0"]);
    }

    #[test]
    fn a_task_goes_to_a_caught_up_standby_when_its_owner_is_gone() {
        let shares = assign(vec![
            with_disk("m1", &[("1_2", 9)]),
            with_standby("m2", &["1_2"]),
            owner("m3", 1, &[]),
        ]);
        assert!(shares[1].contains(&"r-2".to_owned()), "{shares:?}");
    }

    #[test]
    fn what_its_owner_cannot_keep_goes_to_a_standby() {
        let shares = assign(vec![
            owner("m1", 1, &["1_0", "1_1", "1_2"]),
            new("m2"),
            with_standby("m3", &["1_1"]),
        ]);
        assert_eq!(shares[0], ["a-0", "b-0", "r-0"]);
        assert!(shares[2].contains(&"r-1".to_owned()), "{shares:?}");
    }

    #[test]
    fn standby_tasks_go_to_other_processes_and_hosts_are_told_to_all() {
        let mut assignor = assignor();
        assignor.num_standby_replicas = 1;
        let process = |id, host: &str| {
            let data = SubscriptionData {
                host: Some(host.to_owned()),
                ..SubscriptionData::default()
            };
            member(id, data)
        };
        let group = GroupSubscriptions {
            members: vec![process("m1", "a:1"), process("m2", "b:1")],
            partition_counts: BTreeMap::new(),
        };
        let assignments = assignor.assign(&group).expect("an assignment");
        let data = |id: &str| -> AssignmentData {
            assignor_data::decode(assignments[id].user_data.as_ref())
        };
        assert_eq!(data("m1").active, ["0_1", "1_0", "1_2"]);
        assert_eq!(data("m1").standby, ["1_1"]);
        assert_eq!(data("m2").standby, ["1_0", "1_2"]);
        assert_eq!(data("m1").hosts, data("m2").hosts);
        assert_eq!(data("m1").hosts["a:1"].active, data("m1").active);
        assert_eq!(data("m1").hosts["b:1"].standby, data("m2").standby);
    }

    #[test]
    fn a_member_that_asks_for_the_end_of_the_application_is_heard_by_all() {
        let data = SubscriptionData {
            stop: true,
            ..SubscriptionData::default()
        };
        let group = GroupSubscriptions {
            members: vec![member("m1", data), new("m2")],
            partition_counts: BTreeMap::new(),
        };
        let assignor = assignor();
        let assignments = assignor.assign(&group).expect("an assignment");
        assignor.on_assignment(&assignments["m2"], 1);
        let error = assignor.shared.error();
        assert!(matches!(error, Some(StreamsError::StoppedByMember { .. })));
    }

    #[test]
    fn partitions_added_after_the_start_are_an_error_that_names_the_topic() {
        let group = GroupSubscriptions {
            members: vec![new("m1")],
            partition_counts: BTreeMap::from([("a".into(), 4)]),
        };
        let error = assignor().assign(&group).expect_err("a new partition");
        assert!(
            error
                .to_string()
                .contains("topic \"a\" has 4 partitions now, but had 3"),
            "{error}"
        );
    }
}
