//! Finding who can answer a query, here or in another instance.

use std::sync::Arc;
use std::time::Duration;

use moldau_client::partitioner::partition_for_key;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::assignor_data::HostTasks;
use super::core::Core;
use super::http::{self, Answer};
use super::look_up::look_up;
use crate::runtime::error::StreamsError;
use crate::runtime::query::{QueryAnswer, StoreQuery};
use crate::runtime::store::StoreSlot;
use crate::runtime::task_id::TaskId;

/// A question on its way to the thread that runs the task.
#[derive(Debug)]
pub(super) struct LocalQuery {
    pub(super) task: TaskId,
    query: StoreQuery,
    answer: oneshot::Sender<Option<Result<QueryAnswer, StreamsError>>>,
}

impl LocalQuery {
    /// Answers from the task's stores; `None` if the thread does not run it any more.
    pub(super) fn answer(self, stores: Option<&mut [StoreSlot]>) {
        let answer = stores.map(|stores| read(stores, &self.query, 0, true));
        // Who asked may have given up.
        let _ = self.answer.send(answer);
    }
}

/// Answers questions to the stores of an application.
pub(super) struct Queries {
    core: Arc<Core>,
}

impl Queries {
    pub(super) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    pub(super) fn host(&self) -> Option<&str> {
        self.core.host.as_deref()
    }

    /// Answers here if possible, else asks the instance that can.
    pub(super) async fn ask(&self, query: &StoreQuery) -> Result<QueryAnswer, StreamsError> {
        let task = self.task_of(query)?;
        if let Some(answer) = self.ask_here(task, query).await {
            return answer;
        }
        let hosts = self.hosts(task, query.max_staleness > 0);
        let mut reason = "no instance has it at the moment, try again".to_owned();
        if hosts.is_empty() && self.host().is_none() {
            reason.push_str("; to ask other instances, set `application_server` in all of them");
        }
        for host in hosts {
            match ask_there(&host, query).await {
                Ok(answer) => return Ok(answer),
                Err(error) => reason = format!("{host}: {error}"),
            }
        }
        Err(failed(query, reason))
    }

    /// Answers from this process; `None` if it has no such task, or one that is too stale.
    async fn ask_here(
        &self,
        task: TaskId,
        query: &StoreQuery,
    ) -> Option<Result<QueryAnswer, StreamsError>> {
        let shared = &self.core.shared;
        if let Some(thread) = shared.thread_of(task) {
            let (sender, receiver) = oneshot::channel();
            let asked = LocalQuery {
                task,
                query: query.clone(),
                answer: sender,
            };
            if !shared.ask(thread, asked) {
                return Some(Err(failed(query, "too many queries wait, try again")));
            }
            match tokio::time::timeout(LIMIT, receiver).await {
                Ok(Ok(Some(answer))) => return Some(answer),
                Ok(_) => {}
                Err(_) => return Some(Err(failed(query, "the thread is too busy, try again"))),
            }
        }
        let answered = shared.standbys.read(task, |stores, lag| {
            (lag <= query.max_staleness && query.max_staleness > 0)
                .then(|| read(stores, query, lag, false))
        });
        answered.flatten()
    }

    /// Other instances that have the task: its owner first, then standbys if they may answer.
    fn hosts(&self, task: TaskId, with_standbys: bool) -> Vec<String> {
        let name = task.to_string();
        let mut hosts = Vec::new();
        let has_active = |tasks: &HostTasks| tasks.active.contains(&name);
        let has_standby = |tasks: &HostTasks| with_standbys && tasks.standby.contains(&name);
        for data in self.core.shared.assignments() {
            let active = data.hosts.iter().filter(|(_, tasks)| has_active(tasks));
            let standby = data.hosts.iter().filter(|(_, tasks)| has_standby(tasks));
            for (host, _) in active.chain(standby) {
                if self.host() != Some(host) && !hosts.contains(host) {
                    hosts.push(host.clone());
                }
            }
        }
        hosts
    }

    /// The task whose store has the answer.
    fn task_of(&self, query: &StoreQuery) -> Result<TaskId, StreamsError> {
        let parts = &self.core.application.sub_topologies;
        let has_store = |index: &usize| {
            let stores = parts[*index].stores.iter();
            stores.into_iter().any(|store| store.name == query.store)
        };
        let sub_topology = (0..parts.len()).find(has_store);
        let sub_topology = sub_topology
            .ok_or_else(|| failed(query, "the application has no store of this name"))?;
        let plan = self.core.plan.get();
        let tasks = plan.tasks.keys();
        let count = tasks.filter(|id| id.sub_topology == sub_topology).count();
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        if count == 0 {
            return Err(failed(query, "no topic matches its source's pattern yet"));
        }
        let by_key = || Some(partition_for_key(query.key()?, count));
        let partition = query.partition.or_else(by_key);
        let partition = partition.filter(|partition| (0..count).contains(partition));
        let partition = partition.ok_or_else(|| {
            failed(
                query,
                format!("name one of its partitions, 0 to {}", count - 1),
            )
        })?;
        Ok(TaskId {
            sub_topology,
            partition,
        })
    }
}

impl Answer for Queries {
    /// Answers another instance, from this process only: a question goes over one hop.
    async fn answer(&self, body: Vec<u8>) -> (u16, Vec<u8>) {
        let query: StoreQuery = match serde_json::from_slice(&body) {
            Ok(query) => query,
            Err(error) => return (400, error.to_string().into_bytes()),
        };
        let answer = match self.task_of(&query) {
            Ok(task) => self.ask_here(task, &query).await,
            Err(error) => return (404, error.to_string().into_bytes()),
        };
        match answer {
            Some(Ok(answer)) => match serde_json::to_vec(&answer) {
                Ok(body) => (200, body),
                Err(error) => (500, error.to_string().into_bytes()),
            },
            Some(Err(error)) => (500, error.to_string().into_bytes()),
            None => (
                503,
                b"this instance does not have it at the moment".to_vec(),
            ),
        }
    }
}

async fn ask_there(host: &str, query: &StoreQuery) -> Result<QueryAnswer, String> {
    let body = serde_json::to_vec(query).map_err(|error| error.to_string())?;
    match http::post(host, &body).await? {
        (200, body) => serde_json::from_slice(&body).map_err(|error| error.to_string()),
        (_, body) => Err(String::from_utf8_lossy(&body).into_owned()),
    }
}

/// Reads the answer from the stores of one task.
fn read(
    stores: &mut [StoreSlot],
    query: &StoreQuery,
    staleness: u64,
    is_active: bool,
) -> Result<QueryAnswer, StreamsError> {
    let store = stores.iter_mut().find(|store| store.name() == query.store);
    let store = store.ok_or_else(|| failed(query, "the task has no store of this name"))?;
    Ok(QueryAnswer {
        entries: look_up(store, &query.what)?,
        staleness,
        is_active,
    })
}

/// Opens the port for queries of other instances, if there is to be one; gives the address they
/// know it by.
pub(super) async fn listen(
    address: Option<&str>,
) -> Result<Option<(TcpListener, String)>, StreamsError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let failed = |error: std::io::Error| StreamsError::Config {
        setting: "application_server",
        reason: format!(
            "cannot listen on \"{address}\": {error}; give `host:port` of this machine"
        ),
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    Ok(Some((listener, format!("{host}:{port}"))))
}

fn failed(query: &StoreQuery, reason: impl Into<String>) -> StreamsError {
    StreamsError::Query {
        store: query.store.clone(),
        reason: reason.into(),
    }
}

impl std::fmt::Debug for Queries {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Queries").finish_non_exhaustive()
    }
}

/// How long a thread may take to get to a question.
const LIMIT: Duration = Duration::from_secs(10);
