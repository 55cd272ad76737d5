//! What members subscribe to, and the epoch of the group that follows from it.

use std::collections::BTreeSet;

use moldau_protocol::types::{KString, Uuid};

use super::member::Member;
use super::metadata_hash::metadata_hash;
use super::record::{GroupEpoch, GroupRecord};
use super::regex::{ResolvedRegex, compile, matching_topics};
use super::{Changes, ConsumerGroup, Context};

impl ConsumerGroup {
    /// The names that a member subscribes to, by name or by its expression.
    pub(super) fn subscribed_names(&self, member: &Member) -> BTreeSet<KString> {
        let regex = member
            .regex
            .as_ref()
            .and_then(|regex| self.regexes.get(regex));
        let mut names = member.topics.clone();
        names.extend(
            regex
                .into_iter()
                .flat_map(|regex| regex.topics.iter().cloned()),
        );
        names
    }

    /// The topics that a member subscribes to and that exist.
    pub(super) fn subscribed_topics(
        &self,
        member: &Member,
        context: &Context<'_>,
    ) -> BTreeSet<Uuid> {
        self.subscribed_names(member)
            .iter()
            .filter_map(|name| context.image.topic(name))
            .map(|topic| topic.id)
            .collect()
    }

    /// Whether any member subscribes to a topic.
    pub(crate) fn is_subscribed_to(&self, topic: &KString) -> bool {
        let by_regex = |member: &Member| {
            let regex = member
                .regex
                .as_ref()
                .and_then(|regex| self.regexes.get(regex));
            regex.is_some_and(|regex| regex.topics.contains(topic))
        };
        self.members
            .values()
            .any(|member| member.topics.contains(topic) || by_regex(member))
    }

    /// Brings expressions and epoch up to date: if someone's subscription has changed (`bump`), or
    /// the topics have; or if the target is broken, for which a restart or a failed append makes it look.
    pub(super) fn refresh_epoch(
        &mut self,
        bump: bool,
        context: &Context<'_>,
        changes: &mut Changes,
    ) {
        let topics_changed = self.topics_version != Some(context.topics_version);
        if !bump && !topics_changed {
            return;
        }
        let regexes_changed = self.resolve_regexes(topics_changed, context, changes);
        let names: BTreeSet<KString> = self
            .members
            .values()
            .flat_map(|member| self.subscribed_names(member))
            .collect();
        let metadata_hash = metadata_hash(&names, context.image);
        let changed = regexes_changed || metadata_hash != self.epoch.metadata_hash;
        if bump || changed || self.has_broken_target(&names, context) {
            // The target may be of a newer epoch than the group, if the append failed that said so.
            let epoch = self.epoch.epoch.max(self.target_epoch.epoch);
            let epoch = epoch.wrapping_add(1).max(1);
            self.write(
                GroupRecord::Epoch(Some(GroupEpoch {
                    epoch,
                    metadata_hash,
                })),
                changes,
            );
        }
        if self.legacy_partitions {
            self.write(GroupRecord::LegacyPartitions(false), changes);
        }
        self.topics_version = Some(context.topics_version);
    }

    /// Forgets expressions that nobody uses and finds out what the others mean now; says whether
    /// any means something else than before.
    fn resolve_regexes(&mut self, all: bool, context: &Context<'_>, changes: &mut Changes) -> bool {
        let used: BTreeSet<KString> = self
            .members
            .values()
            .filter_map(|member| member.regex.clone())
            .collect();
        let unused: Vec<KString> = self
            .regexes
            .keys()
            .filter(|regex| !used.contains(*regex))
            .cloned()
            .collect();
        for regex in unused {
            self.write(GroupRecord::Regex(regex, None), changes);
        }
        let mut changed = false;
        for pattern in used {
            let known = self.regexes.get(&pattern);
            if known.is_some() && !all {
                continue;
            }
            // It was checked when it came; from a log of another version it may mean nothing here.
            let topics = compile(&pattern)
                .map(|regex| matching_topics(&regex, context.image))
                .unwrap_or_default();
            if known.is_some_and(|known| known.topics == topics) {
                continue;
            }
            changed = true;
            let resolved = ResolvedRegex {
                topics,
                version: i64::try_from(context.topics_version).unwrap_or(i64::MAX),
                timestamp_ms: context.now_ms,
            };
            self.write(GroupRecord::Regex(pattern, Some(resolved)), changes);
        }
        changed
    }
}
