//! Joins of two tables by their key.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::data::Data;
use super::graph::{Build, NodeKind, SharedGraph, StoreId, build_node};
use super::join::{Inner, JoinRhs, Left, Outer};
use super::ktable::{GetterFactory, KTable, store_getter};
use super::materialized::Materialized;
use super::operators::table::Change;
use super::operators::table_join::{JoinGetter, MergeSides, Side, TableJoin as JoinSide};
use super::serde::Serde;
use super::to_table::{keep, table_store};

/// A join of two tables: the result has an entry for each key that is in both, or, by
/// [`left`](Self::left) or [`outer`](Self::outer), in the left or in either one. It changes when
/// one of them does; its timestamp is the later one of both.
#[must_use = "a join does nothing until `.by(..)` ends it"]
#[derive(Clone, Debug)]
pub struct TableTableJoin<K, V, T, Kind = Inner> {
    this: KTable<K, V>,
    name: Option<String>,
    other: KTable<K, T>,
    kind: PhantomData<fn() -> Kind>,
}

impl<K: Serde, V: Data> KTable<K, V> {
    /// Joins this table with what `with` says: another table (`&table`), or what
    /// [`KTable::on`] makes of one, by a foreign key. What it gives tells how, by `.left()` and
    /// such, and ends with `.by(closure)`.
    pub fn join<J: JoinRhs<Self>>(&self, with: J) -> J::Join {
        with.join_to(self)
    }
}

impl<K: Serde, V: Data, T: Data> JoinRhs<KTable<K, V>> for &KTable<K, T> {
    type Join = TableTableJoin<K, V, T>;

    fn join_to(self, left: &KTable<K, V>) -> Self::Join {
        TableTableJoin {
            this: left.clone(),
            name: left.next_name.clone(),
            other: self.clone(),
            kind: PhantomData,
        }
    }
}

impl<K: Serde, V: Data, T: Data> TableTableJoin<K, V, T> {
    /// Keeps entries of the left table that have none in the right one.
    pub fn left(self) -> TableTableJoin<K, V, T, Left> {
        self.of_kind()
    }

    /// Keeps entries of either table that have none in the other.
    pub fn outer(self) -> TableTableJoin<K, V, T, Outer> {
        self.of_kind()
    }

    /// What the two entries of a key make.
    #[must_use]
    pub fn by<R: Data>(self, joiner: impl Fn(&V, &T) -> R + Data) -> KTable<K, R> {
        self.joined(Side::Inner, inner(joiner), None)
    }

    /// As [`by`](Self::by), in a store with a name or settings of its own.
    #[must_use]
    pub fn by_as<R: Serde>(
        self,
        materialized: impl Into<Materialized>,
        joiner: impl Fn(&V, &T) -> R + Data,
    ) -> KTable<K, R> {
        let stored = stored(&self.this.graph, &materialized.into());
        self.joined(Side::Inner, inner(joiner), Some(stored))
    }
}

impl<K: Serde, V: Data, T: Data> TableTableJoin<K, V, T, Left> {
    /// What a left entry and the right one of its key, if any, make.
    #[must_use]
    pub fn by<R: Data>(self, joiner: impl Fn(&V, Option<&T>) -> R + Data) -> KTable<K, R> {
        self.joined(Side::Left, left(joiner), None)
    }

    /// As [`by`](Self::by), in a store with a name or settings of its own.
    #[must_use]
    pub fn by_as<R: Serde>(
        self,
        materialized: impl Into<Materialized>,
        joiner: impl Fn(&V, Option<&T>) -> R + Data,
    ) -> KTable<K, R> {
        let stored = stored(&self.this.graph, &materialized.into());
        self.joined(Side::Left, left(joiner), Some(stored))
    }
}

impl<K: Serde, V: Data, T: Data> TableTableJoin<K, V, T, Outer> {
    /// What the entries of a key make; at least one is there.
    #[must_use]
    pub fn by<R: Data>(self, joiner: impl Fn(Option<&V>, Option<&T>) -> R + Data) -> KTable<K, R> {
        self.joined(Side::Outer, move |_, this, other| joiner(this, other), None)
    }

    /// As [`by`](Self::by), in a store with a name or settings of its own.
    #[must_use]
    pub fn by_as<R: Serde>(
        self,
        materialized: impl Into<Materialized>,
        joiner: impl Fn(Option<&V>, Option<&T>) -> R + Data,
    ) -> KTable<K, R> {
        let stored = stored(&self.this.graph, &materialized.into());
        self.joined(
            Side::Outer,
            move |_, this, other| joiner(this, other),
            Some(stored),
        )
    }
}

/// A store of the join's own: how it is built and looked up.
struct Stored<K, R> {
    store: StoreId,
    build: Build,
    getter: GetterFactory<K, R>,
}

impl<K: Serde, V: Data, T: Data, Kind> TableTableJoin<K, V, T, Kind> {
    fn of_kind<Other>(self) -> TableTableJoin<K, V, T, Other> {
        TableTableJoin {
            this: self.this,
            name: self.name,
            other: self.other,
            kind: PhantomData,
        }
    }

    /// Adds the two sides and what merges them, numbered in Kafka Streams' order.
    fn joined<R: Data>(
        self,
        side: Side,
        joiner: impl Fn(&K, Option<&V>, Option<&T>) -> R + Data,
        stored: Option<Stored<K, R>>,
    ) -> KTable<K, R> {
        let (this, other) = (self.this, self.other);
        let mut graph = this.graph.borrow_mut();
        let merge_name = graph.node_name(self.name.clone(), "KTABLE-MERGE-");
        let suffixed = |suffix| self.name.as_ref().map(|name| format!("{name}{suffix}"));
        let this_name = graph.node_name(suffixed("-join-this"), "KTABLE-JOINTHIS-");
        let other_name = graph.node_name(suffixed("-join-other"), "KTABLE-JOINOTHER-");
        if side != Side::Inner {
            graph.send_old_values(this.node);
        }
        if side == Side::Outer {
            graph.send_old_values(other.node);
        }
        this.materialize(&mut graph);
        other.materialize(&mut graph);
        let joiner = Arc::new(joiner);
        let this_build = side_build(side, &other.getter, Arc::clone(&joiner));
        let reversed = Arc::clone(&joiner);
        let reversed =
            move |key: &K, value: Option<&T>, found: Option<&V>| (reversed)(key, found, value);
        let other_side = match side {
            Side::Left => Side::Right,
            side => side,
        };
        let other_build = side_build(other_side, &this.getter, Arc::new(reversed));
        let kind = NodeKind::Processor;
        let this_stores = this.stores.clone();
        let other_stores = other.stores.clone();
        let parents = [this.node];
        let this_side = graph.add_node(this_name, kind.clone(), &parents, other_stores, this_build);
        let parents = [other.node];
        let other_side =
            graph.add_node(other_name, kind.clone(), &parents, this_stores, other_build);
        graph.relays_old.extend([this_side, other_side]);
        let own_store: Vec<_> = stored.iter().map(|stored| stored.store).collect();
        let build = stored
            .as_ref()
            .map_or_else(merge_build::<K, R>, |stored| Arc::clone(&stored.build));
        let parents = [this_side, other_side];
        let node = graph.add_node(merge_name, kind, &parents, own_store.clone(), build);
        let sources: BTreeSet<_> = this.sources.union(&other.sources).copied().collect();
        graph.copartitions.push((sources.clone(), node));
        drop(graph);
        let (getter, stores) = match stored {
            Some(stored) => (stored.getter, own_store),
            None => {
                let stores = this.stores.iter().chain(&other.stores).copied().collect();
                (join_getter(side, &this, &other, joiner), stores)
            }
        };
        KTable::with_stores(Rc::clone(&this.graph), node, sources, getter, stores)
    }
}

fn side_build<K: Serde, V: Data, T: Data, R: Data>(
    side: Side,
    other: &GetterFactory<K, T>,
    joiner: Arc<impl Fn(&K, Option<&V>, Option<&T>) -> R + Data>,
) -> Build {
    let getter = Arc::clone(other);
    build_node::<K, Change<V>>(move |compiler, id| {
        Ok(Box::new(JoinSide {
            id,
            side,
            sends_old: compiler.sends_old(id),
            other: getter(compiler)?,
            joiner: Arc::clone(&joiner),
            input: PhantomData,
            children: compiler.children(id)?,
        }))
    })
}

fn merge_build<K: Data, R: Data>() -> Build {
    build_node::<K, Change<R>>(|compiler, id| {
        Ok(Box::new(MergeSides {
            sends_old: compiler.sends_old(id),
            children: compiler.children(id)?,
        }))
    })
}

fn join_getter<K: Data, V: Data, T: Data, R: Data>(
    side: Side,
    this: &KTable<K, V>,
    other: &KTable<K, T>,
    joiner: Arc<impl Fn(&K, Option<&V>, Option<&T>) -> R + Data>,
) -> GetterFactory<K, R> {
    let (this, other) = (Arc::clone(&this.getter), Arc::clone(&other.getter));
    Arc::new(move |compiler| {
        Ok(Box::new(JoinGetter {
            side,
            this: this(compiler)?,
            other: other(compiler)?,
            joiner: Arc::clone(&joiner),
        }))
    })
}

/// A store of the join's own. Its name comes before the operators' numbers.
fn stored<K: Serde, R: Serde>(graph: &SharedGraph, materialized: &Materialized) -> Stored<K, R> {
    let mut graph = graph.borrow_mut();
    let name = graph.store_name(materialized.name.clone(), "KTABLE-MERGE-");
    let store = table_store::<R>(&mut graph, name, materialized, true);
    let build = build_node::<K, Change<R>>(move |compiler, id| {
        let children = compiler.children(id)?;
        Ok(Box::new(keep(compiler, id, store, false, children)?))
    });
    Stored {
        store,
        build,
        getter: store_getter::<K, R>(store),
    }
}

fn inner<K, V, T, R>(
    joiner: impl Fn(&V, &T) -> R + Data,
) -> impl Fn(&K, Option<&V>, Option<&T>) -> R + Data {
    move |_, this, other| match (this, other) {
        (Some(this), Some(other)) => joiner(this, other),
        _ => unreachable!("an inner join calls only for what is on both sides"),
    }
}

fn left<K, V, T, R>(
    joiner: impl Fn(&V, Option<&T>) -> R + Data,
) -> impl Fn(&K, Option<&V>, Option<&T>) -> R + Data {
    move |_, this, other| {
        let this = this.expect("the left side of a left join");
        joiner(this, other)
    }
}
