//! Streams split into branches.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::data::Data;
use super::graph::{NodeKind, build_node};
use super::kstream::KStream;
use super::operators::branch::{Predicate, Predicates, Split};
use super::operators::stateless::Merge;

/// A stream that is being split: each record goes to the first branch that wants it, else to
/// [`otherwise`](Self::otherwise), and is left out if there is none.
#[must_use = "a split stream goes nowhere without branches"]
pub struct Branches<K, V> {
    /// The node that splits.
    split: KStream<K, V>,
    predicates: Predicates<K, V>,
}

impl<K: Data, V: Data> KStream<K, V> {
    /// Splits the stream into branches. A name given with [`named`](Self::named) is the beginning
    /// of the branches' names.
    pub fn split(&self) -> Branches<K, V> {
        let predicates: Predicates<K, V> = Arc::new(RwLock::new(Vec::new()));
        let shared = Arc::clone(&predicates);
        let node = self.add("KSTREAM-BRANCH-", move |compiler, id| {
            let predicates = shared.read().unwrap_or_else(PoisonError::into_inner);
            Ok(Box::new(Split {
                id,
                predicates: predicates.clone(),
                children: compiler.children(id)?,
            }))
        });
        Branches {
            split: self.followed_by(node, self.repartition_required),
            predicates,
        }
    }
}

impl<K: Data, V: Data> Branches<K, V> {
    /// The records for which `predicate` is true and no branch before wanted.
    pub fn branch<R>(
        self,
        predicate: impl Fn(&K, &V) -> bool + Data,
        continued: impl FnOnce(KStream<K, V>) -> R,
    ) -> Self {
        let number = self.len() + 1;
        self.add(&number.to_string(), Some(Arc::new(predicate)), continued)
    }

    /// As [`branch`](Self::branch), with a name instead of a number behind the splitter's name.
    pub fn branch_named<R>(
        self,
        name: &str,
        predicate: impl Fn(&K, &V) -> bool + Data,
        continued: impl FnOnce(KStream<K, V>) -> R,
    ) -> Self {
        self.add(name, Some(Arc::new(predicate)), continued)
    }

    /// The records that no branch wanted.
    pub fn otherwise<R>(self, continued: impl FnOnce(KStream<K, V>) -> R) {
        let _ = self.add("0", None, continued);
    }

    /// As [`otherwise`](Self::otherwise), with a name behind the splitter's name.
    pub fn otherwise_named<R>(self, name: &str, continued: impl FnOnce(KStream<K, V>) -> R) {
        let _ = self.add(name, None, continued);
    }

    fn len(&self) -> usize {
        let predicates = self.predicates.read();
        predicates.unwrap_or_else(PoisonError::into_inner).len()
    }

    fn add<R>(
        self,
        suffix: &str,
        predicate: Option<Predicate<K, V>>,
        continued: impl FnOnce(KStream<K, V>) -> R,
    ) -> Self {
        let name = format!("{}{suffix}", self.split.node_name());
        let mut graph = self.split.graph.borrow_mut();
        let name = graph.node_name(Some(name), "KSTREAM-BRANCH-");
        let build = build_node::<K, V>(|compiler, id| {
            Ok(Box::new(Merge {
                children: compiler.children(id)?,
            }))
        });
        let parents = [self.split.node];
        let node = graph.add_node(name, NodeKind::Processor, &parents, Vec::new(), build);
        drop(graph);
        let predicates = self.predicates.write();
        let mut predicates = predicates.unwrap_or_else(PoisonError::into_inner);
        predicates.push(predicate);
        drop(predicates);
        let required = self.split.repartition_required;
        continued(self.split.followed_by(node, required));
        self
    }
}

impl<K, V> fmt::Debug for Branches<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Branches")
            .field(&self.split)
            .finish()
    }
}
