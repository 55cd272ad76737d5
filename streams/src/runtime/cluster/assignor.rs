//! Which member of the group runs which tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use moldau_client::consumer::{Assignor, GroupSubscriptions, MemberAssignment, MemberSubscription};
use moldau_client::{ClientError, KString, TopicPartition};

use super::assignor_data::{self, AssignmentData, HostTasks, SubscriptionData};
use super::current_plan::CurrentPlan;
use super::shared::Shared;
use crate::runtime::error::StreamsError;
use crate::runtime::plan::Plan;
use crate::runtime::task_id::TaskId;

/// Hands out whole tasks: all partitions that a task reads go to one member.
///
/// A member keeps what it had as long as the shares stay even; the rest goes to whoever has
/// least. So a new or a lost member moves as few stores as possible.
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
        assignor_data::encode(&SubscriptionData {
            process_id: self.process_id.clone(),
            stop: self.shared.is_stop_asked(),
            host: self.host.clone(),
            standby: self.caught_up_standbys(),
        })
    }

    fn on_assignment(&self, assignment: &MemberAssignment, _generation: i32) {
        let data: AssignmentData = assignor_data::decode(assignment.user_data.as_ref());
        self.shared.set_assignment(self.thread, data.clone());
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
        let quota = plan.tasks.len().div_ceil(members.len());
        let mut left = Vec::new();
        for task in plan.tasks.keys() {
            let owner = members.iter().position(|member| owns(&plan, member, *task));
            // A process that has followed the changelog is as good as the last owner.
            let name = task.to_string();
            let owner = owner.or_else(|| {
                let is_standby = |index: &usize| data[*index].standby.contains(&name);
                let standbys = (0..members.len()).filter(is_standby);
                standbys.min_by_key(|index| shares[*index].tasks.len())
            });
            match owner {
                Some(owner) if shares[owner].tasks.len() < quota => shares[owner].add(*task),
                _ => left.push(*task),
            }
        }
        for task in left {
            let least = (0..shares.len()).min_by_key(|index| shares[*index].load(task));
            if let Some(least) = least {
                shares[least].add(task);
            }
        }
        even_out(&mut shares);
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
    let answer = |standby: &Vec<TaskId>| AssignmentData {
        stop: data.iter().any(|member| member.stop),
        standby: names(standby),
        hosts: hosts.clone(),
    };
    standbys.iter().map(answer).collect()
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

/// Whether a member had a task. Tasks are handed out whole, so one partition tells; a pattern may
/// have brought more since.
fn owns(plan: &Plan, member: &MemberSubscription, task: TaskId) -> bool {
    partitions(plan, task).any(|partition| member.owned_partitions.contains(&partition))
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

    fn member(id: &'static str, owned: &[(&str, i32)]) -> MemberSubscription {
        let owned = owned
            .iter()
            .map(|(topic, partition)| TopicPartition::new(topic, *partition));
        MemberSubscription {
            member_id: id.into(),
            owned_partitions: owned.collect(),
            ..MemberSubscription::default()
        }
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
        let shares = assign(vec![member("m1", &[]), member("m2", &[])]);
        assert_eq!(
            shares,
            [
                ["a-0", "b-0", "a-2", "b-2", "r-1"],
                ["a-1", "b-1", "r-0", "r-2", ""]
            ]
            .map(|share| share
                .into_iter()
                .filter(|name| !name.is_empty())
                .collect::<Vec<_>>())
        );
    }

    #[test]
    fn members_keep_what_they_had() {
        let first = member("m1", &[("a", 1), ("b", 1), ("r", 0), ("r", 2)]);
        let second = member("m2", &[]);
        let shares = assign(vec![first, second]);
        assert_eq!(shares[0], ["a-1", "b-1", "r-0", "r-2"]);
        assert_eq!(shares[1], ["a-0", "b-0", "a-2", "b-2", "r-1"]);
    }

    #[test]
    fn members_keep_tasks_for_which_a_pattern_brought_another_topic() {
        let first = member("m1", &[("a", 1), ("r", 0), ("r", 2)]);
        let second = member("m2", &[("a", 0), ("a", 2), ("r", 1)]);
        let shares = assign(vec![first, second]);
        assert_eq!(shares[0], ["a-1", "b-1", "r-0", "r-2"]);
        assert_eq!(shares[1], ["a-0", "b-0", "a-2", "b-2", "r-1"]);
    }

    #[test]
    fn a_new_member_takes_over_from_one_that_had_all() {
        let all = [
            ("a", 0),
            ("b", 0),
            ("a", 1),
            ("b", 1),
            ("a", 2),
            ("b", 2),
            ("r", 0),
            ("r", 1),
            ("r", 2),
        ];
        let shares = assign(vec![member("m1", &all), member("m2", &[])]);
        assert_eq!(shares[0], ["a-0", "b-0", "a-1", "b-1", "a-2", "b-2"]);
        assert_eq!(shares[1], ["r-0", "r-1", "r-2"]);
    }

    #[test]
    fn standby_tasks_go_to_other_processes_and_hosts_are_told_to_all() {
        let mut assignor = assignor();
        assignor.num_standby_replicas = 1;
        let process = |id: &'static str, host: &str| {
            let mut member = member(id, &[]);
            member.user_data = assignor_data::encode(&SubscriptionData {
                process_id: id.to_owned(),
                host: Some(host.to_owned()),
                ..SubscriptionData::default()
            });
            member
        };
        let group = GroupSubscriptions {
            members: vec![process("m1", "a:1"), process("m2", "b:1")],
            partition_counts: BTreeMap::new(),
        };
        let assignments = assignor.assign(&group).expect("an assignment");
        let data = |id: &str| -> AssignmentData {
            assignor_data::decode(assignments[id].user_data.as_ref())
        };
        assert_eq!(data("m1").standby, ["1_0", "1_2"]);
        assert_eq!(data("m2").standby, ["1_1"]);
        assert_eq!(data("m1").hosts, data("m2").hosts);
        assert_eq!(data("m1").hosts["a:1"].active, ["0_0", "0_2", "1_1"]);
        assert_eq!(data("m1").hosts["b:1"].standby, ["1_1"]);
    }

    #[test]
    fn a_member_that_asks_for_the_end_of_the_application_is_heard_by_all() {
        let mut stopping = member("m1", &[]);
        let data = SubscriptionData {
            stop: true,
            ..SubscriptionData::default()
        };
        stopping.user_data = assignor_data::encode(&data);
        let group = GroupSubscriptions {
            members: vec![stopping, member("m2", &[])],
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
            members: vec![member("m1", &[])],
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
