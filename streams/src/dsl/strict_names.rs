//! The check that no internal topic or store has a numbered name (KIP-1111).
//!
//! Numbers count operators, so a name that holds one is another name once an operator is added
//! before it: the job would begin with empty stores and read nothing of its repartition topics.

use super::graph::{Graph, NodeKind, StoreId};
use super::node::NodeId;
use crate::runtime::{SourceRole, StoreSpec, StreamsError};

/// Fails if a store or internal topic has a numbered name; the error names all of them.
pub(super) fn check(graph: &Graph) -> Result<(), StreamsError> {
    let mut findings = Vec::new();
    for (index, store) in graph.stores.iter().enumerate() {
        if store.used && graph.is_numbered(&store.name) {
            let operator = user_of(graph, StoreId(index));
            let spec = StoreSpec::new(&graph.application_id, &store.name, store.kind);
            let changelog = spec.changelog.filter(|_| store.logging);
            let changelog = changelog.map(|topic| format!(" with changelog \"{}\"", topic.name));
            findings.push(format!(
                "store \"{}\"{} of operator {operator}",
                store.name,
                changelog.unwrap_or_default()
            ));
        }
    }
    for global in &graph.globals {
        if graph.is_numbered(&global.store) {
            let (store, operator) = (&global.store, &global.table_name);
            findings.push(format!("store \"{store}\" of operator {operator}"));
        }
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        if let NodeKind::RepartitionSink { topic } = &node.kind
            && graph.is_numbered(topic)
        {
            let writer = writer_of(graph, NodeId(index));
            let topic = graph.source_topic_name(topic, SourceRole::Repartition);
            findings.push(format!("topic \"{topic}\" behind operator {writer}"));
        }
    }
    if findings.is_empty() {
        return Ok(());
    }
    Err(StreamsError::topology(format!(
        "strict names are asked for, but these have numbered names:\n  {}\n  hint: name stores with `..._as(\"name\", ..)` or Materialized::named, and groupings, joins and other operators with `.named(\"name\")` before them",
        findings.join("\n  ")
    )))
}

/// The operator that a store was added for.
fn user_of(graph: &Graph, store: StoreId) -> &str {
    let mut nodes = graph.nodes.iter();
    let user = nodes.find(|node| node.stores.contains(&store));
    user.map_or("(none)", |node| &node.name)
}

/// The operator whose records a repartition topic takes; filters of null keys stand between.
fn writer_of(graph: &Graph, sink: NodeId) -> &str {
    let mut node = &graph.nodes[sink.0];
    while let Some(parent) = node.parents.first() {
        node = &graph.nodes[parent.0];
        let is_null_filter = node.children.contains(&sink);
        if !is_null_filter || node.parents.is_empty() {
            break;
        }
    }
    &node.name
}
