//! What can go wrong in a streams application.

use moldau_client::ClientError;

use super::task_id::TaskId;

/// What went wrong. Each text names the object and says what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamsError {
    /// The topology or the application makes no sense; nothing was started.
    #[error("{0}")]
    Topology(String),
    /// A setting makes no sense.
    #[error("setting `{setting}`: {reason}")]
    Config {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A source topic did not appear within the time allowed.
    #[error(
        "source topic \"{topic}\" does not exist\n  hint: create it first, for example with `moldau topic create {topic} --partitions 3`"
    )]
    MissingTopic {
        /// The topic.
        topic: String,
    },
    /// Topics that are joined have different numbers of partitions.
    #[error(
        "operator {operator} needs topics with equal partition counts, but {counts}\n  hint: recreate one of them with the other's count, or change its key first (select_key), which repartitions it"
    )]
    CoPartition {
        /// The operator that joins them.
        operator: String,
        /// Each topic with its count.
        counts: String,
    },
    /// An internal topic exists and does not fit.
    #[error(
        "internal topic \"{topic}\": {reason}\n  hint: the topology or its source topics have changed; delete the internal topics of the application, or give it a new application id"
    )]
    InternalTopic {
        /// The topic.
        topic: String,
        /// What does not fit.
        reason: String,
    },
    /// Bytes of a record are not what the topic's type says.
    #[error(
        "cannot read the {part} of topic \"{topic}\" partition {partition} offset {offset}: {reason}\n  hint: declare the topic with the type it holds, or skip such records with OnError::Skip or OnError::dead_letter"
    )]
    Deserialize {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset of the record.
        offset: i64,
        /// `key` or `value`.
        part: &'static str,
        /// What is wrong with the bytes.
        reason: String,
    },
    /// A value cannot be written as bytes.
    #[error(
        "operator {operator}: cannot write the {part} for topic \"{topic}\": {reason}\n  hint: the record was not committed and comes again at restart; change what the operator before makes of it, or filter it out"
    )]
    Serialize {
        /// Operator that writes.
        operator: String,
        /// Topic or store.
        topic: String,
        /// `key` or `value`.
        part: &'static str,
        /// What is wrong with the value.
        reason: String,
    },
    /// A closure or program of the user gave an error.
    #[error(
        "operator {operator} failed on {record}: {reason}\n  hint: the record was not committed and comes again at restart; let the operator skip or dead-letter what it cannot handle"
    )]
    Operator {
        /// Operator.
        operator: String,
        /// Topic, partition and offset of the record.
        record: String,
        /// The error's own text.
        reason: String,
    },
    /// A closure or program of the user panicked.
    #[error(
        "task {task}: operator {operator} panicked: {message}\n  hint: nothing of this run was committed; the records come again at restart"
    )]
    Panic {
        /// The task.
        task: TaskId,
        /// The operator.
        operator: String,
        /// The panic's message.
        message: String,
    },
    /// A stream thread, or the reader of a global table, panicked outside of the code of a task.
    #[error(
        "a thread of the application panicked: {reason}\n  hint: nothing since the last commit was committed; start the application again"
    )]
    Thread {
        /// The panic's message.
        reason: String,
    },
    /// A store cannot be read or written.
    #[error("store \"{store}\": {reason}")]
    Store {
        /// The store.
        store: String,
        /// What happened.
        reason: String,
    },
    /// The cluster refused something or could not be reached.
    #[error("cannot {action}: {error}")]
    Client {
        /// What was attempted, with its object.
        action: String,
        /// The client's error.
        error: ClientError,
    },
    /// Tasks belong to another member by now, or another producer has this thread's transactional
    /// id. The thread handles it: it joins the group again, and nothing of the open transaction
    /// becomes visible.
    #[error("tasks have moved to another member of group \"{group}\": {reason}")]
    TaskMigrated {
        /// The group.
        group: String,
        /// What said so.
        reason: String,
    },
    /// What was done since the last commit cannot be committed. The thread handles it: it goes
    /// back to the committed offsets and to the stores as they were then.
    #[error("work since the last commit of group \"{group}\" has to be done again: {reason}")]
    TaskCorrupted {
        /// The group.
        group: String,
        /// What went wrong.
        reason: String,
    },
    /// A question to a store cannot be answered now.
    #[error("query to store \"{store}\": {reason}")]
    Query {
        /// The store.
        store: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// Another member has asked for the end of the whole application.
    #[error(
        "a member of group \"{group}\" has stopped the application\n  hint: its log has the error"
    )]
    StoppedByMember {
        /// The group.
        group: String,
    },
    /// The group gave this member only a part of a task's inputs.
    #[error(
        "task {task} needs all of {needed}, but this member was assigned only {assigned}\n  hint: all members of group \"{group}\" must run the same version of the application"
    )]
    Assignment {
        /// The task.
        task: TaskId,
        /// Partitions that belong together.
        needed: String,
        /// Partitions assigned.
        assigned: String,
        /// The consumer group.
        group: String,
    },
}

impl StreamsError {
    pub(crate) fn client(action: impl Into<String>, error: ClientError) -> Self {
        Self::Client {
            action: action.into(),
            error,
        }
    }

    /// A thread panicked outside of a task's own code.
    pub(crate) fn thread_panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "no message".to_owned());
        Self::Thread { reason: text }
    }

    /// What kind of error it is, in one word; a dead-letter record carries it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Topology(_) => "Topology",
            Self::Config { .. } => "Config",
            Self::MissingTopic { .. } => "MissingTopic",
            Self::CoPartition { .. } => "CoPartition",
            Self::InternalTopic { .. } => "InternalTopic",
            Self::Deserialize { .. } => "Deserialize",
            Self::Serialize { .. } => "Serialize",
            Self::Operator { .. } => "Operator",
            Self::Panic { .. } => "Panic",
            Self::Thread { .. } => "Thread",
            Self::Store { .. } => "Store",
            Self::Client { .. } => "Client",
            Self::Assignment { .. } => "Assignment",
            Self::TaskMigrated { .. } => "TaskMigrated",
            Self::TaskCorrupted { .. } => "TaskCorrupted",
            Self::StoppedByMember { .. } => "StoppedByMember",
            Self::Query { .. } => "Query",
        }
    }

    /// What the user's code or data said, without where it happened.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Deserialize { reason, .. }
            | Self::Serialize { reason, .. }
            | Self::Operator { reason, .. }
            | Self::Store { reason, .. } => reason.clone(),
            Self::Panic { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }

    /// A topology that cannot be built or run.
    #[must_use]
    pub fn topology(reason: impl Into<String>) -> Self {
        Self::Topology(reason.into())
    }
}
