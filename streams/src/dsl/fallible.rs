//! Operators with closures that may fail, and what happens then.

use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

use super::builder::Builder;
use super::data::Data;
use super::kstream::KStream;
use super::on_error::OnError;
use super::operators::fallible::{TryFilter, TryRecords, TryValues};

impl Builder {
    /// What fallible operators (`try_…`, processors) do with a record that they refuse, where
    /// [`KStream::on_error`] does not say it for one of them. The default is [`OnError::Fail`].
    pub fn on_processing_error(&self, on_error: OnError) {
        self.graph().borrow_mut().on_processing_error = on_error;
    }
}

impl<K: Data, V: Data> KStream<K, V> {
    /// What the operator that made this stream does with a record that it refuses. Only fallible
    /// operators (`try_…`, processors) refuse any.
    ///
    /// ```
    /// # use moldau_streams::{Builder, OnError, Str, Topic};
    /// # const TEXTS: Topic<Str, Str> = Topic::new("texts");
    /// # const NUMBERS: Topic<Str, i64> = Topic::new("numbers");
    /// # let builder = Builder::new("parse");
    /// builder
    ///     .stream(&TEXTS)
    ///     .try_map_values(|text| text.parse::<i64>())
    ///     .on_error(OnError::dead_letter("texts-refused"))
    ///     .to(&NUMBERS);
    /// ```
    #[must_use = "the stream goes on from here"]
    pub fn on_error(self, on_error: OnError) -> Self {
        self.graph.borrow_mut().on_error.insert(self.node, on_error);
        self
    }

    /// A new value for each record, or an error.
    #[must_use]
    pub fn try_map_values<V2: Data, E: Display>(
        &self,
        map: impl Fn(&V) -> Result<V2, E> + Data,
    ) -> KStream<K, V2> {
        self.try_map_values_with_key(move |_, value| map(value))
    }

    /// A new value for each record, made from key and value, or an error.
    #[must_use]
    pub fn try_map_values_with_key<V2: Data, E: Display>(
        &self,
        map: impl Fn(&K, &V) -> Result<V2, E> + Data,
    ) -> KStream<K, V2> {
        self.try_values("KSTREAM-MAPVALUES-", move |key, value, values| {
            values.push(map(key, value).map_err(text)?);
            Ok(())
        })
    }

    /// Any number of values for each record, or an error; then none of them goes on.
    #[must_use]
    pub fn try_flat_map_values<V2: Data, E: Display>(
        &self,
        map: impl Fn(&V, &mut Vec<V2>) -> Result<(), E> + Data,
    ) -> KStream<K, V2> {
        self.try_values("KSTREAM-FLATMAPVALUES-", move |_, value, values| {
            map(value, values).map_err(text)
        })
    }

    /// A new key and value for each record, or an error. Grouping or joining afterwards
    /// repartitions.
    #[must_use]
    pub fn try_map<K2: Data, V2: Data, E: Display>(
        &self,
        map: impl Fn(&K, &V) -> Result<(K2, V2), E> + Data,
    ) -> KStream<K2, V2> {
        self.try_records("KSTREAM-MAP-", move |key, value, records| {
            records.push(map(key, value).map_err(text)?);
            Ok(())
        })
    }

    /// Any number of keys and values for each record, or an error; then none of them goes on.
    #[must_use]
    pub fn try_flat_map<K2: Data, V2: Data, E: Display>(
        &self,
        map: impl Fn(&K, &V, &mut Vec<(K2, V2)>) -> Result<(), E> + Data,
    ) -> KStream<K2, V2> {
        self.try_records("KSTREAM-FLATMAP-", move |key, value, records| {
            map(key, value, records).map_err(text)
        })
    }

    /// A new key for each record, or an error. Grouping or joining afterwards repartitions.
    #[must_use]
    pub fn try_select_key<K2: Data, E: Display>(
        &self,
        select: impl Fn(&K, &V) -> Result<K2, E> + Data,
    ) -> KStream<K2, V>
    where
        V: Clone,
    {
        self.try_records("KSTREAM-KEY-SELECT-", move |key, value, records| {
            records.push((select(key, value).map_err(text)?, value.clone()));
            Ok(())
        })
    }

    /// The records for which `predicate` is true, or an error.
    #[must_use]
    pub fn try_filter<E: Display>(
        &self,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Data,
    ) -> Self {
        self.try_passed("KSTREAM-FILTER-", predicate)
    }

    /// The same records, after `look` has seen each; those that it refuses do not go on.
    #[must_use]
    pub fn try_peek<E: Display>(&self, look: impl Fn(&K, &V) -> Result<(), E> + Data) -> Self {
        self.try_passed("KSTREAM-PEEK-", move |key, value| {
            look(key, value).map(|()| true)
        })
    }

    /// Calls `act` for each record and ends the stream; what `act` refuses is handled as
    /// `on_error` says.
    pub fn try_for_each<E: Display>(
        &self,
        on_error: OnError,
        act: impl Fn(&K, &V) -> Result<(), E> + Data,
    ) {
        let ended = self.try_passed("KSTREAM-FOREACH-", move |key, value| {
            act(key, value).map(|()| false)
        });
        let _ = ended.on_error(on_error);
    }

    fn try_passed<E: Display>(
        &self,
        prefix: &str,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Data,
    ) -> Self {
        let predicate = move |key: &K, value: &V| predicate(key, value).map_err(text);
        let predicate = Arc::new(predicate);
        let node = self.add(prefix, move |compiler, id| {
            Ok(Box::new(TryFilter {
                id,
                predicate: Arc::clone(&predicate),
                on_error: compiler.graph().on_error(id),
                children: compiler.children(id)?,
            }))
        });
        self.followed_by(node, self.repartition_required)
    }

    fn try_values<V2: Data>(
        &self,
        prefix: &str,
        map: impl Fn(&K, &V, &mut Vec<V2>) -> Result<(), String> + Data,
    ) -> KStream<K, V2> {
        let map = Arc::new(map);
        let node = self.add(prefix, move |compiler, id| {
            Ok(Box::new(TryValues {
                id,
                map: Arc::clone(&map),
                on_error: compiler.graph().on_error(id),
                values: Vec::new(),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        self.followed_by(node, self.repartition_required)
    }

    fn try_records<K2: Data, V2: Data>(
        &self,
        prefix: &str,
        map: impl Fn(&K, &V, &mut Vec<(K2, V2)>) -> Result<(), String> + Data,
    ) -> KStream<K2, V2> {
        let map = Arc::new(map);
        let node = self.add(prefix, move |compiler, id| {
            Ok(Box::new(TryRecords {
                id,
                map: Arc::clone(&map),
                on_error: compiler.graph().on_error(id),
                records: Vec::new(),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        self.followed_by(node, true)
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
