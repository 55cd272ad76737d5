//! The text of a topology, as Java's `Topology.describe()` writes it.

use std::fmt::Write;

use super::compile::{Part, parts};
use super::describe_order::{Links, names_by_hash};
use super::global_table::Global;
use super::graph::{Graph, GraphNode, NodeKind, Reads};
use super::node::NodeId;

/// The topology as text.
pub(super) fn describe(graph: &Graph) -> String {
    let mut text = String::from("Topologies:\n ");
    let mut globals = graph.globals.iter().peekable();
    let mut index = 0;
    for part in &parts(graph) {
        // A global table is numbered where it was added.
        let first = part.nodes.first().map_or(0, |node| node.0);
        while let Some(global) = globals.next_if(|global| global.position <= first) {
            text.push_str(&global_store(global, index));
            index += 1;
        }
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "  Sub-topology: {index}\n{}\n",
            sub_topology(graph, part)
        );
        index += 1;
    }
    for global in globals {
        text.push_str(&global_store(global, index));
        index += 1;
    }
    text
}

fn global_store(global: &Global, index: usize) -> String {
    let Global {
        topic,
        store,
        source_name,
        table_name,
        ..
    } = global;
    format!(
        "  Sub-topology: {index} for global store (will not generate tasks)\n    \
         Source: {source_name} (topics: [{topic}])\n      --> {table_name}\n    \
         Processor: {table_name} (stores: [{store}])\n      --> none\n      \
         <-- {source_name}\n"
    )
}

fn sub_topology(graph: &Graph, part: &Part) -> String {
    let links = Links::new(graph, &part.nodes);
    let mut text = String::new();
    for id in in_order(graph, &part.nodes, &links.sizes) {
        let node = &graph.nodes[id.0];
        let name = &node.name;
        let _ = match &node.kind {
            NodeKind::Source { reads, .. } => {
                writeln!(text, "    Source: {name} (topics: {})", topics(reads))
            }
            NodeKind::Processor => {
                writeln!(
                    text,
                    "    Processor: {name} (stores: [{}])",
                    stores(graph, node)
                )
            }
            NodeKind::Sink { topic } | NodeKind::RepartitionSink { topic } => {
                writeln!(text, "    Sink: {name} (topic: {topic})")
            }
            NodeKind::DynamicSink { extractor } => {
                writeln!(text, "    Sink: {name} (extractor class: {extractor})")
            }
        };
        if !node.kind.is_sink() {
            let _ = writeln!(text, "      --> {}", names(graph, &links.children[id.0]));
        }
        if !matches!(node.kind, NodeKind::Source { .. }) {
            let _ = writeln!(text, "      <-- {}", names(graph, &links.parents[id.0]));
        }
    }
    text
}

fn topics(reads: &Reads) -> String {
    match reads {
        Reads::Topics(names) => {
            let mut names: Vec<_> = names.iter().map(String::as_str).collect();
            names_by_hash(&mut names);
            format!("[{}]", names.join(", "))
        }
        Reads::Matching(pattern) => pattern.text().to_string(),
    }
}

/// Largest first, then by name.
fn in_order(graph: &Graph, nodes: &[NodeId], sizes: &[usize]) -> Vec<NodeId> {
    let mut nodes = nodes.to_vec();
    nodes.sort_by(|one, other| {
        let by_name = || graph.nodes[one.0].name.cmp(&graph.nodes[other.0].name);
        sizes[other.0].cmp(&sizes[one.0]).then_with(by_name)
    });
    nodes
}

fn names(graph: &Graph, nodes: &[NodeId]) -> String {
    if nodes.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<_> = nodes
        .iter()
        .map(|id| graph.nodes[id.0].name.as_str())
        .collect();
    names.join(", ")
}

fn stores(graph: &Graph, node: &GraphNode) -> String {
    let used = node
        .stores
        .iter()
        .map(|id| &graph.stores[id.0])
        .filter(|store| store.used);
    let mut names: Vec<_> = used.map(|store| store.name.as_str()).collect();
    names_by_hash(&mut names);
    names.join(", ")
}
