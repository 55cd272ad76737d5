//! A coordinator with its log and its clients, for tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use moldau_protocol::ResponseKind;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::heartbeat::HeartbeatRequest;
use moldau_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use moldau_protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity,
};
use moldau_protocol::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use moldau_protocol::types::KString;

use super::{Action, Caller, Coordinator, CoordinatorRecord, CoordinatorSettings};
use crate::ids::{AppendId, Token};
use crate::metadata::MetadataImage;
use crate::metadata::controller::fixture::{add_topic, nodes};

pub(crate) const GROUP: &str = "readers";
pub(crate) const SESSION_MS: i32 = 10_000;
pub(crate) const REBALANCE_MS: i32 = 60_000;
pub(crate) const INITIAL_DELAY_MS: i64 = 3_000;

/// Everything around one coordinator.
pub(crate) struct World {
    pub(crate) coordinator: Coordinator,
    pub(crate) image: MetadataImage,
    pub(crate) now_ms: i64,
    /// Whether appends are committed as soon as they are made.
    pub(crate) commits_at_once: bool,
    /// Appends whose outcome is open.
    pub(crate) appends: VecDeque<(AppendId, Vec<CoordinatorRecord>)>,
    /// Committed records.
    pub(crate) log: Vec<CoordinatorRecord>,
    /// Requests by token, with their answers.
    answers: BTreeMap<Token, Option<ResponseKind>>,
    last_token: u64,
}

/// What a member asks for when it joins.
#[derive(Clone, Debug)]
pub(crate) struct JoinAs {
    pub(crate) member_id: KString,
    pub(crate) instance: Option<KString>,
    pub(crate) protocols: Vec<(&'static str, &'static str)>,
    pub(crate) version: i16,
    pub(crate) session_ms: i32,
    pub(crate) rebalance_ms: i32,
}

impl Default for JoinAs {
    fn default() -> Self {
        Self {
            member_id: KString::EMPTY,
            instance: None,
            protocols: vec![("range", "m")],
            version: 9,
            session_ms: SESSION_MS,
            rebalance_ms: REBALANCE_MS,
        }
    }
}

impl JoinAs {
    pub(crate) fn member(member_id: &KString) -> Self {
        Self {
            member_id: member_id.clone(),
            ..Self::default()
        }
    }

    pub(crate) fn instance(instance: &'static str) -> Self {
        Self {
            instance: Some(instance.into()),
            ..Self::default()
        }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(CoordinatorSettings::default())
    }

    /// A world whose appends wait for [`Self::commit_one`] or [`Self::fail_one`].
    pub(crate) fn held() -> Self {
        Self::held_with(CoordinatorSettings::default())
    }

    pub(crate) fn held_with(settings: CoordinatorSettings) -> Self {
        Self {
            commits_at_once: false,
            ..Self::with(settings)
        }
    }

    pub(crate) fn with(settings: CoordinatorSettings) -> Self {
        let mut image = nodes(1);
        add_topic(&mut image, "orders", 4);
        add_topic(&mut image, "visits", 4);
        let mut coordinator = Coordinator::new(settings);
        coordinator.metadata_changed(&Arc::new(image.clone()));
        coordinator.loaded(0);
        Self {
            coordinator,
            image,
            now_ms: 0,
            commits_at_once: true,
            appends: VecDeque::new(),
            log: Vec::new(),
            answers: BTreeMap::new(),
            last_token: 0,
        }
    }

    /// Adds a topic, of which the coordinator hears.
    pub(crate) fn add_topic(&mut self, name: &'static str, partitions: i32) {
        add_topic(&mut self.image, name, partitions);
        self.coordinator
            .metadata_changed(&Arc::new(self.image.clone()));
    }

    pub(crate) fn caller(&mut self, api_version: i16) -> Caller {
        self.last_token += 1;
        let token = Token(self.last_token);
        self.answers.insert(token, None);
        Caller {
            token,
            api_version,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
        }
    }

    /// Does what the coordinator says, as the broker would.
    pub(crate) fn act(&mut self, actions: Vec<Action>) {
        let mut actions: VecDeque<Action> = actions.into();
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Respond { token, response } => {
                    let answer = self
                        .answers
                        .get_mut(&token)
                        .expect("a token that was given");
                    assert!(
                        answer.is_none(),
                        "a second answer to {token}: {answer:?}, then {response:?}"
                    );
                    *answer = Some(response);
                }
                Action::Append { id, records, .. } => {
                    assert!(!records.is_empty());
                    self.appends.push_back((id, records));
                }
                Action::AppendMarker { id, .. } => self.appends.push_back((id, Vec::new())),
            }
            while self.commits_at_once && !self.appends.is_empty() {
                actions.extend(self.commit_next());
            }
        }
    }

    fn commit_next(&mut self) -> Vec<Action> {
        let Some((id, records)) = self.appends.pop_front() else {
            return Vec::new();
        };
        self.log.extend(records);
        self.coordinator.committed(id, self.now_ms)
    }

    pub(crate) fn commit_one(&mut self) {
        let actions = self.commit_next();
        self.act(actions);
    }

    pub(crate) fn fail_one(&mut self, error: ErrorCode) {
        if let Some((id, _)) = self.appends.pop_front() {
            let actions = self.coordinator.append_failed(id, error, self.now_ms);
            self.act(actions);
        }
    }

    pub(crate) fn resign(&mut self) {
        self.appends.clear();
        let actions = self.coordinator.resign(ErrorCode::NotCoordinator);
        self.act(actions);
    }

    /// Lets time pass, with every timeout at its moment.
    pub(crate) fn pass(&mut self, ms: i64) {
        let until = self.now_ms + ms;
        for _ in 0..10_000 {
            let Some(at) = self.coordinator.poll_timeout().filter(|at| *at <= until) else {
                self.now_ms = until;
                return;
            };
            self.now_ms = self.now_ms.max(at);
            let actions = self.coordinator.handle_timeout(self.now_ms);
            self.act(actions);
        }
        panic!("timeouts without end at {}", self.now_ms);
    }

    /// Lets time pass until a request is answered.
    pub(crate) fn until_answered(&mut self, token: Token) {
        while self.is_waiting(token) {
            let next = self
                .coordinator
                .poll_timeout()
                .expect("something that ends the wait");
            self.pass(next - self.now_ms);
        }
    }

    pub(crate) fn answer(&self, token: Token) -> Option<&ResponseKind> {
        self.answers[&token].as_ref()
    }

    pub(crate) fn is_waiting(&self, token: Token) -> bool {
        self.answer(token).is_none()
    }

    pub(crate) fn answers(&self) -> impl Iterator<Item = &ResponseKind> {
        self.answers.values().flatten()
    }

    pub(crate) fn unanswered(&self) -> Vec<Token> {
        self.answers
            .iter()
            .filter(|(_, answer)| answer.is_none())
            .map(|(token, _)| *token)
            .collect()
    }

    pub(crate) fn joined(&self, token: Token) -> &JoinGroupResponse {
        match self.answer(token) {
            Some(ResponseKind::JoinGroup(response)) => response,
            other => panic!("join {token}: {other:?}"),
        }
    }

    pub(crate) fn join_code(&self, token: Token) -> ErrorCode {
        ErrorCode::from_code(self.joined(token).error_code)
    }

    pub(crate) fn synced(&self, token: Token) -> &SyncGroupResponse {
        match self.answer(token) {
            Some(ResponseKind::SyncGroup(response)) => response,
            other => panic!("sync {token}: {other:?}"),
        }
    }

    pub(crate) fn sync_code(&self, token: Token) -> ErrorCode {
        ErrorCode::from_code(self.synced(token).error_code)
    }

    pub(crate) fn join(&mut self, join: JoinAs) -> Token {
        let caller = self.caller(join.version);
        let protocol = |(name, metadata): &(&'static str, &'static str)| JoinGroupRequestProtocol {
            name: (*name).into(),
            metadata: Bytes::from_static(metadata.as_bytes()),
            ..Default::default()
        };
        let request = JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: join.session_ms,
            rebalance_timeout_ms: join.rebalance_ms,
            member_id: join.member_id,
            group_instance_id: join.instance,
            protocol_type: "consumer".into(),
            protocols: join.protocols.iter().map(protocol).collect(),
            ..Default::default()
        };
        let fresh_id = u128::from(self.last_token);
        let actions = self
            .coordinator
            .join_group(&caller, request, fresh_id, self.now_ms);
        self.act(actions);
        caller.token
    }

    /// Asks for a member id and joins with it.
    pub(crate) fn join_new(&mut self) -> (KString, Token) {
        self.join_new_as(JoinAs::default())
    }

    pub(crate) fn join_new_as(&mut self, join: JoinAs) -> (KString, Token) {
        let asked = self.join(join.clone());
        assert_eq!(self.join_code(asked), ErrorCode::MemberIdRequired);
        let member_id = self.joined(asked).member_id.clone();
        let token = self.join(JoinAs {
            member_id: member_id.clone(),
            ..join
        });
        (member_id, token)
    }

    pub(crate) fn sync(
        &mut self,
        member_id: &KString,
        assignments: &[(&KString, &'static str)],
    ) -> Token {
        let generation_id = self.generation();
        self.sync_with(SyncGroupRequest {
            generation_id,
            ..sync_request(member_id, assignments)
        })
    }

    pub(crate) fn sync_with(&mut self, request: SyncGroupRequest) -> Token {
        let caller = self.caller(5);
        let actions = self.coordinator.sync_group(&caller, request, self.now_ms);
        self.act(actions);
        caller.token
    }

    pub(crate) fn heartbeat(&mut self, member_id: &KString) -> ErrorCode {
        let generation_id = self.generation();
        self.heartbeat_with(HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id,
            member_id: member_id.clone(),
            ..Default::default()
        })
    }

    pub(crate) fn heartbeat_with(&mut self, request: HeartbeatRequest) -> ErrorCode {
        let caller = self.caller(4);
        let actions = self.coordinator.heartbeat(&caller, request, self.now_ms);
        self.act(actions);
        match self.answer(caller.token) {
            Some(ResponseKind::Heartbeat(response)) => ErrorCode::from_code(response.error_code),
            other => panic!("a heartbeat is answered at once: {other:?}"),
        }
    }

    pub(crate) fn leave(&mut self, members: &[(&KString, Option<&'static str>)]) -> Token {
        let caller = self.caller(5);
        let member = |(member_id, instance): &(&KString, Option<&'static str>)| MemberIdentity {
            member_id: (*member_id).clone(),
            group_instance_id: instance.map(KString::from),
            ..Default::default()
        };
        let members = members.iter().map(member).collect();
        let request = LeaveGroupRequest {
            group_id: GROUP.into(),
            members,
            ..Default::default()
        };
        let actions = self.coordinator.leave_group(&caller, request, self.now_ms);
        self.act(actions);
        caller.token
    }

    pub(crate) fn left(&self, token: Token) -> &LeaveGroupResponse {
        match self.answer(token) {
            Some(ResponseKind::LeaveGroup(response)) => response,
            other => panic!("leave {token}: {other:?}"),
        }
    }

    pub(crate) fn state(&self) -> String {
        self.coordinator
            .describe_group(&GROUP.into(), 0)
            .group_state
            .to_string()
    }

    pub(crate) fn generation(&self) -> i32 {
        self.coordinator
            .groups
            .get(GROUP)
            .map_or(-1, |group| group.generation_id())
    }

    /// A stable group of this many dynamic members; the first is the leader.
    pub(crate) fn stable(&mut self, members: usize) -> Vec<KString> {
        let joining: Vec<_> = (0..members).map(|_| self.join_new()).collect();
        self.until_answered(joining[0].1);
        let leader = self.joined(joining[0].1).leader.clone();
        let mut ids: Vec<KString> = joining.into_iter().map(|(id, _)| id).collect();
        ids.sort_by_key(|id| *id != leader);
        self.assign(&ids);
        ids
    }

    /// The first of the members, the leader, assigns; then all others ask.
    pub(crate) fn assign(&mut self, ids: &[KString]) {
        let assignments: Vec<(&KString, &'static str)> =
            ids.iter().map(|id| (id, "work")).collect();
        let tokens: Vec<Token> = ids
            .iter()
            .enumerate()
            .map(|(index, id)| self.sync(id, if index == 0 { &assignments } else { &[] }))
            .collect();
        assert!(
            tokens
                .iter()
                .all(|token| self.sync_code(*token) == ErrorCode::None)
        );
        assert_eq!(self.state(), "Stable");
    }

    /// A coordinator that has only read the log.
    pub(crate) fn replayed(&self) -> Coordinator {
        let mut coordinator = Coordinator::new(self.coordinator.settings);
        for record in &self.log {
            coordinator
                .replay(&record.key, record.value.as_ref())
                .expect("our own records");
        }
        coordinator
    }
}

pub(crate) fn sync_request(
    member_id: &KString,
    assignments: &[(&KString, &'static str)],
) -> SyncGroupRequest {
    let assignment = |(member_id, work): &(&KString, &'static str)| SyncGroupRequestAssignment {
        member_id: (*member_id).clone(),
        assignment: Bytes::from_static(work.as_bytes()),
        ..Default::default()
    };
    SyncGroupRequest {
        group_id: GROUP.into(),
        member_id: member_id.clone(),
        assignments: assignments.iter().map(assignment).collect(),
        ..Default::default()
    }
}
