//! Holding back a table's updates.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::graph::{Graph, NodeKind, Store, WindowInfo, build_node};
use super::ktable::{GetterFactory, KTable};
use super::node::NodeId;
use super::operators::suppress::{Suppress, SuppressBuffer, SuppressGetter};
use super::operators::table::Change;
use super::serde::Serde;
use super::suppressed::{Suppressed, Wait};
use crate::runtime::{StoreKind, StorePlace};

impl<K: Serde, V: Serde> KTable<K, V> {
    /// The same table, with updates that come later and fewer: until a window closes, or until a
    /// time limit; see [`Suppressed`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use moldau_streams::{Builder, Str, StrictBuffer, Suppressed, Topic, Tumbling, Windowed};
    ///
    /// const CLICKS: Topic<Str, Str> = Topic::new("clicks");
    /// const COUNTS: Topic<Windowed<Str>, i64> = Topic::new("counts");
    ///
    /// let builder = Builder::new("clicks-per-minute");
    /// builder
    ///     .stream(&CLICKS)
    ///     .group_by_key()
    ///     .windowed_by(Tumbling::of(Duration::from_secs(60)).no_grace())
    ///     .count()
    ///     .suppress(Suppressed::until_window_closes(StrictBuffer::unbounded()))
    ///     .to_stream()
    ///     .to(&COUNTS);
    /// ```
    #[must_use]
    pub fn suppress(&self, suppressed: Suppressed<K>) -> Self {
        let mut graph = self.graph.borrow_mut();
        // Naming this operator uses up no number, unlike others.
        let given = self.next_name.clone();
        let store_name = given.as_ref().map(|name| format!("{name}-store"));
        let name = given.unwrap_or_else(|| graph.numbered(SUPPRESS));
        let store_name = graph.store_name(store_name, SUPPRESS);
        let info = window_info(&graph, self.node);
        if graph.is_versioned(self.node) {
            graph.mistake(format!(
                "operator {name} cannot hold back the updates of a versioned table\n  hint: give the table a store without versions first, for example with `map_values_as`"
            ));
        }
        let wait_ms = match (suppressed.wait, info) {
            (Wait::TimeLimit(limit_ms), _) => limit_ms,
            (Wait::UntilWindowCloses, Some(info)) => info.close_after_ms,
            (Wait::UntilWindowCloses, None) => {
                graph.mistake(format!(
                    "operator {name} waits until windows close, but its table does not come from a windowed aggregation alone\n  hint: suppress right behind the windowed aggregation, or use Suppressed::until_time_limit"
                ));
                0
            }
        };
        let store = graph.add_store(Store {
            name: store_name,
            kind: StoreKind::SuppressBuffer,
            caching: false,
            logging: suppressed.buffer.logging,
            place: StorePlace::AsConfigured,
            used: true,
            sends_old: false,
            build: Arc::new(|_, _| Box::new(SuppressBuffer::default())),
        });
        let build = build_node::<K, Change<V>>(move |compiler, id| {
            Ok(Box::new(Suppress {
                id,
                store: compiler.needed_store(store)?,
                store_name: compiler.graph().stores[store.0].name.clone(),
                wait_ms,
                is_final: suppressed.wait == Wait::UntilWindowCloses,
                time_of: suppressed.time_of,
                buffer: suppressed.buffer,
                window_size_ms: info.map_or(0, |info| info.size_ms),
                observed_stream_time: -1,
                children: compiler.children(id)?,
            }))
        });
        let parents = [self.node];
        let node = graph.add_node(name, NodeKind::Processor, &parents, vec![store], build);
        graph.relays_old.insert(node);
        graph.send_old_values(node);
        drop(graph);
        let parent = Arc::clone(&self.getter);
        let getter: GetterFactory<K, V> = Arc::new(move |compiler| {
            Ok(Box::new(SuppressGetter {
                store: compiler.needed_store(store)?,
                store_name: compiler.graph().stores[store.0].name.clone(),
                parent: parent(compiler)?,
                types: PhantomData,
            }))
        });
        let stores = [store].into_iter().chain(self.stores.iter().copied());
        let graph = Rc::clone(&self.graph);
        Self::with_stores(graph, node, self.sources.clone(), getter, stores.collect())
    }
}

/// The windows that a table comes from: the ones that close last, if there are several. `None` if
/// there is a way to it that has no windows.
fn window_info(graph: &Graph, node: NodeId) -> Option<WindowInfo> {
    if let Some(info) = graph.windows.get(&node) {
        return Some(*info);
    }
    let parents = graph.nodes[node.0].parents.iter();
    let infos: Option<Vec<_>> = parents.map(|parent| window_info(graph, *parent)).collect();
    infos?.into_iter().max_by_key(|info| info.close_after_ms)
}

const SUPPRESS: &str = "KTABLE-SUPPRESS-";
