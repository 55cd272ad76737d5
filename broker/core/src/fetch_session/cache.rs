//! The sessions of a broker: a bounded number, with rules who must leave when another one comes.
//!
//! A newcomer takes a free slot; else the slot of a session that was not used for longer than
//! [`SessionLimits::evict_after_ms`]; else that of the least valuable session, if it is worth less than the newcomer.
//! Followers' sessions are worth more than consumers', larger ones more than smaller ones. A session younger than
//! `evict_after_ms` gives way only when it belongs to a consumer and the newcomer to a follower.
//! A newcomer without a slot is served, but with full requests and responses.

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::ErrorCode;

use super::session::Session;
use super::{
    FINAL_EPOCH, FetchAnswer, FetchContext, FetchOutcome, FullContext, INITIAL_EPOCH, Included,
    IncrementalContext, NO_SESSION, SessionRequest, targets,
};

/// The sessions of one broker.
#[derive(Debug)]
pub struct FetchSessions {
    limits: SessionLimits,
    sessions: BTreeMap<i32, Slot>,
    /// By time of last use, and id.
    last_used: BTreeSet<(i64, i32)>,
    /// Sessions that a follower's session may replace.
    evictable_by_followers: BTreeSet<Worth>,
    /// Sessions that any session may replace.
    evictable_by_all: BTreeSet<Worth>,
    evictions: u64,
}

/// How much the sessions may take.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// `max.incremental.fetch.session.cache.slots`: sessions at once; 0 switches sessions off.
    pub slots: usize,
    /// A session gives way when it was not used, or has lived, for longer than this many milliseconds.
    pub evict_after_ms: i64,
    /// Partitions of all sessions together; a client that asks for more is served without session.
    pub partitions: usize,
}

#[derive(Debug)]
struct Slot {
    session: Session,
    created_ms: i64,
    last_used_ms: i64,
    /// As the session stands in the sets of those that may be replaced.
    worth: Worth,
}

/// Orders sessions: the least one is replaced first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    from_follower: bool,
    partitions: usize,
    id: i32,
}

impl FetchSessions {
    /// No sessions yet.
    #[must_use]
    pub const fn new(limits: SessionLimits) -> Self {
        Self {
            limits,
            sessions: BTreeMap::new(),
            last_used: BTreeSet::new(),
            evictable_by_followers: BTreeSet::new(),
            evictable_by_all: BTreeSet::new(),
            evictions: 0,
        }
    }

    /// Number of sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Partitions of all sessions together.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.sessions.values().map(|slot| slot.session.len()).sum()
    }

    /// Sessions that had to give way to others since start.
    #[must_use]
    pub const fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Finds out what a fetch reads.
    ///
    /// # Errors
    ///
    /// - `FETCH_SESSION_ID_NOT_FOUND`: the session was given up; the client begins a new one.
    /// - `INVALID_FETCH_SESSION_EPOCH`: the request is not the one that follows the last one.
    /// - `FETCH_SESSION_TOPIC_ID_ERROR`: the session names its topics in the other way (by id, or by name).
    pub fn begin(
        &mut self,
        request: &SessionRequest,
        now_ms: i64,
    ) -> Result<FetchContext, ErrorCode> {
        if request.session_epoch == INITIAL_EPOCH || request.session_epoch == FINAL_EPOCH {
            self.remove(request.session_id);
            let targets = targets(&request.topics);
            let wants_none = request.session_epoch == FINAL_EPOCH;
            let too_many = self.partitions() + targets.len() > self.limits.partitions;
            if wants_none || targets.is_empty() || too_many {
                return Ok(FetchContext::Sessionless(targets));
            }
            return Ok(FetchContext::Full(FullContext {
                targets,
                uses_topic_ids: request.uses_topic_ids,
                from_follower: request.from_follower,
            }));
        }
        self.go_on(request, now_ms)
    }

    fn go_on(&mut self, request: &SessionRequest, now_ms: i64) -> Result<FetchContext, ErrorCode> {
        let session_id = request.session_id;
        let slot = self.sessions.get_mut(&session_id);
        let session = &mut slot.ok_or(ErrorCode::FetchSessionIdNotFound)?.session;
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_topic_ids != request.uses_topic_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.update(&request.topics, &request.forgotten);
        if session.is_empty() {
            self.remove(session_id);
            return Ok(FetchContext::Sessionless(Vec::new()));
        }
        session.advance();
        let context = IncrementalContext {
            targets: session.targets(),
            session_id,
            epoch: session.epoch,
        };
        self.touch(session_id, now_ms);
        if !request.topics.is_empty() && self.partitions() > self.limits.partitions {
            self.remove(session_id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        Ok(FetchContext::Incremental(context))
    }

    /// Takes note of what a fetch found, in the order of its targets. `fresh_id` gives random ids.
    ///
    /// # Errors
    ///
    /// When the session was used by another request, or given up, since the fetch began; see [`FetchSessions::begin`].
    pub fn finish(
        &mut self,
        context: &FetchContext,
        outcomes: &[FetchOutcome],
        now_ms: i64,
        fresh_id: impl FnMut() -> i32,
    ) -> Result<FetchAnswer, ErrorCode> {
        match context {
            FetchContext::Sessionless(_) => Ok(FetchAnswer::without_session()),
            FetchContext::Full(full) => Ok(self.create(full, outcomes, now_ms, fresh_id)),
            FetchContext::Incremental(incremental) => {
                let slot = self.sessions.get_mut(&incremental.session_id);
                let session = &mut slot.ok_or(ErrorCode::FetchSessionIdNotFound)?.session;
                if session.epoch != incremental.epoch {
                    return Err(ErrorCode::InvalidFetchSessionEpoch);
                }
                Ok(FetchAnswer {
                    session_id: incremental.session_id,
                    included: Included::Only(session.tell(outcomes)),
                })
            }
        }
    }

    fn create(
        &mut self,
        full: &FullContext,
        outcomes: &[FetchOutcome],
        now_ms: i64,
        mut fresh_id: impl FnMut() -> i32,
    ) -> FetchAnswer {
        if !self.make_room(full, now_ms) {
            return FetchAnswer::without_session();
        }
        let free = |id: &i32| *id > NO_SESSION && !self.sessions.contains_key(id);
        let Some(id) = (0..ID_ATTEMPTS).map(|_| fresh_id()).find(free) else {
            return FetchAnswer::without_session();
        };
        let mut session = Session::new(full.uses_topic_ids, full.from_follower);
        session.fill(&full.targets, outcomes);
        let slot = Slot {
            created_ms: now_ms,
            last_used_ms: now_ms,
            worth: Worth::of(&session, id),
            session,
        };
        self.sessions.insert(id, slot);
        self.touch(id, now_ms);
        FetchAnswer {
            session_id: id,
            included: Included::All,
        }
    }

    /// Whether there is a slot for the session, if need be that of another one.
    fn make_room(&mut self, full: &FullContext, now_ms: i64) -> bool {
        if self.sessions.len() < self.limits.slots {
            return true;
        }
        let Some(leaver) = self.leaver(full, now_ms) else {
            return false;
        };
        self.remove(leaver);
        self.evictions += 1;
        true
    }

    fn leaver(&self, full: &FullContext, now_ms: i64) -> Option<i32> {
        let (last_used_ms, oldest) = *self.last_used.first()?;
        if now_ms - last_used_ms > self.limits.evict_after_ms {
            return Some(oldest);
        }
        let evictable = if full.from_follower {
            &self.evictable_by_followers
        } else {
            &self.evictable_by_all
        };
        let newcomer = Worth {
            from_follower: full.from_follower,
            partitions: full.targets.len(),
            id: NO_SESSION,
        };
        let least = evictable.first()?;
        (*least < newcomer).then_some(least.id)
    }

    /// Takes note that a session is used now.
    fn touch(&mut self, id: i32, now_ms: i64) {
        let Some(slot) = self.sessions.get_mut(&id) else {
            return;
        };
        self.last_used.remove(&(slot.last_used_ms, id));
        self.evictable_by_followers.remove(&slot.worth);
        self.evictable_by_all.remove(&slot.worth);
        slot.last_used_ms = now_ms;
        slot.worth = Worth::of(&slot.session, id);
        self.last_used.insert((now_ms, id));
        let settled = now_ms - slot.created_ms > self.limits.evict_after_ms;
        if settled || !slot.worth.from_follower {
            self.evictable_by_followers.insert(slot.worth);
        }
        if settled {
            self.evictable_by_all.insert(slot.worth);
        }
    }

    fn remove(&mut self, id: i32) {
        if let Some(slot) = self.sessions.remove(&id) {
            self.last_used.remove(&(slot.last_used_ms, id));
            self.evictable_by_followers.remove(&slot.worth);
            self.evictable_by_all.remove(&slot.worth);
        }
    }
}

impl Worth {
    fn of(session: &Session, id: i32) -> Self {
        Self {
            from_follower: session.from_follower,
            partitions: session.len(),
            id,
        }
    }
}

impl FetchAnswer {
    const fn without_session() -> Self {
        Self {
            session_id: NO_SESSION,
            included: Included::All,
        }
    }
}

impl Default for SessionLimits {
    /// Kafka's numbers; Kafka does not limit the partitions.
    fn default() -> Self {
        Self {
            slots: 1000,
            evict_after_ms: 120_000,
            partitions: 500_000,
        }
    }
}

/// Random ids that are tried before a client has to do without session.
const ID_ATTEMPTS: usize = 64;
