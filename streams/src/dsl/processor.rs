//! Processors: code of one's own with stores and punctuations, where no operator fits.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use moldau_client::RecordHeader;

use super::data::Data;
use super::graph::{Graph, NodeKind, Store, StoreId, build_node};
use super::kstream::KStream;
use super::node::NodeId;
use super::operators::processor::{Process, ProcessValues};
use super::serde::Serde;
use super::windows::millis;
use crate::runtime::{
    PunctuationId, PunctuationType, StoreIndex, StoreKind, StorePlace, StreamsError, TaskId,
};

pub use super::operators::processor::{ProcessorContext, ValueContext};
pub use super::processor_store::{ProcessorStore, StoreAccess};
pub use super::processor_time_stores::{
    ProcessorSessionStore, ProcessorVersionedStore, ProcessorWindowStore,
};

/// Why a processor refuses a record. `?` makes it of any error.
pub type ProcessorError = Box<dyn std::error::Error + Send + Sync>;

/// A record as a processor gets it.
#[derive(Debug)]
pub struct ProcessorRecord<'a, K, V> {
    /// The key.
    pub key: &'a K,
    /// The value.
    pub value: &'a V,
    /// Event time in milliseconds.
    pub timestamp: i64,
    /// Headers in order; names may repeat.
    pub headers: &'a [RecordHeader],
}

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Topic of the source.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// The record's offset there.
    pub offset: i64,
}

/// A punctuation that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Punctuation {
    /// Which one, as it was scheduled.
    pub id: PunctuationId,
    /// Stream time or wall clock now, whichever it follows.
    pub timestamp: i64,
}

/// Code of one's own that takes records and forwards any number of others, also later.
///
/// Each task has a processor of its own, so it may have state in plain fields; only what is in
/// its stores survives a restart. An error is handled as
/// [`KStream::on_error`](crate::KStream::on_error) says.
pub trait Processor<K, V>: Send + 'static {
    /// Keys that it forwards.
    type Key: Data;
    /// Values that it forwards.
    type Value: Data;

    /// Takes a record.
    ///
    /// # Errors
    /// It cannot be processed.
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, Self::Key, Self::Value>,
        record: ProcessorRecord<'_, K, V>,
    ) -> Result<(), ProcessorError>;

    /// A punctuation that was asked for with [`ProcessorInit::every`] or
    /// [`ProcessorContext::every`] is due.
    ///
    /// # Errors
    /// What is due cannot be done; the application fails.
    fn punctuate(
        &mut self,
        cx: &mut ProcessorContext<'_, Self::Key, Self::Value>,
        punctuation: Punctuation,
    ) -> Result<(), ProcessorError> {
        let _ = (cx, punctuation);
        Ok(())
    }
}

/// As [`Processor`], but it forwards under the key it gets, so nothing has to be repartitioned.
pub trait ValueProcessor<K, V>: Send + 'static {
    /// Values that it forwards.
    type Value: Data;

    /// Takes a record.
    ///
    /// # Errors
    /// It cannot be processed.
    fn process(
        &mut self,
        cx: &mut ValueContext<'_, '_, K, Self::Value>,
        record: ProcessorRecord<'_, K, V>,
    ) -> Result<(), ProcessorError>;

    /// A punctuation that was asked for is due. Nothing can be forwarded, because there is no key.
    ///
    /// # Errors
    /// What is due cannot be done; the application fails.
    fn punctuate(
        &mut self,
        cx: &mut ValueContext<'_, '_, K, Self::Value>,
        punctuation: Punctuation,
    ) -> Result<(), ProcessorError> {
        let _ = (cx, punctuation);
        Ok(())
    }
}

/// A store that processors use, by name. Processors that name the same store share it.
#[derive(Clone)]
pub struct ProcessorStoreSpec {
    name: String,
    kind: StoreKind,
    logging: bool,
    place: StorePlace,
    types: &'static str,
}

impl ProcessorStoreSpec {
    /// A store of values by key, with a changelog.
    #[must_use]
    pub fn key_value<K: Serde, V: Serde>(name: impl Into<String>) -> Self {
        Self::new::<K, V>(name.into(), StoreKind::KeyValue)
    }

    /// A store of values by key and window start, with a changelog. Windows are gone that start
    /// `retention` or more before the latest one.
    #[must_use]
    pub fn window<K: Serde, V: Serde>(name: impl Into<String>, retention: Duration) -> Self {
        let retention_ms = millis(retention);
        Self::new::<K, V>(name.into(), StoreKind::Window { retention_ms })
    }

    /// A store of values by key and session, with a changelog. Sessions are gone that end
    /// `retention` or more before the latest one.
    #[must_use]
    pub fn session<K: Serde, V: Serde>(name: impl Into<String>, retention: Duration) -> Self {
        let retention_ms = millis(retention);
        Self::new::<K, V>(name.into(), StoreKind::Session { retention_ms })
    }

    /// A store of values by key with those that were valid before, as far back as `history`
    /// (KIP-889), with a changelog.
    #[must_use]
    pub fn versioned<K: Serde, V: Serde>(name: impl Into<String>, history: Duration) -> Self {
        let history_ms = millis(history);
        Self::new::<K, V>(name.into(), StoreKind::Versioned { history_ms })
    }

    fn new<K: Serde, V: Serde>(name: String, kind: StoreKind) -> Self {
        Self {
            name,
            kind,
            logging: true,
            place: StorePlace::AsConfigured,
            types: type_name::<(K, V)>(),
        }
    }

    /// Keeps no changelog: the store is empty after each restart or move.
    #[must_use]
    pub const fn without_changelog(mut self) -> Self {
        self.logging = false;
        self
    }

    /// Keeps the store in memory, also where the application has a state directory.
    #[must_use]
    pub const fn in_memory(mut self) -> Self {
        self.place = StorePlace::InMemory;
        self
    }

    /// Keeps the store on disk; an application without a state directory does not start.
    #[must_use]
    pub const fn persistent(mut self) -> Self {
        self.place = StorePlace::Persistent;
        self
    }
}

/// What a processor may ask for when its task starts.
pub struct ProcessorInit<'a> {
    pub(super) stores: &'a [ConnectedStore],
    pub(super) task: &'a mut dyn Schedules,
}

/// A store of a processor in its task.
#[derive(Debug)]
pub(crate) struct ConnectedStore {
    name: String,
    index: StoreIndex,
    kind: StoreKind,
    types: &'static str,
}

/// What schedules punctuations: the task.
pub(super) trait Schedules {
    fn every(&mut self, interval_ms: i64, clock: PunctuationType) -> PunctuationId;
    fn id(&self) -> TaskId;
}

impl ProcessorInit<'_> {
    /// The store of this name, which must be among those given to `process`.
    ///
    /// # Errors
    /// It is not, or holds other types.
    pub fn store<K: Serde, V: Serde>(
        &self,
        name: &str,
    ) -> Result<ProcessorStore<K, V>, ProcessorError> {
        let index = self.index::<K, V>(name, "key-value", |kind| {
            matches!(kind, StoreKind::KeyValue)
        })?;
        Ok(ProcessorStore::new(name.to_owned(), index))
    }

    /// The window store of this name, which must be among those given to `process`.
    ///
    /// # Errors
    /// It is not, or holds other types.
    pub fn window_store<K: Serde, V: Serde>(
        &self,
        name: &str,
    ) -> Result<ProcessorWindowStore<K, V>, ProcessorError> {
        let index = self.index::<K, V>(name, "window", |kind| {
            matches!(kind, StoreKind::Window { .. })
        })?;
        Ok(ProcessorWindowStore::new(name.to_owned(), index))
    }

    /// The session store of this name, which must be among those given to `process`.
    ///
    /// # Errors
    /// It is not, or holds other types.
    pub fn session_store<K: Serde, V: Serde>(
        &self,
        name: &str,
    ) -> Result<ProcessorSessionStore<K, V>, ProcessorError> {
        let index = self.index::<K, V>(name, "session", |kind| {
            matches!(kind, StoreKind::Session { .. })
        })?;
        Ok(ProcessorSessionStore::new(name.to_owned(), index))
    }

    /// The versioned store of this name, which must be among those given to `process`.
    ///
    /// # Errors
    /// It is not, or holds other types.
    pub fn versioned_store<K: Serde, V: Serde>(
        &self,
        name: &str,
    ) -> Result<ProcessorVersionedStore<K, V>, ProcessorError> {
        let index = self.index::<K, V>(name, "versioned", |kind| {
            matches!(kind, StoreKind::Versioned { .. })
        })?;
        Ok(ProcessorVersionedStore::new(name.to_owned(), index))
    }

    fn index<K, V>(
        &self,
        name: &str,
        wanted: &str,
        is_wanted: impl Fn(StoreKind) -> bool,
    ) -> Result<StoreIndex, StreamsError> {
        let error = |reason: String| StreamsError::Store {
            store: name.to_owned(),
            reason,
        };
        let Some(found) = self.stores.iter().find(|store| store.name == name) else {
            return Err(error(
                "is not among the processor's stores\n  hint: give it to `process` with the others"
                    .to_owned(),
            ));
        };
        if !is_wanted(found.kind) {
            return Err(error(format!("is no {wanted} store but {:?}", found.kind)));
        }
        if found.types != type_name::<(K, V)>() {
            let wanted = type_name::<(K, V)>();
            return Err(error(format!("holds {}, not {wanted}", found.types)));
        }
        Ok(found.index)
    }

    /// Asks for a punctuation at this interval, at least a millisecond.
    pub fn every(&mut self, interval: Duration, clock: PunctuationType) -> PunctuationId {
        self.task.every(millis(interval), clock)
    }

    /// The task.
    #[must_use]
    pub fn task_id(&self) -> TaskId {
        self.task.id()
    }
}

impl<K: Data, V: Data> KStream<K, V> {
    /// Gives each record to a processor, which `make` makes for each task. What it forwards goes
    /// on; grouping or joining afterwards repartitions.
    #[must_use]
    pub fn process<P: Processor<K, V>>(
        &self,
        stores: impl IntoIterator<Item = ProcessorStoreSpec>,
        make: impl Fn(&mut ProcessorInit<'_>) -> Result<P, ProcessorError> + Data,
    ) -> KStream<P::Key, P::Value> {
        let make = Arc::new(make);
        let node = self.processor("KSTREAM-PROCESSOR-", stores, move |used| {
            let make = Arc::clone(&make);
            build_node::<K, V>(move |compiler, id| {
                Ok(Box::new(Process {
                    id,
                    on_error: compiler.graph().on_error(id),
                    stores: connected(compiler, &used)?,
                    make: Arc::clone(&make),
                    processor: None,
                    input: PhantomData,
                    children: compiler.children(id)?,
                }))
            })
        });
        self.followed_by(node, true)
    }

    /// Gives each record to a processor, which `make` makes for each task and which keeps the
    /// keys.
    #[must_use]
    pub fn process_values<P: ValueProcessor<K, V>>(
        &self,
        stores: impl IntoIterator<Item = ProcessorStoreSpec>,
        make: impl Fn(&mut ProcessorInit<'_>) -> Result<P, ProcessorError> + Data,
    ) -> KStream<K, P::Value> {
        let make = Arc::new(make);
        let node = self.processor("KSTREAM-PROCESSVALUES-", stores, move |used| {
            let make = Arc::clone(&make);
            build_node::<K, V>(move |compiler, id| {
                Ok(Box::new(ProcessValues {
                    id,
                    on_error: compiler.graph().on_error(id),
                    stores: connected(compiler, &used)?,
                    make: Arc::clone(&make),
                    processor: None,
                    input: PhantomData,
                    children: compiler.children(id)?,
                }))
            })
        });
        self.followed_by(node, self.repartition_required)
    }

    fn processor(
        &self,
        prefix: &str,
        stores: impl IntoIterator<Item = ProcessorStoreSpec>,
        build: impl FnOnce(Vec<(StoreId, &'static str)>) -> super::graph::Build,
    ) -> NodeId {
        let mut graph = self.graph.borrow_mut();
        // Unlike with other operators, a given name uses up no number.
        let given = self.next_name.clone();
        let name = given.unwrap_or_else(|| graph.numbered(prefix));
        let used = connect_all(&mut graph, stores);
        let ids = used.iter().map(|(id, _)| *id).collect();
        let build = build(used);
        let node = graph.add_node(name, NodeKind::Processor, &[self.node], ids, build);
        graph.standalone.insert(node);
        node
    }
}

/// The stores of these names, with the types that they hold.
pub(super) fn connect_all(
    graph: &mut Graph,
    stores: impl IntoIterator<Item = ProcessorStoreSpec>,
) -> Vec<(StoreId, &'static str)> {
    let stores = stores.into_iter();
    stores
        .map(|store| (connect(graph, &store), store.types))
        .collect()
}

/// The store of this name: the one that is there, or a new one.
fn connect(graph: &mut Graph, spec: &ProcessorStoreSpec) -> StoreId {
    let same = graph
        .stores
        .iter()
        .position(|store| store.name == spec.name);
    if let Some(index) = same {
        graph.stores[index].used = true;
        return StoreId(index);
    }
    graph.add_store(Store {
        name: spec.name.clone(),
        kind: spec.kind,
        caching: false,
        logging: spec.logging,
        place: spec.place,
        used: true,
        sends_old: false,
        build: Arc::new(|_, _| Box::new(())),
    })
}

pub(super) fn connected(
    compiler: &super::compile::Compiler<'_>,
    used: &[(StoreId, &'static str)],
) -> Result<Vec<ConnectedStore>, StreamsError> {
    let index = |(id, types): &(StoreId, &'static str)| {
        let store = &compiler.graph().stores[id.0];
        Ok(ConnectedStore {
            name: store.name.clone(),
            index: compiler.needed_store(*id)?,
            kind: store.kind,
            types,
        })
    };
    used.iter().map(index).collect()
}

impl<K, V> Clone for ProcessorRecord<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for ProcessorRecord<'_, K, V> {}

impl fmt::Debug for ProcessorStoreSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ProcessorStoreSpec")
            .field("name", &self.name)
            .field("types", &self.types)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ProcessorInit<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ProcessorInit")
            .field("stores", &self.stores)
            .finish_non_exhaustive()
    }
}
