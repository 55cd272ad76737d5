//! Every partition of this node, by topic.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use moldau_core::config::{TopicConfig, TopicDefaults};
use moldau_core::metadata::{MetadataImage, ResourceType, TopicImage};
use moldau_log::{FileStorage, LogDirectory, LogError, TopicPartition};
use moldau_protocol::{ErrorCode, KString, Uuid};
use tracing::{error, info};

use super::open::{Name, Openings, Wanted, log_config};
use super::partition::{Partition, Rules};
use super::{TailCache, lock};

/// The partitions of this node; readers see an immutable map.
#[derive(Debug)]
pub(crate) struct Partitions {
    directory: Arc<LogDirectory<FileStorage>>,
    defaults: ArcSwap<TopicDefaults>,
    tail: Arc<TailCache>,
    topics: ArcSwap<HashMap<KString, Arc<Topic>>>,
    /// One change at a time.
    changing: Mutex<()>,
}

/// A topic and its partitions on this node.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: KString,
    pub(crate) id: Uuid,
    pub(crate) internal: bool,
    /// By index.
    pub(crate) partitions: Vec<Arc<Partition>>,
    rules: Arc<Rules>,
    /// The settings that `rules` was resolved from, to notice a change.
    settings: Option<Arc<std::collections::BTreeMap<KString, KString>>>,
    /// And the defaults.
    defaults: Arc<TopicDefaults>,
}

impl Partitions {
    pub(crate) fn new(
        directory: Arc<LogDirectory<FileStorage>>,
        defaults: TopicDefaults,
        tail: Arc<TailCache>,
    ) -> Self {
        Self {
            directory,
            defaults: ArcSwap::from_pointee(defaults),
            tail,
            topics: ArcSwap::default(),
            changing: Mutex::new(()),
        }
    }

    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.load().get(name).cloned()
    }

    pub(crate) fn topics(&self) -> Arc<HashMap<KString, Arc<Topic>>> {
        self.topics.load_full()
    }

    /// The partition, if this node has it.
    pub(crate) fn find(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        let topics = self.topics.load();
        let partition = topics
            .get(topic)?
            .partitions
            .get(usize::try_from(index).ok()?)?;
        Some(Arc::clone(partition))
    }

    /// Drops what the tail cache has of the partition below `offset`.
    pub(crate) fn forget_tail_below(&self, partition: &Partition, offset: i64) {
        self.tail.forget_below(partition, offset);
    }

    /// Every partition of this node.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics.load();
        topics
            .values()
            .flat_map(|topic| topic.partitions.iter().cloned())
            .collect()
    }

    /// Changes what topics have when they do not say otherwise; the next `reconcile` applies it.
    pub(crate) fn set_defaults(&self, defaults: TopicDefaults) {
        self.defaults.store(Arc::new(defaults));
    }

    /// Makes the partitions of this node those of `image`: opens new ones, deletes those that are gone, and
    /// applies changed settings. Blocks on files.
    ///
    /// # Errors
    ///
    /// The first log that cannot be opened; partitions that could be opened are served.
    pub(crate) fn reconcile(&self, image: &MetadataImage) -> Result<(), LogError> {
        let _changing = lock(&self.changing);
        let old = self.topics.load_full();
        let mut new = HashMap::with_capacity(old.len());
        let present = self.present(image, &old)?;
        let mut wanted = Vec::new();
        for topic in image.topics() {
            let known = old.get(&*topic.name).filter(|known| known.id == topic.id);
            let entry = self.entry(image, topic, known);
            wanted.extend(missing(topic, &entry, &present));
            new.insert(topic.name.clone(), entry);
        }
        let opened = Openings {
            directory: &self.directory,
        }
        .open_all(wanted)?;
        for partition in opened {
            if let Some(topic) = new.get_mut(&*partition.topic) {
                topic.partitions.push(partition);
            }
        }
        let new = new
            .into_iter()
            .map(|(name, mut topic)| {
                topic.partitions.sort_by_key(|partition| partition.index);
                (name, Arc::new(topic))
            })
            .collect();
        self.topics.store(Arc::new(new));
        for topic in old.values() {
            if image.topic_by_id(topic.id).is_none() {
                self.delete(topic);
            }
        }
        Ok(())
    }

    /// Directories with files; only looked up at start, since later no new partition has any.
    fn present(
        &self,
        image: &MetadataImage,
        old: &HashMap<KString, Arc<Topic>>,
    ) -> Result<BTreeSet<TopicPartition>, LogError> {
        if !old.is_empty() || image.topics().next().is_none() {
            return Ok(BTreeSet::new());
        }
        Ok(self.directory.partitions()?.into_iter().collect())
    }

    /// The topic with the partitions that are open already, and with its settings applied.
    fn entry(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        known: Option<&Arc<Topic>>,
    ) -> Topic {
        let settings = image.config(ResourceType::Topic, &topic.name).cloned();
        if let Some(known) = known {
            let mut entry = Topic::clone(known);
            let same = entry.settings == settings
                && Arc::ptr_eq(&entry.defaults, &self.defaults.load_full());
            if !same {
                entry.rules = self.rules(settings.as_deref());
                entry.settings = settings;
                entry.defaults = self.defaults.load_full();
                apply_rules(&entry, topic);
            }
            return entry;
        }
        Topic {
            name: topic.name.clone(),
            id: topic.id,
            internal: topic.is_internal(),
            partitions: Vec::with_capacity(topic.partitions.len()),
            rules: self.rules(settings.as_deref()),
            settings,
            defaults: self.defaults.load_full(),
        }
    }

    fn rules(&self, settings: Option<&std::collections::BTreeMap<KString, KString>>) -> Arc<Rules> {
        let topic = TopicConfig::resolve(settings, &self.defaults.load());
        let produce = topic.produce_rules();
        Arc::new(Rules { topic, produce })
    }

    fn delete(&self, topic: &Topic) {
        info!(topic = %topic.name, topic_id = %topic.id, "deleting topic");
        for partition in &topic.partitions {
            let mut state = partition.lock();
            partition.close(&mut state, ErrorCode::UnknownTopicOrPartition);
            self.tail.forget(partition);
            if let Some(log) = state.log.take()
                && let Err(error) = log.destroy()
            {
                error!(topic = %topic.name, partition = partition.index, %error, "cannot delete log");
            }
        }
    }
}

impl Topic {
    /// Sums a counter over the partitions.
    pub(crate) fn sum(&self, counter: impl Fn(&Partition) -> &std::sync::atomic::AtomicU64) -> u64 {
        self.partitions
            .iter()
            .map(|partition| counter(partition).load(Ordering::Relaxed))
            .sum()
    }
}

/// The partitions of `topic` that `entry` lacks.
fn missing(topic: &TopicImage, entry: &Topic, present: &BTreeSet<TopicPartition>) -> Vec<Wanted> {
    let indexes = 0_i32..;
    indexes
        .zip(&topic.partitions)
        .skip(entry.partitions.len())
        .map(|(index, partition)| Wanted {
            name: Name {
                topic: topic.name.clone(),
                topic_id: topic.id,
                index,
            },
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas.len(),
            rules: Arc::clone(&entry.rules),
            has_files: present.contains(&TopicPartition {
                topic: topic.name.to_string(),
                partition: index,
            }),
        })
        .collect()
}

/// Lets the open partitions of a topic work by its changed settings.
fn apply_rules(entry: &Topic, topic: &TopicImage) {
    let config = log_config(&entry.rules.topic);
    for (partition, image) in entry.partitions.iter().zip(&topic.partitions) {
        let mut state = partition.lock();
        state.opening.set_config(config.clone());
        if let Some(log) = &mut state.log {
            log.set_config(config.clone());
        }
        let progress = state
            .leader
            .set_flush(entry.rules.topic.flush_mode(image.replicas.len()));
        partition.rules.store(Arc::clone(&entry.rules));
        partition.progress(&mut state, &progress);
    }
}
