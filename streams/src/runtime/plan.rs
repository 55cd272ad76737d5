//! From an application and the partition counts of its source topics to tasks and internal topics.

use std::collections::{BTreeMap, BTreeSet};

use moldau_client::consumer::Pattern;
use moldau_client::{ClientError, TopicPartition};

use super::application::{Application, CoPartition, SourceRole, SourceTopics};
use super::error::StreamsError;
use super::internal_topic::{InternalTopic, PartitionCount, is_internal};
use super::task_id::{SourceIndex, TaskId};

/// All tasks of an application, and the internal topics they need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) tasks: BTreeMap<TaskId, Vec<TaskInput>>,
    /// Topics to create, with their partition counts.
    pub(crate) internal_topics: Vec<(InternalTopic, i32)>,
}

/// One partition that a task reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskInput {
    pub(crate) source: SourceIndex,
    pub(crate) name: TopicPartition,
    /// Whether a pattern brought it, so that other members may not know of it yet.
    pub(crate) by_pattern: bool,
}

/// A topic that a sub-topology reads: the named one of a source, or one that matches its pattern.
#[derive(Clone, Copy, Debug)]
struct Source<'a> {
    index: SourceIndex,
    topic: &'a str,
    role: SourceRole,
    by_pattern: bool,
}

/// What is planned for: the application, and the topics that each of its sub-topologies reads.
struct Resolving<'a> {
    application: &'a Application,
    sources: Vec<Vec<Source<'a>>>,
}

impl Plan {
    /// Works out tasks and internal topics; `external` has the partition count of every source
    /// topic that is not internal. A pattern that none of them matches has no tasks.
    pub(crate) fn resolve(
        application: &Application,
        external: &BTreeMap<String, i32>,
    ) -> Result<Self, StreamsError> {
        let resolving = Resolving::new(application, external);
        resolving.check_sources()?;
        let mut counts = external.clone();
        let repartition_topics = resolving.repartition_counts(&mut counts)?;
        resolving.check_copartitioned(&counts)?;
        let mut plan = Self {
            tasks: BTreeMap::new(),
            internal_topics: repartition_topics,
        };
        for (sub_topology, parts) in application.sub_topologies.iter().enumerate() {
            let sources = &resolving.sources[sub_topology];
            let count_of = |topic: &str| counts.get(topic).copied().unwrap_or(0);
            let task_count = sources.iter().map(|source| count_of(source.topic)).max();
            let task_count = task_count.unwrap_or(0);
            for partition in 0..task_count {
                let inputs = sources.iter();
                let inputs = inputs.filter(|source| partition < count_of(source.topic));
                let input = |source: &Source<'_>| TaskInput {
                    source: source.index,
                    name: TopicPartition::new(source.topic, partition),
                    by_pattern: source.by_pattern,
                };
                let id = TaskId {
                    sub_topology,
                    partition,
                };
                plan.tasks.insert(id, inputs.map(input).collect());
            }
            let stores = parts.stores.iter();
            let changelogs = stores.filter_map(|store| store.changelog.clone());
            plan.internal_topics
                .extend(changelogs.map(|changelog| (changelog, task_count)));
        }
        // What only a pattern without topics leads to is not needed yet.
        plan.internal_topics.retain(|(_, count)| *count > 0);
        Ok(plan)
    }

    /// Whether an error only says that a topic of a pattern was deleted a moment ago; the next plan
    /// will be without it.
    pub(crate) fn expects(&self, error: &ClientError) -> bool {
        match error {
            ClientError::UnknownTopic { topic } => {
                self.topics_by_pattern().contains(topic.as_str())
            }
            _ => false,
        }
    }

    /// The topics that patterns brought.
    pub(crate) fn topics_by_pattern(&self) -> BTreeSet<&str> {
        let inputs = self.tasks.values().flatten();
        let inputs = inputs.filter(|input| input.by_pattern);
        inputs.map(|input| input.name.topic.as_str()).collect()
    }

    /// All topics that tasks read.
    pub(crate) fn topics(&self) -> BTreeSet<&str> {
        let inputs = self.tasks.values().flatten();
        inputs.map(|input| input.name.topic.as_str()).collect()
    }

    /// The partition counts of internal topics.
    pub(crate) fn internal_counts(&self) -> BTreeMap<String, i32> {
        let topics = self.internal_topics.iter();
        topics
            .map(|(topic, count)| (topic.name.clone(), *count))
            .collect()
    }
}

/// Source topics that must exist before the application starts.
pub(crate) fn external_topics(application: &Application) -> BTreeSet<String> {
    let sources = application
        .sub_topologies
        .iter()
        .flat_map(|parts| &parts.sources);
    let named = sources.filter_map(|source| match &source.topics {
        SourceTopics::Named(topic) if source.role != SourceRole::Repartition => Some(topic),
        SourceTopics::Named(_) | SourceTopics::Matching(_) => None,
    });
    let globals = application.global_tables.iter().map(|table| &table.topic);
    named.chain(globals).cloned().collect()
}

/// The patterns of all sources that have one.
pub(crate) fn patterns(application: &Application) -> Vec<Pattern> {
    let parts = application.sub_topologies.iter();
    let sources = parts.flat_map(|parts| &parts.sources);
    let patterns = sources.filter_map(|source| match &source.topics {
        SourceTopics::Matching(pattern) => Some(pattern.clone()),
        SourceTopics::Named(_) => None,
    });
    patterns.collect()
}

impl<'a> Resolving<'a> {
    fn new(application: &'a Application, external: &'a BTreeMap<String, i32>) -> Self {
        let topics_of = |topics: &'a SourceTopics| -> Vec<&'a str> {
            let pattern = match topics {
                SourceTopics::Named(topic) => return vec![topic],
                SourceTopics::Matching(pattern) => pattern,
            };
            let is_own = |name: &str| is_internal(&application.application_id, name);
            let names = external.keys().map(String::as_str);
            names
                .filter(|name| pattern.matches(name) && !is_own(name))
                .collect()
        };
        let parts = application.sub_topologies.iter();
        let sources = parts.map(|parts| {
            let sources = parts.sources.iter().enumerate();
            let sources = sources.flat_map(|(index, source)| {
                let topics = topics_of(&source.topics).into_iter();
                topics.map(move |topic| Source {
                    index: SourceIndex(index),
                    topic,
                    role: source.role,
                    by_pattern: matches!(source.topics, SourceTopics::Matching(_)),
                })
            });
            sources.collect()
        });
        Self {
            application,
            sources: sources.collect(),
        }
    }

    fn check_sources(&self) -> Result<(), StreamsError> {
        let application = self.application;
        let mut read_by = BTreeMap::new();
        for (index, parts) in application.sub_topologies.iter().enumerate() {
            if parts.sources.is_empty() {
                return Err(StreamsError::topology(format!(
                    "sub-topology {index} has no source topic"
                )));
            }
            for source in &self.sources[index] {
                if read_by.insert(source.topic, index).is_some() {
                    return Err(StreamsError::topology(format!(
                        "topic \"{}\" is read twice\n  hint: read it once and use the stream twice; patterns must not match each other's topics",
                        source.topic
                    )));
                }
            }
        }
        for table in &application.global_tables {
            if read_by.contains_key(table.topic.as_str()) {
                return Err(StreamsError::topology(format!(
                    "topic \"{}\" is read as a global table and as a source\n  hint: read it in one way only",
                    table.topic
                )));
            }
        }
        let written = application
            .sub_topologies
            .iter()
            .flat_map(|parts| &parts.repartition_topics);
        let written: BTreeSet<_> = written.map(|topic| topic.name.as_str()).collect();
        let sources = self.sources.iter().flatten();
        for source in sources.filter(|source| source.role == SourceRole::Repartition) {
            if !written.contains(source.topic) {
                return Err(StreamsError::topology(format!(
                    "repartition topic \"{}\" is read, but nothing writes it",
                    source.topic
                )));
            }
        }
        for topic in written {
            if !read_by.contains_key(topic) {
                return Err(StreamsError::topology(format!(
                    "repartition topic \"{topic}\" is written, but nothing reads it"
                )));
            }
        }
        Ok(())
    }

    /// Finds the partition count of each repartition topic and adds it to `counts`.
    fn repartition_counts(
        &self,
        counts: &mut BTreeMap<String, i32>,
    ) -> Result<Vec<(InternalTopic, i32)>, StreamsError> {
        let application = self.application;
        let writers = writers(application);
        let mut unresolved: BTreeMap<&str, &InternalTopic> = BTreeMap::new();
        for parts in &application.sub_topologies {
            let topics = parts.repartition_topics.iter();
            unresolved.extend(topics.map(|topic| (topic.name.as_str(), topic)));
        }
        let mut resolved = Vec::new();
        // A topic that feeds itself, by way of others or not, takes its count from the inputs whose
        // counts are known; all others wait until all of theirs are.
        let mut with_known = false;
        while !unresolved.is_empty() {
            let before = resolved.len();
            unresolved.retain(|name, topic| {
                if with_known && resolved.len() > before {
                    return true;
                }
                let count = match topic.partitions {
                    PartitionCount::Fixed(count) => Some(count),
                    PartitionCount::Derived => self
                        .partner_count(name, counts)
                        .or_else(|| self.derived_count(&writers, name, counts, with_known)),
                };
                let Some(count) = count else { return true };
                counts.insert((*name).to_owned(), count);
                resolved.push(((*topic).clone(), count));
                false
            });
            if resolved.len() > before {
                with_known = false;
            } else if !with_known {
                with_known = true;
            } else {
                let names: Vec<_> = unresolved.keys().copied().collect();
                return Err(StreamsError::topology(format!(
                    "repartition topics {} feed each other, so their partition counts cannot be derived\n  hint: give one of them a fixed count",
                    names.join(", ")
                )));
            }
        }
        Ok(resolved)
    }

    /// The sources that must have as many partitions as `topic`, itself included.
    fn partners(&self, topic: &str) -> Vec<Source<'a>> {
        let mut partners = Vec::new();
        for (parts, sources) in self.application.sub_topologies.iter().zip(&self.sources) {
            for group in &parts.copartitioned {
                let members = members(group, sources);
                if members.iter().any(|member| member.topic == topic) {
                    partners.extend(members);
                }
            }
        }
        partners
    }

    /// Count of the external or fixed topics that this repartition topic is joined with.
    fn partner_count(&self, topic: &str, counts: &BTreeMap<String, i32>) -> Option<i32> {
        let fixed = fixed_topics(self.application);
        let partners = self.partners(topic).into_iter();
        partners
            .filter(|partner| {
                partner.role != SourceRole::Repartition || fixed.contains(partner.topic)
            })
            .filter_map(|partner| counts.get(partner.topic).copied())
            .max()
    }

    /// Largest source of the sub-topologies that write this topic or one it is joined with; `None`
    /// while one of those is not known.
    fn derived_count(
        &self,
        writers: &BTreeMap<&str, Vec<usize>>,
        topic: &str,
        counts: &BTreeMap<String, i32>,
        with_known: bool,
    ) -> Option<i32> {
        let partners = self.partners(topic);
        let topics = partners.iter().map(|partner| partner.topic).chain([topic]);
        let mut largest = None;
        for topic in topics {
            for writer in writers.get(topic).into_iter().flatten() {
                let sources = &self.sources[*writer];
                if sources.is_empty() {
                    largest = largest.max(Some(0));
                }
                for source in sources {
                    let count = counts.get(source.topic).copied();
                    if count.is_none() && !with_known {
                        return None;
                    }
                    largest = largest.max(count);
                }
            }
        }
        largest
    }

    fn check_copartitioned(&self, counts: &BTreeMap<String, i32>) -> Result<(), StreamsError> {
        for (parts, sources) in self.application.sub_topologies.iter().zip(&self.sources) {
            for group in &parts.copartitioned {
                let members = members(group, sources).into_iter();
                let count_of = |topic: &str| counts.get(topic).copied().unwrap_or(0);
                let members: Vec<_> = members
                    .map(|source| (source.topic, count_of(source.topic)))
                    .collect();
                if members.windows(2).all(|pair| pair[0].1 == pair[1].1) {
                    continue;
                }
                let texts: Vec<_> = members
                    .iter()
                    .map(|(topic, count)| format!("\"{topic}\" has {count}"))
                    .collect();
                return Err(StreamsError::CoPartition {
                    operator: group.operator.clone(),
                    counts: texts.join(", "),
                });
            }
        }
        Ok(())
    }
}

/// The sub-topologies that write each repartition topic.
fn writers(application: &Application) -> BTreeMap<&str, Vec<usize>> {
    let mut writers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, parts) in application.sub_topologies.iter().enumerate() {
        for topic in &parts.repartition_topics {
            writers.entry(&topic.name).or_default().push(index);
        }
    }
    writers
}

fn fixed_topics(application: &Application) -> BTreeSet<&str> {
    let topics = application
        .sub_topologies
        .iter()
        .flat_map(|parts| &parts.repartition_topics);
    topics
        .filter(|topic| matches!(topic.partitions, PartitionCount::Fixed(_)))
        .map(|topic| topic.name.as_str())
        .collect()
}

/// The topics of a group that must have equal partition counts.
fn members<'a>(group: &CoPartition, sources: &[Source<'a>]) -> Vec<Source<'a>> {
    let of = |index: &SourceIndex| {
        let index = *index;
        let sources = sources.iter().copied();
        sources.filter(move |source| source.index == index)
    };
    group.sources.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::application::{SourceTopic, SubTopology};
    use super::super::store::StoreSpec;
    use super::*;

    fn part(sources: &[SourceTopic], writes: &[&str], joined: bool) -> SubTopology {
        let join = CoPartition {
            sources: (0..sources.len()).map(SourceIndex).collect(),
            operator: "KSTREAM-JOIN-0000000007".to_owned(),
        };
        SubTopology {
            sources: sources.to_vec(),
            copartitioned: if joined { vec![join] } else { Vec::new() },
            repartition_topics: writes
                .iter()
                .map(|n| InternalTopic::repartition("a", n))
                .collect(),
            stores: Vec::new(),
            program: Arc::new(|_| Err(StreamsError::topology("not run here"))),
        }
    }

    fn matching(pattern: &str) -> SourceTopic {
        SourceTopic::matching(Pattern::parse(pattern).expect("a pattern"))
    }

    fn repartition(name: &str) -> SourceTopic {
        SourceTopic {
            role: SourceRole::Repartition,
            ..SourceTopic::stream(format!("a-{name}-repartition"))
        }
    }

    fn resolve(parts: Vec<SubTopology>, counts: &[(&str, i32)]) -> Result<Plan, StreamsError> {
        let application = Application {
            global_tables: Vec::new(),
            application_id: "a".to_owned(),
            sub_topologies: parts,
        };
        let counts = counts
            .iter()
            .map(|(topic, count)| ((*topic).to_owned(), *count));
        Plan::resolve(&application, &counts.collect())
    }

    #[test]
    fn a_repartition_topic_gets_the_count_of_the_largest_source_before_it() {
        let first = part(
            &[SourceTopic::stream("x"), SourceTopic::stream("y")],
            &["r"],
            false,
        );
        let mut second = part(&[repartition("r")], &[], false);
        second.stores.push(StoreSpec::key_value("a", "s"));
        let plan = resolve(vec![first, second], &[("x", 2), ("y", 5)]).expect("a plan");
        let topics: Vec<_> = plan
            .internal_topics
            .iter()
            .map(|(topic, n)| (topic.name.as_str(), *n))
            .collect();
        assert_eq!(topics, [("a-r-repartition", 5), ("a-s-changelog", 5)]);
        assert_eq!(plan.tasks.len(), 10);
        let task = |sub_topology, partition| TaskId {
            sub_topology,
            partition,
        };
        assert_eq!(plan.tasks[&task(0, 1)].len(), 2);
        assert_eq!(plan.tasks[&task(0, 2)].len(), 1);
    }

    #[test]
    fn a_repartition_topic_gets_the_count_of_the_topic_it_is_joined_with() {
        let first = part(&[SourceTopic::stream("x")], &["r"], false);
        let second = part(&[repartition("r"), SourceTopic::table("t")], &[], true);
        let plan = resolve(vec![first, second], &[("x", 2), ("t", 7)]).expect("a plan");
        assert_eq!(plan.internal_topics[0].1, 7);
    }

    #[test]
    fn a_repartition_topic_that_feeds_itself_gets_the_count_of_the_other_inputs() {
        let both = [SourceTopic::stream("x"), repartition("r")];
        let plan = resolve(vec![part(&both, &["r"], false)], &[("x", 4)]).expect("a plan");
        assert_eq!(plan.internal_topics[0].1, 4);
    }

    #[test]
    fn two_repartition_topics_that_are_joined_get_the_larger_count() {
        let first = part(&[SourceTopic::stream("x")], &["r"], false);
        let second = part(&[SourceTopic::stream("y")], &["q"], false);
        let third = part(&[repartition("r"), repartition("q")], &[], true);
        let plan = resolve(vec![first, second, third], &[("x", 2), ("y", 3)]).expect("a plan");
        assert_eq!(plan.internal_topics[0].1, 3);
        assert_eq!(plan.internal_topics[1].1, 3);
    }

    #[test]
    fn unequal_partition_counts_name_the_operator_the_topics_and_their_counts() {
        let join = part(
            &[SourceTopic::stream("x"), SourceTopic::table("t")],
            &[],
            true,
        );
        let error = resolve(vec![join], &[("x", 2), ("t", 3)]).expect_err("unequal");
        let text = error.to_string();
        assert!(text.contains("KSTREAM-JOIN-0000000007"), "{text}");
        assert!(text.contains("\"x\" has 2, \"t\" has 3"), "{text}");
    }

    #[test]
    fn a_topic_that_is_read_twice_is_refused() {
        let parts = || part(&[SourceTopic::stream("x")], &[], false);
        let error = resolve(vec![parts(), parts()], &[("x", 2)]).expect_err("twice");
        assert!(error.to_string().contains("read twice"));
    }

    #[test]
    fn a_pattern_reads_all_topics_that_match_but_not_the_applications_own() {
        let first = part(&[matching("a-.*")], &["r"], false);
        let second = part(&[repartition("r")], &[], false);
        let counts = [("a-x", 2), ("a-y", 3), ("a-r-repartition", 3), ("b", 9)];
        let plan = resolve(vec![first, second], &counts).expect("a plan");
        let inputs = |partition| -> Vec<_> {
            let id = TaskId {
                sub_topology: 0,
                partition,
            };
            let inputs = plan.tasks[&id].iter();
            inputs
                .map(|input| (input.source.0, input.name.to_string()))
                .collect()
        };
        assert_eq!(
            inputs(1),
            [(0, "a-x-1".to_owned()), (0, "a-y-1".to_owned())]
        );
        assert_eq!(inputs(2), [(0, "a-y-2".to_owned())]);
        assert_eq!(plan.internal_topics[0].1, 3);
        assert_eq!(
            plan.topics(),
            BTreeSet::from(["a-r-repartition", "a-x", "a-y"])
        );
    }

    #[test]
    fn a_pattern_that_nothing_matches_has_no_tasks_and_no_internal_topics() {
        let first = part(&[matching("x-.*")], &["r"], false);
        let mut second = part(&[repartition("r")], &[], false);
        second.stores.push(StoreSpec::key_value("a", "s"));
        let plan = resolve(vec![first, second], &[("b", 9)]).expect("a plan");
        assert!(plan.tasks.is_empty() && plan.internal_topics.is_empty());
    }

    #[test]
    fn a_topic_that_a_pattern_and_another_source_read_is_refused() {
        let parts = vec![
            part(&[matching("x.*")], &[], false),
            part(&[SourceTopic::stream("x1")], &[], false),
        ];
        let error = resolve(parts, &[("x1", 2)]).expect_err("twice");
        assert!(
            error.to_string().contains("\"x1\" is read twice"),
            "{error}"
        );
    }
}
