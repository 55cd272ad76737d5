//! Tables made of streams, and tables that get a store of their own.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::compile::Compiler;
use super::data::Data;
use super::graph::{BuildStore, Graph, NodeKind, Store, StoreId, build_node};
use super::kstream::KStream;
use super::ktable::{KTable, store_getter};
use super::materialized::Materialized;
use super::node::{Children, NodeId};
use super::operators::table::Change;
use super::operators::table_store::{TableStore, Updates};
use super::serde::Serde;
use super::typed_store::TypedStore;
use crate::runtime::StreamsError;

/// Values of a stream that can be entries of a table of `T`: those of `T`, and those of
/// `Option<T>`, whose `None` removes the key.
pub trait TableValue<T>: Data {
    /// The entry, `None` to remove it.
    fn table_value(&self) -> Option<T>;
}

impl<T: Clone + Data> TableValue<T> for T {
    fn table_value(&self) -> Option<T> {
        Some(self.clone())
    }
}

impl<T: Clone + Data> TableValue<T> for Option<T> {
    fn table_value(&self) -> Self {
        self.clone()
    }
}

impl<K: Serde, V: Serde> KStream<K, V> {
    /// A table of each key's last record. Of a stream of `Option<T>`, `None` removes the key; say
    /// then which table is meant: `let table: KTable<K, T> = stream.to_table();`.
    ///
    /// Records without a key are dropped. Repartitions if the key was changed before.
    #[must_use]
    pub fn to_table<T: Serde>(&self) -> KTable<K, T>
    where
        V: TableValue<T>,
    {
        self.to_table_as(Materialized::default())
    }

    /// As [`to_table`](Self::to_table), in a store with a name or settings of its own.
    #[must_use]
    pub fn to_table_as<T: Serde>(&self, materialized: impl Into<Materialized>) -> KTable<K, T>
    where
        V: TableValue<T>,
    {
        let materialized = materialized.into();
        let mut graph = self.graph.borrow_mut();
        let name = graph.node_name(self.next_name.clone(), "KSTREAM-TOTABLE-");
        let used = materialized.name.is_some();
        let store_name = graph.store_name(materialized.name.clone(), "KSTREAM-TOTABLE-");
        drop(graph);
        let stream = if self.repartition_required {
            self.repartitioned(&name)
        } else {
            self.clone()
        };
        let mut graph = self.graph.borrow_mut();
        let store = table_store::<T>(&mut graph, store_name, &materialized, used);
        let build = build_node::<K, V>(move |compiler, id| {
            let children = compiler.children(id)?;
            Ok(Box::new(Updates {
                value: Arc::new(V::table_value),
                input: PhantomData,
                table: keep(compiler, id, store, false, children)?,
            }))
        });
        let parents = [stream.node];
        let node = graph.add_node(name, NodeKind::Processor, &parents, vec![store], build);
        drop(graph);
        KTable::new(
            Rc::clone(&self.graph),
            node,
            stream.sources,
            store_getter::<K, T>(store),
            store,
        )
    }
}

/// Adds the store of a table.
pub(super) fn table_store<V: Serde>(
    graph: &mut Graph,
    name: String,
    materialized: &Materialized,
    used: bool,
) -> StoreId {
    let build: BuildStore = Arc::new(|index, store| Box::new(TypedStore::<V>::new(index, store)));
    let mut store = Store::new(name, materialized.table_kind(), materialized, build);
    store.used = used;
    graph.add_store(store)
}

/// The node that keeps a table in its store, if the store is needed.
pub(super) fn keep<K, V>(
    compiler: &Compiler<'_>,
    id: NodeId,
    store: StoreId,
    skips_absent: bool,
    children: Children<K, Change<V>>,
) -> Result<TableStore<K, V>, StreamsError> {
    Ok(TableStore {
        id,
        store: compiler.store(store),
        store_name: compiler.graph().stores[store.0].name.clone(),
        skips_absent,
        children,
    })
}
