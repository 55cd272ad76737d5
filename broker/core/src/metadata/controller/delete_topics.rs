//! DeleteTopics v1–6: by name, or from v6 on by name or id.

use std::collections::BTreeMap;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::delete_topics::{DeletableTopicResult, DeleteTopicsResponse};
use moldau_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use moldau_protocol::types::{KString, Uuid};

use super::{Controller, Decision, invalid_request};
use crate::metadata::image::TopicImage;
use crate::metadata::record::MetadataRecord;
use crate::rejection::Rejection;

impl Controller<'_> {
    /// Deletes topics.
    #[must_use]
    pub fn delete_topics(
        &self,
        request: &DeleteTopicsRequest,
        api_version: i16,
    ) -> Decision<DeleteTopicsResponse> {
        let wanted: Vec<DeleteTopicState> = if api_version >= 6 {
            request.topics.clone()
        } else {
            let by_name = |name: &KString| DeleteTopicState {
                name: Some(name.clone()),
                ..Default::default()
            };
            request.topic_names.iter().map(by_name).collect()
        };
        let found: Vec<_> = wanted
            .iter()
            .map(|topic| self.deletable(topic, api_version))
            .collect();
        let mut times: BTreeMap<Uuid, usize> = BTreeMap::new();
        for topic in found.iter().flatten() {
            *times.entry(topic.id).or_default() += 1;
        }
        let mut records = Vec::new();
        let mut responses = Vec::new();
        for (topic, found) in wanted.iter().zip(found) {
            let response = match found {
                Ok(found) if times.get(&found.id).is_some_and(|times| *times > 1) => {
                    let message =
                        format!("topic \"{}\" is in the request more than once", found.name);
                    refused(topic, &invalid_request(message))
                }
                Ok(found) => {
                    records.push(MetadataRecord::RemoveTopic { id: found.id });
                    DeletableTopicResult {
                        name: Some(found.name.clone()),
                        topic_id: found.id,
                        ..Default::default()
                    }
                }
                Err(rejection) => refused(topic, &rejection),
            };
            responses.push(response);
        }
        Decision {
            records,
            response: DeleteTopicsResponse {
                responses,
                ..Default::default()
            },
        }
    }

    fn deletable(
        &self,
        topic: &DeleteTopicState,
        api_version: i16,
    ) -> Result<&TopicImage, Rejection> {
        if !self.settings.delete_topic_enable {
            let code = if api_version < 3 {
                ErrorCode::InvalidRequest
            } else {
                ErrorCode::TopicDeletionDisabled
            };
            return Err(Rejection::new(
                code,
                "the broker setting delete.topic.enable is false",
            ));
        }
        match (&topic.name, topic.topic_id.is_zero()) {
            (Some(_), false) => Err(invalid_request(
                "a topic is given by its name or by its id, not by both",
            )),
            (None, true) => Err(invalid_request(
                "a topic is given by neither its name nor its id",
            )),
            (Some(name), true) => self.image.topic(name).map(AsRef::as_ref).ok_or_else(|| {
                Rejection::new(
                    ErrorCode::UnknownTopicOrPartition,
                    format!("there is no topic \"{name}\""),
                )
            }),
            (None, false) => self
                .image
                .topic_by_id(topic.topic_id)
                .map(AsRef::as_ref)
                .ok_or_else(|| {
                    let message = format!("there is no topic with id {}", topic.topic_id);
                    Rejection::new(ErrorCode::UnknownTopicId, message)
                }),
        }
    }
}

fn refused(topic: &DeleteTopicState, rejection: &Rejection) -> DeletableTopicResult {
    DeletableTopicResult {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        error_code: rejection.code.code(),
        error_message: Some(rejection.message.clone().into()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::controller::ControllerSettings;
    use crate::metadata::controller::fixture::{add_topic, controller, nodes, topic_id};

    fn decide(
        topics: Vec<DeleteTopicState>,
        settings: &ControllerSettings,
    ) -> Decision<DeleteTopicsResponse> {
        let mut image = nodes(1);
        add_topic(&mut image, "a", 1);
        add_topic(&mut image, "b", 1);
        let request = DeleteTopicsRequest {
            topics,
            ..Default::default()
        };
        controller(&image, settings).delete_topics(&request, 6)
    }

    fn by(name: Option<&'static str>, topic_id: Uuid) -> DeleteTopicState {
        DeleteTopicState {
            name: name.map(KString::from),
            topic_id,
            ..Default::default()
        }
    }

    fn codes(decision: &Decision<DeleteTopicsResponse>) -> Vec<ErrorCode> {
        decision
            .response
            .responses
            .iter()
            .map(|topic| ErrorCode::from_code(topic.error_code))
            .collect()
    }

    #[test]
    fn topics_are_deleted_by_name_or_id() {
        let wanted = vec![by(Some("a"), Uuid::ZERO), by(None, topic_id("b"))];
        let decision = decide(wanted, &ControllerSettings::default());
        assert_eq!(codes(&decision), [ErrorCode::None, ErrorCode::None]);
        let removed = ["a", "b"].map(|name| MetadataRecord::RemoveTopic { id: topic_id(name) });
        assert_eq!(decision.records, removed);
        assert!(
            decision
                .response
                .responses
                .iter()
                .all(|r| r.name.is_some() && !r.topic_id.is_zero())
        );
    }

    #[test]
    fn topics_that_are_not_deleted() {
        for (wanted, expected) in [
            (
                vec![by(Some("z"), Uuid::ZERO)],
                vec![ErrorCode::UnknownTopicOrPartition],
            ),
            (
                vec![by(None, topic_id("z"))],
                vec![ErrorCode::UnknownTopicId],
            ),
            (
                vec![by(Some("a"), topic_id("a"))],
                vec![ErrorCode::InvalidRequest],
            ),
            (vec![by(None, Uuid::ZERO)], vec![ErrorCode::InvalidRequest]),
            (
                vec![by(Some("a"), Uuid::ZERO), by(None, topic_id("a"))],
                vec![ErrorCode::InvalidRequest; 2],
            ),
        ] {
            let decision = decide(wanted.clone(), &ControllerSettings::default());
            assert_eq!(codes(&decision), expected, "{wanted:?}");
            assert_eq!(decision.records, []);
        }
    }

    #[test]
    fn deletion_can_be_switched_off() {
        let settings = ControllerSettings {
            delete_topic_enable: false,
            ..Default::default()
        };
        let decision = decide(vec![by(Some("a"), Uuid::ZERO)], &settings);
        assert_eq!(codes(&decision), [ErrorCode::TopicDeletionDisabled]);
    }

    #[test]
    fn old_versions_give_a_list_of_names() {
        let mut image = nodes(1);
        add_topic(&mut image, "a", 1);
        let request = DeleteTopicsRequest {
            topic_names: vec!["a".into()],
            ..Default::default()
        };
        let decision =
            controller(&image, &ControllerSettings::default()).delete_topics(&request, 5);
        assert_eq!(
            (codes(&decision), decision.records.len()),
            (vec![ErrorCode::None], 1)
        );
    }
}
