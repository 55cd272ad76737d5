//! The logical topology while it is built: nodes with Kafka Streams' names, and stores.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;

use moldau_client::consumer::Pattern;

use super::compile::Compiler;
use super::global_table::Global;
use super::materialized::Materialized;
use super::node::{Built, BuiltSource, Node, NodeId, SourceNode, TypedNode};
use super::on_error::OnError;
use crate::runtime::{SourceRole, StartAt, StoreIndex, StoreKind, StorePlace, StreamsError};

/// The graph that a builder and all its streams and tables share.
pub(crate) type SharedGraph = Rc<RefCell<Graph>>;

/// Makes a node of one task; only the typed streams know its types.
pub(crate) type Build =
    Arc<dyn Fn(&mut Compiler<'_>, NodeId) -> Result<Box<dyn Built>, StreamsError> + Send + Sync>;

/// Makes the typed store of one task.
pub(crate) type BuildStore = Arc<dyn Fn(StoreIndex, &Store) -> Box<dyn Any + Send> + Send + Sync>;

/// The logical topology.
#[derive(Clone)]
pub(crate) struct Graph {
    pub(crate) application_id: String,
    pub(crate) nodes: Vec<GraphNode>,
    pub(crate) stores: Vec<Store>,
    pub(crate) copartitions: Vec<(BTreeSet<NodeId>, NodeId)>,
    pub(crate) on_deserialization_error: OnError,
    /// Policy of fallible operators that say nothing themselves.
    pub(crate) on_processing_error: OnError,
    /// Policies of single operators.
    pub(crate) on_error: BTreeMap<NodeId, OnError>,
    /// Table operators whose changes carry the old value, because a later one asked for it.
    pub(crate) sends_old: BTreeSet<NodeId>,
    /// Sources of the repartition topics that joins have made last, by the node before them. Joins
    /// without names read them too.
    pub(crate) repartitioned: BTreeMap<NodeId, NodeId>,
    /// Left and outer joins of streams, which want records without a key (KIP-962).
    pub(crate) left_joins: BTreeSet<NodeId>,
    /// Operators with stores that get old values from their parents, not from these stores.
    pub(crate) relays_old: BTreeSet<NodeId>,
    /// Nodes that aggregate in windows, and which.
    pub(crate) windows: BTreeMap<NodeId, WindowInfo>,
    /// Nodes that stand alone in the program, because they punctuate.
    pub(crate) standalone: BTreeSet<NodeId>,
    pub(crate) globals: Vec<Global>,
    /// Partitions of repartition topics for which a number was given, by short name.
    pub(crate) fixed_partitions: BTreeMap<String, i32>,
    /// The first mistake; shown when the topology is built, so that streams need no `?`.
    pub(crate) mistake: Option<StreamsError>,
    /// Whether internal topics and stores must not have numbered names (KIP-1111).
    pub(crate) strict_names: bool,
    next_index: usize,
    /// All numbered names that were given out.
    numbered: BTreeSet<String>,
    /// Nodes that were used again, and how many nodes there were then: Kafka Streams adds them to
    /// its topology only after those.
    used_again: BTreeMap<NodeId, usize>,
}

/// A node of the logical topology.
#[derive(Clone)]
pub(crate) struct GraphNode {
    pub(crate) name: String,
    pub(crate) kind: NodeKind,
    pub(crate) parents: Vec<NodeId>,
    pub(crate) children: Vec<NodeId>,
    pub(crate) stores: Vec<StoreId>,
    pub(crate) build: Build,
}

/// What a node is, seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Source {
        reads: Reads,
        start_at: StartAt,
        role: SourceRole,
        /// Names of the key's and the value's type.
        types: &'static str,
    },
    Processor,
    Sink {
        topic: String,
    },
    /// Writes to topics that a closure names; this is the closure's type.
    DynamicSink {
        extractor: &'static str,
    },
    /// Writes a repartition topic; the name is without the application id.
    RepartitionSink {
        topic: String,
    },
}

/// The topics of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// At least one; all are read as one, in the order of their names.
    Topics(Vec<String>),
    /// All that match.
    Matching(Pattern),
}

impl Reads {
    /// The topics that have been named.
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::Topics(names) => names,
            Self::Matching(_) => &[],
        }
    }
}

impl NodeKind {
    /// Whether nothing comes behind it.
    pub(crate) const fn is_sink(&self) -> bool {
        match self {
            Self::Sink { .. } | Self::DynamicSink { .. } | Self::RepartitionSink { .. } => true,
            Self::Source { .. } | Self::Processor => false,
        }
    }
}

/// What later operators need to know of a windowed aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowInfo {
    /// From a window's start to its end; 0 for sessions.
    pub(crate) size_ms: i64,
    /// How long after its end a window may still change.
    pub(crate) close_after_ms: i64,
}

/// A store, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StoreId(pub(crate) usize);

/// A store of the logical topology.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) name: String,
    pub(crate) kind: StoreKind,
    pub(crate) caching: bool,
    pub(crate) logging: bool,
    pub(crate) place: StorePlace,
    /// Whether anything needs it. A table that nobody looks into has no store.
    pub(crate) used: bool,
    /// Whether what the store emits carries the value before; set by [`Graph::send_old_values`].
    pub(crate) sends_old: bool,
    pub(crate) build: BuildStore,
}

impl Store {
    /// A store that is needed, kept as `materialized` says. Versions are not cached.
    pub(crate) fn new(
        name: String,
        kind: StoreKind,
        materialized: &Materialized,
        build: BuildStore,
    ) -> Self {
        Self {
            name,
            kind,
            caching: materialized.caching && !matches!(kind, StoreKind::Versioned { .. }),
            logging: materialized.logging,
            place: materialized.place,
            used: true,
            sends_old: false,
            build,
        }
    }
}

impl Graph {
    pub(crate) fn new(application_id: String) -> Self {
        Self {
            application_id,
            nodes: Vec::new(),
            stores: Vec::new(),
            copartitions: Vec::new(),
            on_deserialization_error: OnError::Fail,
            on_processing_error: OnError::Fail,
            on_error: BTreeMap::new(),
            sends_old: BTreeSet::new(),
            repartitioned: BTreeMap::new(),
            left_joins: BTreeSet::new(),
            relays_old: BTreeSet::new(),
            windows: BTreeMap::new(),
            standalone: BTreeSet::new(),
            globals: Vec::new(),
            fixed_partitions: BTreeMap::new(),
            mistake: None,
            strict_names: false,
            next_index: 0,
            numbered: BTreeSet::new(),
            used_again: BTreeMap::new(),
        }
    }

    /// The name of the next node: the one given, or a numbered one. Both use up a number, so
    /// that naming a node does not rename those after it.
    pub(crate) fn node_name(&mut self, given: Option<String>, prefix: &str) -> String {
        let numbered = self.numbered(prefix);
        given.unwrap_or(numbered)
    }

    /// The name of the next store. A given name uses up no number.
    pub(crate) fn store_name(&mut self, given: Option<String>, prefix: &str) -> String {
        given.unwrap_or_else(|| self.numbered(&format!("{prefix}STATE-STORE-")))
    }

    pub(crate) fn numbered(&mut self, prefix: &str) -> String {
        let index = self.next_index;
        self.next_index += 1;
        let name = format!("{prefix}{index:010}");
        self.numbered.insert(name.clone());
        name
    }

    /// Whether a name is a numbered one, or one made from it, not one that was given.
    pub(crate) fn is_numbered(&self, name: &str) -> bool {
        let up_to = (Bound::Unbounded, Bound::Included(name));
        let before = self.numbered.range::<str, _>(up_to).next_back();
        before.is_some_and(|numbered| name.starts_with(numbered.as_str()))
    }

    /// Notes that a node is used by another operator as by its first.
    pub(crate) fn use_again(&mut self, id: NodeId) {
        self.used_again.insert(id, self.nodes.len());
    }

    /// When Kafka Streams adds each node to its topology, by [`NodeId`].
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let own = self.used_again.get(&NodeId(index)).copied();
            let parents = node.parents.iter().map(|parent| parent.0);
            let parents = parents.chain(self.writer_for(node));
            let parents = parents.filter_map(|parent| order.get(parent).copied());
            order.push(parents.fold(own.unwrap_or(index), usize::max));
        }
        order
    }

    /// Whether what a node lets through may come to a left or outer join, however far it is.
    pub(crate) fn leads_to_left_join(&self, node: NodeId) -> bool {
        let mut seen = BTreeSet::from([node]);
        let mut ahead = vec![node];
        while let Some(id) = ahead.pop() {
            if self.left_joins.contains(&id) {
                return true;
            }
            let read_by = |source: &GraphNode| self.writer_for(source) == Some(id.0);
            let nodes = self.nodes.iter().enumerate();
            let readers = nodes.filter(|(_, node)| read_by(node));
            let next = readers.map(|(index, _)| NodeId(index));
            let children = self.nodes[id.0].children.iter().copied();
            ahead.extend(next.chain(children).filter(|next| seen.insert(*next)));
        }
        false
    }

    /// The sink that writes what the source of a repartition topic reads. In Kafka Streams both are
    /// one node of the graph.
    fn writer_for(&self, node: &GraphNode) -> Option<usize> {
        let NodeKind::Source {
            reads,
            role: SourceRole::Repartition,
            ..
        } = &node.kind
        else {
            return None;
        };
        let writes = |other: &GraphNode| match &other.kind {
            NodeKind::RepartitionSink { topic } => reads.names().contains(topic),
            _ => false,
        };
        self.nodes.iter().position(writes)
    }

    pub(crate) fn add_node(
        &mut self,
        name: String,
        kind: NodeKind,
        parents: &[NodeId],
        stores: Vec<StoreId>,
        build: Build,
    ) -> NodeId {
        if self.nodes.iter().any(|node| node.name == name) {
            self.mistake(format!(
                "two operators are called \"{name}\"\n  hint: give each a name of its own"
            ));
        }
        let mut needed = Vec::new();
        for store in stores {
            // Both sides of a join may end in the same store.
            if !needed.contains(&store) {
                needed.push(store);
            }
        }
        let id = NodeId(self.nodes.len());
        for parent in parents {
            self.nodes[parent.0].children.push(id);
        }
        self.nodes.push(GraphNode {
            name,
            kind,
            parents: parents.to_vec(),
            children: Vec::new(),
            stores: needed,
            build,
        });
        id
    }

    pub(crate) fn add_store(&mut self, store: Store) -> StoreId {
        if self.stores.iter().any(|other| other.name == store.name) {
            self.mistake(format!(
                "two stores are called \"{}\"\n  hint: give each a name of its own",
                store.name
            ));
        }
        self.stores.push(store);
        StoreId(self.stores.len() - 1)
    }

    /// Makes a table operator's changes carry the old value: from its own store, or else from its
    /// parents. A table read from a topic gets a store for it.
    pub(crate) fn send_old_values(&mut self, node: NodeId) {
        if !self.sends_old.insert(node) {
            return;
        }
        let stores = self.nodes[node.0].stores.clone();
        if stores.is_empty() || self.relays_old.contains(&node) {
            for parent in self.nodes[node.0].parents.clone() {
                self.send_old_values(parent);
            }
            return;
        }
        for store in stores {
            self.stores[store.0].used = true;
            self.stores[store.0].sends_old = true;
        }
    }

    /// Whether a table knows its former values: its store does, or, without one, the table that
    /// it is filtered or mapped from.
    pub(crate) fn is_versioned(&self, table: NodeId) -> bool {
        self.history_ms(table).is_some()
    }

    /// How far back a versioned table knows its former values; `None` if it is not versioned.
    pub(crate) fn history_ms(&self, table: NodeId) -> Option<i64> {
        let node = &self.nodes[table.0];
        if self.relays_old.contains(&table) {
            return None;
        }
        let kept = node.stores.first().map(|store| self.stores[store.0].kind);
        match (kept, node.parents.as_slice()) {
            (Some(StoreKind::Versioned { history_ms }), _) => Some(history_ms),
            (None, [parent]) => self.history_ms(*parent),
            _ => None,
        }
    }

    /// Refuses a versioned store where windows are kept.
    pub(crate) fn check_kind(&mut self, name: &str, kind: StoreKind, materialized: &Materialized) {
        if materialized.history.is_some() && !matches!(kind, StoreKind::Versioned { .. }) {
            self.mistake(format!(
                "store \"{name}\" cannot be versioned, it keeps windows\n  hint: give it Materialized::named, with `.retention(..)` if it is to know more windows"
            ));
        }
    }

    /// Whether a table operator can send old values without a store more than there are by now.
    pub(crate) fn can_send_old_values(&self, node: NodeId) -> bool {
        if self.sends_old.contains(&node) {
            return true;
        }
        let parts = &self.nodes[node.0];
        if parts.stores.is_empty() || self.relays_old.contains(&node) {
            let mut parents = parts.parents.iter();
            return parents.all(|parent| self.can_send_old_values(*parent));
        }
        parts.stores.iter().all(|store| self.stores[store.0].used)
    }

    /// What a fallible operator does with what it cannot handle.
    pub(crate) fn on_error(&self, node: NodeId) -> OnError {
        let own = self.on_error.get(&node);
        own.unwrap_or(&self.on_processing_error).clone()
    }

    pub(crate) fn mistake(&mut self, reason: String) {
        self.mistake.get_or_insert(StreamsError::Topology(reason));
    }

    /// A source topic's full name: repartition topics have the application id before them.
    pub(crate) fn source_topic_name(&self, topic: &str, role: SourceRole) -> String {
        match role {
            SourceRole::Repartition => format!("{}-{topic}", self.application_id),
            SourceRole::Stream | SourceRole::Table => topic.to_owned(),
        }
    }
}

/// Wraps the making of a typed node.
pub(crate) fn build_node<K: 'static, V: 'static>(
    make: impl Fn(&mut Compiler<'_>, NodeId) -> Result<Box<dyn Node<K, V>>, StreamsError>
    + Send
    + Sync
    + 'static,
) -> Build {
    Arc::new(move |compiler, id| Ok(Box::new(TypedNode(make(compiler, id)?)) as Box<dyn Built>))
}

/// Wraps the making of a source.
pub(crate) fn build_source(
    make: impl Fn(&mut Compiler<'_>, NodeId) -> Result<Box<dyn SourceNode>, StreamsError>
    + Send
    + Sync
    + 'static,
) -> Build {
    Arc::new(move |compiler, id| Ok(Box::new(BuiltSource(make(compiler, id)?)) as Box<dyn Built>))
}
