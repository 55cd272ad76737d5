//! Mapping by futures, for calls that take their time: to a database, to a service.

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::data::Data;
use super::kstream::KStream;
use super::node::NodeId;
use super::operators::map_async::{Making, MapAsync};

/// How many futures of an operator are under way in each task, and how long one may take. A
/// number is how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    limit: usize,
    timeout: Duration,
}

impl InFlight {
    /// At most so many at a time in each task, at least 1; each may take 30 seconds.
    #[must_use]
    pub const fn at_most(limit: usize) -> Self {
        Self {
            limit,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// How long each may take; then it is an error of its record. The whole task may wait that
    /// long, so it should be well below the group's session timeout.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl From<usize> for InFlight {
    fn from(limit: usize) -> Self {
        Self::at_most(limit)
    }
}

impl<K: Data, V: Data> KStream<K, V> {
    /// A new value for each record, made by a future. Several are under way at a time; their
    /// results go on in the order of the records. An error is handled as
    /// [`on_error`](KStream::on_error) says.
    ///
    /// A commit waits for all that are under way, so a record is committed together with its
    /// result. After a failure records come again, and so do their calls: with exactly-once as
    /// well, because what a future does elsewhere is in no transaction.
    ///
    /// The future must own what it needs of key and value. It runs in the tokio runtime that the
    /// job was started in; in the test driver only while a commit, a full operator or
    /// [`advance_wall_clock`](crate::TestDriver::advance_wall_clock) waits for it.
    ///
    /// ```
    /// use moldau_streams::{Builder, OnError, Str, Topic};
    ///
    /// const ADDRESSES: Topic<Str, Str> = Topic::new("addresses");
    /// const PLACES: Topic<Str, Str> = Topic::new("places");
    ///
    /// async fn look_up(address: Str) -> Result<Str, std::io::Error> {
    ///     // A call to a service.
    ///     Ok(address)
    /// }
    ///
    /// let builder = Builder::new("places");
    /// builder
    ///     .stream(&ADDRESSES)
    ///     .map_values_async(64, |_, address| look_up(address.clone()))
    ///     .on_error(OnError::dead_letter("addresses-unknown"))
    ///     .to(&PLACES);
    /// # builder.build()?;
    /// # Ok::<(), moldau_streams::StreamsError>(())
    /// ```
    #[must_use]
    pub fn map_values_async<V2: Data, E: Display, Made>(
        &self,
        in_flight: impl Into<InFlight>,
        map: impl Fn(&K, &V) -> Made + Data,
    ) -> KStream<K, V2>
    where
        K: Clone,
        Made: Future<Output = Result<V2, E>> + Send + 'static,
    {
        let start = move |key: &K, value: &V| -> Making<K, V2> {
            let (key, made) = (key.clone(), map(key, value));
            Box::pin(async move {
                let value = made.await.map_err(|error| error.to_string())?;
                Ok((key, value))
            })
        };
        let node = self.mapped_async("KSTREAM-MAPVALUESASYNC-", in_flight.into(), true, start);
        self.followed_by(node, self.repartition_required)
    }

    /// A new key and value for each record, made by a future, as
    /// [`map_values_async`](Self::map_values_async) does. Grouping or joining afterwards
    /// repartitions.
    #[must_use]
    pub fn map_async<K2: Data, V2: Data, E: Display, Made>(
        &self,
        in_flight: impl Into<InFlight>,
        map: impl Fn(&K, &V) -> Made + Data,
    ) -> KStream<K2, V2>
    where
        Made: Future<Output = Result<(K2, V2), E>> + Send + 'static,
    {
        let start = move |key: &K, value: &V| -> Making<K2, V2> {
            let made = map(key, value);
            Box::pin(async move { made.await.map_err(|error| error.to_string()) })
        };
        let node = self.mapped_async("KSTREAM-MAPASYNC-", in_flight.into(), false, start);
        self.followed_by(node, true)
    }

    fn mapped_async<K2: Data, V2: Data>(
        &self,
        prefix: &str,
        in_flight: InFlight,
        keeps_key: bool,
        start: impl Fn(&K, &V) -> Making<K2, V2> + Data,
    ) -> NodeId {
        let start = Arc::new(start);
        let node = self.add(prefix, move |compiler, id| {
            Ok(Box::new(MapAsync {
                id,
                start: Arc::clone(&start),
                on_error: compiler.graph().on_error(id),
                limit: in_flight.limit,
                timeout: in_flight.timeout,
                keeps_key,
                under_way: VecDeque::new(),
                executor: None,
                look: None,
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        // It looks after its results by the clock.
        self.graph.borrow_mut().standalone.insert(node);
        node
    }
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
