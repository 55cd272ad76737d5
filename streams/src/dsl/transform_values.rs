//! Tables whose values are made by code of one's own, with stores and punctuations.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::compile::Compiler;
use super::data::Data;
use super::graph::{Build, NodeKind, StoreId, build_node};
use super::ktable::{Bare, Behind, GetterFactory, KTable, Kept, store_getter};
use super::materialized::Materialized;
use super::node::NodeId;
use super::operators::table::Change;
use super::operators::transform_values::{TableTransformValues, TransformGetter, Transformer};
use super::processor::{
    ProcessorError, ProcessorInit, ProcessorStoreSpec, Punctuation, connect_all, connected,
};
use super::serde::Serde;
use crate::runtime::StreamsError;

pub use super::operators::transform_values::TransformContext;

/// Makes values of a table's entries, with stores and punctuations (Kafka Streams'
/// `ValueTransformerWithKey`).
pub trait ValueTransformer<K, V>: Send + 'static {
    /// Values of the new table.
    type Value: Data;

    /// The value of an entry in the new table, `None` if it has none there. It is asked for
    /// removed entries as well (`value` is `None`), for old values where later operators need
    /// them, and, of a table without a store, once more in each look-up.
    ///
    /// # Errors
    /// The entry cannot be transformed; handled as
    /// [`Builder::on_processing_error`](crate::Builder::on_processing_error) says.
    fn transform(
        &mut self,
        cx: &mut TransformContext<'_>,
        key: &K,
        value: Option<&V>,
    ) -> Result<Option<Self::Value>, ProcessorError>;

    /// A punctuation that was asked for is due.
    ///
    /// # Errors
    /// What is due cannot be done; the application fails.
    fn punctuate(
        &mut self,
        cx: &mut TransformContext<'_>,
        punctuation: Punctuation,
    ) -> Result<(), ProcessorError> {
        let _ = (cx, punctuation);
        Ok(())
    }
}

impl<K: Data, V: Data> KTable<K, V> {
    /// A new value for each entry, from a transformer that `make` makes for each task. Where
    /// values are looked up, another one makes them anew; keep the result in a store
    /// ([`transform_values_as`](Self::transform_values_as)) if they may then be different.
    #[must_use]
    pub fn transform_values<P: ValueTransformer<K, V>>(
        &self,
        stores: impl IntoIterator<Item = ProcessorStoreSpec>,
        make: impl Fn(&mut ProcessorInit<'_>) -> Result<P, ProcessorError> + Data,
    ) -> KTable<K, P::Value> {
        let make = Arc::new(make);
        let mut graph = self.graph.borrow_mut();
        let name = graph.node_name(self.next_name.clone(), TRANSFORM_VALUES);
        let used = connect_all(&mut graph, stores);
        let ids: Vec<_> = used.iter().map(|(id, _)| *id).collect();
        let build = build::<K, V, P, _>(Arc::clone(&make), used.clone(), Bare);
        let parents = [self.node];
        let has_stores = !ids.is_empty();
        let node = graph.add_node(name, NodeKind::Processor, &parents, ids.clone(), build);
        graph.standalone.insert(node);
        if has_stores {
            // They are the transformer's, not the table's.
            graph.relays_old.insert(node);
        }
        drop(graph);
        let parent = Arc::clone(&self.getter);
        let getter: GetterFactory<K, P::Value> = Arc::new(move |compiler| {
            Ok(Box::new(TransformGetter {
                parent: parent(compiler)?,
                transformer: transformer(compiler, node, &make, &used)?,
            }))
        });
        let stores = self.stores.iter().copied().chain(ids).collect();
        let graph = Rc::clone(&self.graph);
        KTable::with_stores(graph, node, self.sources.clone(), getter, stores)
    }

    /// As [`transform_values`](Self::transform_values), in a store of the result's own.
    #[must_use]
    pub fn transform_values_as<P: ValueTransformer<K, V>>(
        &self,
        materialized: impl Into<Materialized>,
        stores: impl IntoIterator<Item = ProcessorStoreSpec>,
        make: impl Fn(&mut ProcessorInit<'_>) -> Result<P, ProcessorError> + Data,
    ) -> KTable<K, P::Value>
    where
        K: Serde,
        P::Value: Serde,
    {
        let materialized = materialized.into();
        let Some(store) = self.own_store::<P::Value>(&materialized, TRANSFORM_VALUES) else {
            return self.transform_values(stores, make);
        };
        let mut graph = self.graph.borrow_mut();
        let name = graph.node_name(self.next_name.clone(), TRANSFORM_VALUES);
        let used = connect_all(&mut graph, stores);
        let ids = [store].into_iter().chain(used.iter().map(|(id, _)| *id));
        let ids = ids.collect();
        let behind = Kept {
            store,
            is_filter: false,
        };
        let build = build::<K, V, P, _>(Arc::new(make), used, behind);
        let node = graph.add_node(name, NodeKind::Processor, &[self.node], ids, build);
        graph.standalone.insert(node);
        drop(graph);
        let graph = Rc::clone(&self.graph);
        let getter = store_getter::<K, P::Value>(store);
        KTable::new(graph, node, self.sources.clone(), getter, store)
    }
}

fn build<K: Data, V: Data, P: ValueTransformer<K, V>, F>(
    make: Arc<F>,
    used: Vec<(StoreId, &'static str)>,
    behind: impl Behind<K, P::Value>,
) -> Build
where
    F: Fn(&mut ProcessorInit<'_>) -> Result<P, ProcessorError> + Data,
{
    build_node::<K, Change<V>>(move |compiler, id| {
        Ok(Box::new(TableTransformValues {
            transformer: transformer(compiler, id, &make, &used)?,
            sends_old: behind.sends_old(compiler, id),
            children: behind.children(compiler, id)?,
        }))
    })
}

fn transformer<K, V, P, F>(
    compiler: &Compiler<'_>,
    id: NodeId,
    make: &Arc<F>,
    used: &[(StoreId, &'static str)],
) -> Result<Transformer<K, V, P, F>, StreamsError> {
    Ok(Transformer {
        id,
        on_error: compiler.graph().on_error(id),
        stores: connected(compiler, used)?,
        make: Arc::clone(make),
        made: None,
        input: PhantomData,
    })
}

const TRANSFORM_VALUES: &str = "KTABLE-TRANSFORMVALUES-";
