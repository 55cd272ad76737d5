//! From the logical topology to sub-topologies and their programs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::BytesMut;
use moldau_client::KString;

use super::global_table::Global;
use super::graph::{Graph, NodeKind, Reads, Store, StoreId};
use super::node::{
    Built, BuiltSource, Children, JunctionRef, Node, NodeId, ProgramState, SourceNode, TypedNode,
};
use super::program::DslProgram;
use crate::runtime::{
    Application, CoPartition, InternalTopic, PartitionCount, SourceIndex, SourceRole, SourceTopic,
    SourceTopics, StoreIndex, StoreSpec, StreamsError, SubTopology, TaskProgram,
};

/// A connected part of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Nodes in the order they were added.
    pub(crate) nodes: Vec<NodeId>,
    /// Its source nodes; the runtime's [`SourceIndex`] counts their topics.
    pub(crate) sources: Vec<NodeId>,
    /// Its stores; the runtime's [`StoreIndex`] counts these.
    pub(crate) stores: Vec<StoreId>,
}

/// Cuts the graph into parts that are connected by nodes or stores, numbered as Kafka Streams
/// does: in the order in which their first nodes were added.
pub(crate) fn parts(graph: &Graph) -> Vec<Part> {
    let mut group: Vec<usize> = (0..graph.nodes.len()).collect();
    let mut first_with_store: BTreeMap<StoreId, usize> = BTreeMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        for parent in &node.parents {
            join(&mut group, parent.0, index);
        }
        for store in node
            .stores
            .iter()
            .filter(|store| graph.stores[store.0].used)
        {
            let first = *first_with_store.entry(*store).or_insert(index);
            join(&mut group, first, index);
        }
    }
    let mut order = Vec::new();
    let added = graph.order();
    let mut nodes: Vec<_> = (0..graph.nodes.len()).collect();
    nodes.sort_by_key(|node| added[*node]);
    for index in nodes {
        let root = root(&group, index);
        if !order.contains(&root) {
            order.push(root);
        }
    }
    order
        .into_iter()
        .map(|wanted| part(graph, &group, wanted))
        .collect()
}

fn part(graph: &Graph, group: &[usize], wanted: usize) -> Part {
    let members = (0..graph.nodes.len()).filter(|index| root(group, *index) == wanted);
    let nodes: Vec<_> = members.map(NodeId).collect();
    let is_source = |id: &&NodeId| matches!(graph.nodes[id.0].kind, NodeKind::Source { .. });
    let stores = nodes.iter().flat_map(|id| &graph.nodes[id.0].stores);
    let stores: BTreeSet<_> = stores
        .filter(|id| graph.stores[id.0].used)
        .copied()
        .collect();
    Part {
        sources: nodes.iter().filter(is_source).copied().collect(),
        stores: stores.into_iter().collect(),
        nodes,
    }
}

fn root(group: &[usize], mut index: usize) -> usize {
    while group[index] != index {
        index = group[index];
    }
    index
}

fn join(group: &mut [usize], one: usize, other: usize) {
    let (one, other) = (root(group, one), root(group, other));
    group[other.max(one)] = other.min(one);
}

/// Makes the application that the runtime runs.
pub(crate) fn application(graph: &Arc<Graph>) -> Application {
    let parts = parts(graph);
    Application {
        global_tables: graph.globals.iter().map(Global::table).collect(),
        application_id: graph.application_id.clone(),
        sub_topologies: parts
            .into_iter()
            .map(|part| sub_topology(graph, part))
            .collect(),
    }
}

fn sub_topology(graph: &Arc<Graph>, part: Part) -> SubTopology {
    let inputs = part.inputs(graph);
    let repartition_topics = part
        .nodes
        .iter()
        .filter_map(|id| match &graph.nodes[id.0].kind {
            NodeKind::RepartitionSink { topic } => {
                let mut internal = InternalTopic::repartition(&graph.application_id, topic);
                internal.name = graph.source_topic_name(topic, SourceRole::Repartition);
                if let Some(partitions) = graph.fixed_partitions.get(topic) {
                    internal.partitions = PartitionCount::Fixed(*partitions);
                }
                Some(internal)
            }
            _ => None,
        });
    let mut copartitioned = Vec::new();
    for (nodes, operator) in &graph.copartitions {
        let is_member = |(node, _): &(usize, SourceTopic)| nodes.contains(&part.sources[*node]);
        let members = inputs.iter().enumerate();
        let members = members.filter(|(_, input)| is_member(input));
        let sources: Vec<_> = members.map(|(index, _)| SourceIndex(index)).collect();
        if sources.len() > 1 {
            copartitioned.push(CoPartition {
                sources,
                operator: graph.nodes[operator.0].name.clone(),
            });
        }
    }
    let store = |id: &StoreId| store_spec(&graph.application_id, &graph.stores[id.0]);
    let (program_graph, program_part) = (Arc::clone(graph), Arc::new(part.clone()));
    SubTopology {
        sources: inputs.into_iter().map(|(_, topic)| topic).collect(),
        copartitioned,
        repartition_topics: repartition_topics.collect(),
        stores: part.stores.iter().map(store).collect(),
        program: Arc::new(move |_| {
            let program = Compiler::compile(&program_graph, &program_part)?;
            Ok(Box::new(program) as Box<dyn TaskProgram>)
        }),
    }
}

impl Part {
    /// What the runtime reads, by [`SourceIndex`]: each topic or pattern of each source, with the
    /// source's position.
    fn inputs(&self, graph: &Graph) -> Vec<(usize, SourceTopic)> {
        let mut inputs = Vec::new();
        for (position, id) in self.sources.iter().enumerate() {
            let NodeKind::Source {
                reads,
                start_at,
                role,
                ..
            } = &graph.nodes[id.0].kind
            else {
                continue;
            };
            let topics = match reads {
                Reads::Topics(names) => {
                    let names = names.iter();
                    let names = names.map(|name| graph.source_topic_name(name, *role));
                    names.map(SourceTopics::Named).collect()
                }
                Reads::Matching(pattern) => vec![SourceTopics::Matching(pattern.clone())],
            };
            inputs.extend(topics.into_iter().map(|topics| {
                let source = SourceTopic {
                    topics,
                    start_at: *start_at,
                    role: *role,
                };
                (position, source)
            }));
        }
        inputs
    }
}

fn store_spec(application_id: &str, store: &Store) -> StoreSpec {
    let mut spec = StoreSpec::new(application_id, &store.name, store.kind);
    if !store.logging {
        spec.changelog = None;
    }
    spec.place = store.place;
    spec
}

/// Makes the nodes and typed stores of one task.
pub(crate) struct Compiler<'a> {
    graph: &'a Graph,
    part: &'a Part,
    /// Slot of each node that has several parents, or stands alone.
    junctions: BTreeMap<NodeId, usize>,
}

impl<'a> Compiler<'a> {
    fn compile(graph: &'a Graph, part: &'a Part) -> Result<DslProgram, StreamsError> {
        let has_parents =
            |id: &&NodeId| graph.nodes[id.0].parents.len() > 1 || graph.standalone.contains(id);
        let joined: Vec<_> = part.nodes.iter().filter(has_parents).copied().collect();
        let mut compiler = Self {
            graph,
            part,
            junctions: joined
                .iter()
                .enumerate()
                .map(|(slot, id)| (*id, slot))
                .collect(),
        };
        let mut junctions: Vec<Option<Box<dyn Built>>> = Vec::new();
        for id in joined {
            junctions.push(Some(compiler.build(id)?));
        }
        let mut sources: Vec<Box<dyn SourceNode>> = Vec::new();
        for id in &part.sources {
            let source = compiler.build(*id)?.into_any().downcast::<BuiltSource>();
            sources.push(source.map_err(|_| wrong_type(&graph.nodes[id.0].name))?.0);
        }
        let inputs = part.inputs(graph).into_iter();
        let inputs = inputs.map(|(source, _)| source);
        let stores = part.stores.iter().enumerate().map(|(index, id)| {
            let store = &graph.stores[id.0];
            (store.build)(StoreIndex(index), store)
        });
        let names: Vec<_> = graph.nodes.iter().map(|node| node.name.clone()).collect();
        let state = ProgramState {
            stores: stores.collect(),
            junctions,
            slots: compiler.junctions,
            punctuations: BTreeMap::new(),
            names: names.into(),
            operator: NodeId::default(),
            origin_topic: KString::default(),
            origin_offset: -1,
            buffer: BytesMut::new(),
            looked_up: BytesMut::new(),
            wake_at: i64::MAX,
            flushing: NodeId::default(),
        };
        let order = flush_order(graph, part);
        Ok(DslProgram::new(sources, inputs.collect(), order, state))
    }

    /// The children of a node that pushes keys and values of these types.
    pub(crate) fn children<K: 'static, V: 'static>(
        &mut self,
        id: NodeId,
    ) -> Result<Children<K, V>, StreamsError> {
        let mut children: Vec<Box<dyn Node<K, V>>> = Vec::new();
        for child in &self.graph.nodes[id.0].children {
            if let Some(slot) = self.junctions.get(child) {
                children.push(Box::new(JunctionRef { slot: *slot }));
                continue;
            }
            let node = self.build(*child)?.into_any().downcast::<TypedNode<K, V>>();
            children.push(
                node.map_err(|_| wrong_type(&self.graph.nodes[child.0].name))?
                    .0,
            );
        }
        Ok(Children::new(children))
    }

    /// Position of a store among those of the task; `None` if nobody needs it.
    pub(crate) fn store(&self, id: StoreId) -> Option<StoreIndex> {
        self.part
            .stores
            .iter()
            .position(|store| *store == id)
            .map(StoreIndex)
    }

    /// Position of a store that the operator cannot work without.
    pub(crate) fn needed_store(&self, id: StoreId) -> Result<StoreIndex, StreamsError> {
        self.store(id).ok_or_else(|| StreamsError::Store {
            store: self.graph.stores[id.0].name.clone(),
            reason: "is not part of the sub-topology that needs it".to_owned(),
        })
    }

    /// Whether a table operator's changes carry the old value.
    pub(crate) fn sends_old(&self, id: NodeId) -> bool {
        self.graph.sends_old.contains(&id)
    }

    /// The topology.
    pub(crate) fn graph(&self) -> &Graph {
        self.graph
    }

    fn build(&mut self, id: NodeId) -> Result<Box<dyn Built>, StreamsError> {
        let build = Arc::clone(&self.graph.nodes[id.0].build);
        build(self, id)
    }
}

/// The nodes that may hold something back until the commit, in the order in which Kafka Streams
/// flushes their stores: that in which it adds them to its topology. A node comes after those it
/// hangs on.
fn flush_order(graph: &Graph, part: &Part) -> Vec<NodeId> {
    let holds_back =
        |id: &&NodeId| !graph.nodes[id.0].stores.is_empty() || graph.standalone.contains(id);
    let mut nodes: Vec<_> = part.nodes.iter().filter(holds_back).copied().collect();
    let added = graph.order();
    nodes.sort_by_key(|id| (added[id.0], *id));
    nodes
}

fn wrong_type(node: &str) -> StreamsError {
    StreamsError::topology(format!("operator {node} was given records of another type"))
}
