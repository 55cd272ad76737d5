//! CreateTopics v2–7: checks names, counts, assignments and settings of new topics.

use std::collections::BTreeMap;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use moldau_protocol::messages::create_topics::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use moldau_protocol::types::{KString, Uuid};

use super::{Controller, Decision, invalid_request, new_partition, repeated};
use crate::config::{
    ConfigQuery, describe_topic_configs, validate_topic_setting, validate_topic_settings,
};
use crate::metadata::record::{ConfigRecord, MetadataRecord, ResourceType};
use crate::metadata::topic_name::{collides, is_internal, unified, validate_topic_name};
use crate::rejection::Rejection;

/// A topic that can be created.
struct Plan {
    replicas: Vec<Vec<i32>>,
    configs: BTreeMap<KString, KString>,
}

impl Controller<'_> {
    /// Creates topics; `fresh_topic_id` gives random ids.
    #[must_use]
    pub fn create_topics(
        &self,
        request: &CreateTopicsRequest,
        fresh_topic_id: &mut dyn FnMut() -> Uuid,
    ) -> Decision<CreateTopicsResponse> {
        let repeated = repeated(request.topics.iter().map(|topic| &topic.name));
        let mut records = Vec::new();
        let mut topics = Vec::new();
        let mut accepted = Accepted::default();
        for topic in &request.topics {
            if repeated.contains(&topic.name) && accepted.answered_repetition(&topic.name) {
                continue;
            }
            let plan = if repeated.contains(&topic.name) {
                Err(invalid_request(format!(
                    "topic \"{}\" is in the request more than once",
                    topic.name
                )))
            } else {
                self.plan(topic, &accepted)
            };
            let result = plan.map(|plan| {
                accepted.add(topic, &plan);
                let id = if request.validate_only {
                    Uuid::ZERO
                } else {
                    self.unused_id(fresh_topic_id)
                };
                if !request.validate_only {
                    records.extend(plan.records(&topic.name, id));
                }
                self.created(&topic.name, id, &plan)
            });
            topics.push(result.unwrap_or_else(|rejection| refused(&topic.name, &rejection)));
        }
        Decision {
            records,
            response: CreateTopicsResponse {
                topics,
                ..Default::default()
            },
        }
    }

    fn plan(&self, topic: &CreatableTopic, accepted: &Accepted) -> Result<Plan, Rejection> {
        let name = &topic.name;
        validate_topic_name(name)
            .map_err(|error| Rejection::new(ErrorCode::InvalidTopicException, error.to_string()))?;
        if self.image.topic(name).is_some() {
            return Err(Rejection::new(
                ErrorCode::TopicAlreadyExists,
                format!("topic \"{name}\" already exists"),
            ));
        }
        if let Some(other) = self.colliding(name).or_else(|| accepted.colliding(name)) {
            let message = format!(
                "topic \"{name}\" collides with topic \"{other}\": '.' and '_' look the same in metrics"
            );
            return Err(Rejection::new(ErrorCode::InvalidTopicException, message));
        }
        let configs = checked_configs(topic)?;
        validate_topic_settings(&configs, &self.settings.topic_defaults)?;
        let replicas = if topic.assignments.is_empty() {
            self.placed(topic)?
        } else {
            self.assigned(topic)?
        };
        if accepted.partitions + replicas.len() > MAX_NEW_PARTITIONS {
            let message = format!("the request creates more than {MAX_NEW_PARTITIONS} partitions");
            return Err(Rejection::new(ErrorCode::PolicyViolation, message));
        }
        Ok(Plan { replicas, configs })
    }

    /// Names of the same length that only differ in '.' and '_' lie around the name in order.
    fn colliding(&self, name: &str) -> Option<KString> {
        if !name.contains(['.', '_']) {
            return None;
        }
        self.image
            .topics()
            .find(|topic| collides(&topic.name, name))
            .map(|topic| topic.name.clone())
    }

    fn placed(&self, topic: &CreatableTopic) -> Result<Vec<Vec<i32>>, Rejection> {
        let partitions = match topic.num_partitions {
            USE_DEFAULT => self.settings.default_partitions,
            count if count < 1 => {
                let message =
                    format!("{count} partitions; at least 1 is needed, or -1 for the default");
                return Err(Rejection::new(ErrorCode::InvalidPartitions, message));
            }
            count => count,
        };
        // Checked before anything of that length is made.
        if partitions as usize > MAX_NEW_PARTITIONS {
            let message = format!(
                "{partitions} partitions; at most {MAX_NEW_PARTITIONS} can be created at once"
            );
            return Err(Rejection::new(ErrorCode::PolicyViolation, message));
        }
        self.place(0, partitions, self.replication_factor(topic)?)
    }

    /// A number that a person asked for is kept; defaults, and what the cluster asks for its own
    /// topics, give way to the number of live brokers, so that one node works and three are safe.
    fn replication_factor(&self, topic: &CreatableTopic) -> Result<i16, Rejection> {
        let live = i16::try_from(self.live_brokers().len())
            .unwrap_or(i16::MAX)
            .max(1);
        match topic.replication_factor {
            count if i32::from(count) == USE_DEFAULT => {
                Ok(self.settings.default_replication_factor.clamp(1, live))
            }
            count if count < 1 => {
                let message = format!(
                    "replication factor {count}; at least 1 is needed, or -1 for the default"
                );
                Err(Rejection::new(ErrorCode::InvalidReplicationFactor, message))
            }
            count if is_internal(&topic.name) => Ok(count.min(live)),
            count => Ok(count),
        }
    }

    fn assigned(&self, topic: &CreatableTopic) -> Result<Vec<Vec<i32>>, Rejection> {
        if topic.num_partitions != USE_DEFAULT || i32::from(topic.replication_factor) != USE_DEFAULT
        {
            let message =
                "partitions and replication factor must be -1 where replicas are assigned by hand";
            return Err(invalid_request(message));
        }
        let mut assignments: Vec<_> = topic.assignments.iter().collect();
        assignments.sort_by_key(|assignment| assignment.partition_index);
        let replication_factor = assignments
            .first()
            .map_or(0, |assignment| assignment.broker_ids.len());
        let mut replicas = Vec::new();
        for (index, assignment) in (0..).zip(assignments) {
            if assignment.partition_index != index {
                let message = format!(
                    "partition {index} is not assigned exactly once; indexes go from 0 without gaps"
                );
                return Err(Rejection::new(ErrorCode::InvalidReplicaAssignment, message));
            }
            self.check_assignment(index, &assignment.broker_ids, replication_factor)?;
            replicas.push(assignment.broker_ids.clone());
        }
        Ok(replicas)
    }

    fn unused_id(&self, fresh_topic_id: &mut dyn FnMut() -> Uuid) -> Uuid {
        // Zero stands for "none"; a used id can only come from a broken source of randomness.
        let usable = |id: &Uuid| !id.is_zero() && self.image.topic_by_id(*id).is_none();
        (0..MAX_ID_DRAWS)
            .map(|_| fresh_topic_id())
            .find(usable)
            .unwrap_or_default()
    }

    fn created(&self, name: &KString, topic_id: Uuid, plan: &Plan) -> CreatableTopicResult {
        let described = describe_topic_configs(
            Some(&plan.configs),
            &self.settings.broker,
            ConfigQuery::default(),
        );
        let configs = described.into_iter().map(|setting| CreatableTopicConfigs {
            name: setting.name,
            value: setting.value,
            read_only: setting.read_only,
            config_source: setting.config_source,
            is_sensitive: setting.is_sensitive,
            ..Default::default()
        });
        CreatableTopicResult {
            name: name.clone(),
            topic_id,
            num_partitions: plan.replicas.len() as i32,
            replication_factor: plan
                .replicas
                .first()
                .map_or(-1, |replicas| replicas.len() as i16),
            configs: Some(configs.collect()),
            ..Default::default()
        }
    }
}

impl Plan {
    fn records(&self, name: &KString, id: Uuid) -> Vec<MetadataRecord> {
        let topic = MetadataRecord::Topic {
            name: name.detached(),
            id,
        };
        let config = |(key, value): (&KString, &KString)| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: ResourceType::Topic,
                resource_name: name.detached(),
                name: key.detached(),
                value: Some(value.detached()),
            })
        };
        let partitions = (0..)
            .zip(&self.replicas)
            .map(|(index, replicas)| new_partition(id, index, replicas.clone()));
        [topic]
            .into_iter()
            .chain(self.configs.iter().map(config))
            .chain(partitions)
            .collect()
    }
}

/// What the topics before in the same request take.
#[derive(Default)]
struct Accepted {
    partitions: usize,
    /// By the name as metrics show it.
    names: BTreeMap<Vec<u8>, KString>,
    repetitions: Vec<KString>,
}

impl Accepted {
    fn add(&mut self, topic: &CreatableTopic, plan: &Plan) {
        self.partitions += plan.replicas.len();
        self.names
            .insert(unified(&topic.name).collect(), topic.name.clone());
    }

    fn colliding(&self, name: &str) -> Option<KString> {
        self.names.get(&unified(name).collect::<Vec<_>>()).cloned()
    }

    /// A name that comes several times gets a single answer.
    fn answered_repetition(&mut self, name: &KString) -> bool {
        let answered = self.repetitions.contains(name);
        if !answered {
            self.repetitions.push(name.clone());
        }
        answered
    }
}

fn checked_configs(topic: &CreatableTopic) -> Result<BTreeMap<KString, KString>, Rejection> {
    let mut configs = BTreeMap::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let message = format!("topic setting \"{}\" has no value", config.name);
            return Err(Rejection::new(ErrorCode::InvalidConfig, message));
        };
        validate_topic_setting(&config.name, value)?;
        configs.insert(config.name.clone(), value.clone());
    }
    Ok(configs)
}

fn refused(name: &KString, rejection: &Rejection) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.clone(),
        error_code: rejection.code.code(),
        error_message: Some(rejection.message.clone().into()),
        configs: None,
        ..Default::default()
    }
}

/// The count that means "the broker's default".
const USE_DEFAULT: i32 = -1;

/// Partitions that one request may create, so that the batch of records stays bounded.
const MAX_NEW_PARTITIONS: usize = 10_000;

const MAX_ID_DRAWS: usize = 16;

#[cfg(test)]
mod tests {
    use moldau_protocol::messages::create_topics::{
        CreatableReplicaAssignment, CreatableTopicConfig,
    };

    use super::*;
    use crate::metadata::MetadataImage;
    use crate::metadata::controller::ControllerSettings;
    use crate::metadata::controller::fixture::{add_topic, controller, nodes};

    fn topic(name: &'static str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
        CreatableTopic {
            name: name.into(),
            num_partitions,
            replication_factor,
            ..Default::default()
        }
    }

    fn decide(
        image: &MetadataImage,
        topics: Vec<CreatableTopic>,
        validate_only: bool,
    ) -> Decision<CreateTopicsResponse> {
        let request = CreateTopicsRequest {
            topics,
            validate_only,
            ..Default::default()
        };
        let mut last = 0;
        controller(image, &ControllerSettings::default()).create_topics(&request, &mut || {
            last += 1;
            Uuid([last; 16])
        })
    }

    fn codes(decision: &Decision<CreateTopicsResponse>) -> Vec<ErrorCode> {
        decision
            .response
            .topics
            .iter()
            .map(|topic| ErrorCode::from_code(topic.error_code))
            .collect()
    }

    fn assigned(name: &'static str, partitions: &[(i32, &[i32])]) -> CreatableTopic {
        let assignment = |(index, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
            partition_index: *index,
            broker_ids: brokers.to_vec(),
            ..Default::default()
        };
        CreatableTopic {
            assignments: partitions.iter().map(assignment).collect(),
            ..topic(name, -1, -1)
        }
    }

    #[test]
    fn a_new_topic_has_all_its_partitions_and_settings_in_the_image() {
        let mut image = nodes(3);
        let config = CreatableTopicConfig {
            name: "retention.ms".into(),
            value: Some("5".into()),
            ..Default::default()
        };
        let orders = CreatableTopic {
            configs: vec![config],
            ..topic("orders", 4, 2)
        };
        let decision = decide(&image, vec![orders], false);
        assert_eq!(codes(&decision), [ErrorCode::None]);
        for record in &decision.records {
            image.apply(record).unwrap();
        }
        let orders = image.topic("orders").unwrap();
        assert_eq!(orders.id, Uuid([1; 16]));
        let replicas: Vec<_> = orders
            .partitions
            .iter()
            .map(|partition| partition.replicas.clone())
            .collect();
        assert_eq!(replicas, [[1, 2], [2, 3], [3, 1], [1, 2]]);
        assert!(
            orders
                .partitions
                .iter()
                .all(|p| p.isr == p.replicas && Some(&p.leader) == p.replicas.first())
        );
        assert_eq!(
            image
                .topic_config(&"orders".into())
                .and_then(|c| c.get("retention.ms")),
            Some(&"5".into())
        );

        let [created] = decision.response.topics.as_slice() else {
            panic!("one topic")
        };
        assert_eq!((created.num_partitions, created.replication_factor), (4, 2));
        let retention = created
            .configs
            .iter()
            .flatten()
            .find(|config| config.name == "retention.ms")
            .unwrap();
        assert_eq!(
            (retention.value.as_deref(), retention.config_source),
            (Some("5"), 1)
        );
    }

    #[test]
    fn topics_that_are_refused() {
        let mut image = nodes(1);
        add_topic(&mut image, "a.b", 1);
        let config = |name: &'static str, value: Option<&'static str>| CreatableTopic {
            configs: vec![CreatableTopicConfig {
                name: name.into(),
                value: value.map(KString::from),
                ..Default::default()
            }],
            ..topic("x", 1, 1)
        };
        for (topic, code) in [
            (topic("", 1, 1), ErrorCode::InvalidTopicException),
            (topic("sp ace", 1, 1), ErrorCode::InvalidTopicException),
            (topic("a_b", 1, 1), ErrorCode::InvalidTopicException),
            (topic("a.b", 1, 1), ErrorCode::TopicAlreadyExists),
            (topic("x", 0, 1), ErrorCode::InvalidPartitions),
            (topic("x", -2, 1), ErrorCode::InvalidPartitions),
            (topic("x", i32::MAX, 1), ErrorCode::PolicyViolation),
            (topic("x", 1, 0), ErrorCode::InvalidReplicationFactor),
            (topic("x", 1, -2), ErrorCode::InvalidReplicationFactor),
            (topic("x", 1, 2), ErrorCode::InvalidReplicationFactor),
            (config("retension.ms", Some("1")), ErrorCode::InvalidConfig),
            (config("retention.ms", Some("x")), ErrorCode::InvalidConfig),
            (config("retention.ms", None), ErrorCode::InvalidConfig),
            (
                assigned("x", &[(0, &[1]), (2, &[1])]),
                ErrorCode::InvalidReplicaAssignment,
            ),
            (
                assigned("x", &[(0, &[1]), (0, &[1])]),
                ErrorCode::InvalidReplicaAssignment,
            ),
            (
                assigned("x", &[(0, &[])]),
                ErrorCode::InvalidReplicaAssignment,
            ),
            (
                assigned("x", &[(0, &[1, 1])]),
                ErrorCode::InvalidReplicaAssignment,
            ),
            (
                assigned("x", &[(0, &[9])]),
                ErrorCode::InvalidReplicaAssignment,
            ),
            (
                CreatableTopic {
                    num_partitions: 1,
                    ..assigned("x", &[(0, &[1])])
                },
                ErrorCode::InvalidRequest,
            ),
        ] {
            let decision = decide(&image, vec![topic.clone()], false);
            assert_eq!(codes(&decision), [code], "{topic:?}");
            assert_eq!(decision.records, [], "{topic:?}");
        }
    }

    #[test]
    fn one_refused_topic_does_not_stop_the_others() {
        let decision = decide(&nodes(1), vec![topic("ok", 1, 1), topic("", 1, 1)], false);
        assert_eq!(
            codes(&decision),
            [ErrorCode::None, ErrorCode::InvalidTopicException]
        );
        assert_eq!(decision.records.len(), 2);
    }

    #[test]
    fn a_name_that_comes_twice_is_refused_once() {
        let topics = vec![
            topic("twice", 1, 1),
            topic("once", 1, 1),
            topic("twice", 2, 1),
        ];
        let decision = decide(&nodes(1), topics, false);
        assert_eq!(
            codes(&decision),
            [ErrorCode::InvalidRequest, ErrorCode::None]
        );
    }

    #[test]
    fn new_topics_of_one_request_may_not_collide_either() {
        let decision = decide(
            &nodes(1),
            vec![topic("a.b", 1, 1), topic("a_b", 1, 1)],
            false,
        );
        assert_eq!(
            codes(&decision),
            [ErrorCode::None, ErrorCode::InvalidTopicException]
        );
    }

    #[test]
    fn nothing_is_created_when_only_asked_to_validate() {
        let decision = decide(&nodes(1), vec![topic("orders", 3, 1)], true);
        assert_eq!(codes(&decision), [ErrorCode::None]);
        assert_eq!(decision.records, []);
        assert!(
            decision
                .response
                .topics
                .iter()
                .all(|topic| topic.topic_id.is_zero() && topic.num_partitions == 3)
        );
    }

    #[test]
    fn defaults_and_internal_topics_get_as_many_replicas_as_there_are_brokers() {
        let decision = decide(
            &nodes(1),
            vec![topic("__consumer_offsets", 50, 3), topic("orders", -1, -1)],
            false,
        );
        let counts: Vec<_> = decision
            .response
            .topics
            .iter()
            .map(|topic| (topic.num_partitions, topic.replication_factor))
            .collect();
        assert_eq!(counts, [(50, 1), (1, 1)]);
    }

    #[test]
    fn replicas_assigned_by_hand_are_kept_in_their_order() {
        let decision = decide(
            &nodes(3),
            vec![assigned("x", &[(1, &[2, 1]), (0, &[3, 1])])],
            false,
        );
        assert_eq!(codes(&decision), [ErrorCode::None]);
        let replicas: Vec<_> = decision
            .records
            .iter()
            .filter_map(|record| match record {
                MetadataRecord::Partition(partition) => Some((
                    partition.index,
                    partition.replicas.clone(),
                    partition.leader,
                )),
                _ => None,
            })
            .collect();
        assert_eq!(replicas, [(0, vec![3, 1], 3), (1, vec![2, 1], 2)]);
    }
}
