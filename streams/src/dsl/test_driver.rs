//! The synchronous test driver: typed topics on top of [`LocalDriver`].

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use moldau_client::RecordHeader;

use super::serde::{Serde, SerdeContext, decode, encode};
use super::topic::Topic;
use super::windowed::{Window, Windowed};
use crate::runtime::{
    Application, LocalConfig, LocalDriver, LocalRecord, LocalTopicRecord, StreamsError,
};

/// Runs a topology in memory, in the calling thread, with a virtual clock.
///
/// By default it commits after each record, so that every update of a table is seen.
/// Its methods panic when the topology fails, as a test should; `try_` variants tell why.
#[derive(Debug)]
pub struct TestDriver {
    driver: Rc<RefCell<LocalDriver>>,
}

impl TestDriver {
    pub(super) fn new(application: Application, config: LocalConfig) -> Result<Self, StreamsError> {
        let driver = LocalDriver::new(application, config)?;
        Ok(Self {
            driver: Rc::new(RefCell::new(driver)),
        })
    }

    /// A topic to write to.
    #[must_use]
    pub fn input<K: Serde, V: Serde>(&self, topic: &Topic<K, V>) -> TestInput<K, V> {
        TestInput {
            driver: Rc::clone(&self.driver),
            topic: topic.clone(),
        }
    }

    /// A topic to read from.
    #[must_use]
    pub fn output<K: Serde, V: Serde>(&self, topic: &Topic<K, V>) -> TestOutput<K, V> {
        TestOutput {
            driver: Rc::clone(&self.driver),
            topic: topic.clone(),
        }
    }

    /// A key-value store to look into, by the types of its keys and values.
    #[must_use]
    pub fn store<K: Serde, V: Serde>(&self, name: &str) -> TestStore<K, V> {
        TestStore {
            driver: Rc::clone(&self.driver),
            name: name.to_owned(),
            types: PhantomData,
        }
    }

    /// A window store to look into, by the types of its keys and values.
    #[must_use]
    pub fn window_store<K: Serde, V: Serde>(&self, name: &str) -> TestWindowStore<K, V> {
        TestWindowStore {
            driver: Rc::clone(&self.driver),
            name: name.to_owned(),
            types: PhantomData,
        }
    }

    /// A versioned store to look into, by the types of its keys and values.
    #[must_use]
    pub fn versioned_store<K: Serde, V: Serde>(&self, name: &str) -> TestVersionedStore<K, V> {
        TestVersionedStore {
            driver: Rc::clone(&self.driver),
            name: name.to_owned(),
            types: PhantomData,
        }
    }

    /// Creates a topic that a pattern finds while the topology runs; see
    /// [`Builder::stream_matching`](crate::Builder::stream_matching).
    ///
    /// # Panics
    /// The topology cannot read the topic, or failed.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        expect(self.driver.borrow_mut().create_topic(name, partitions));
    }

    /// Commits; with [`CommitMode::Manual`](crate::runtime::CommitMode) nothing else does.
    ///
    /// # Panics
    /// The topology failed.
    pub fn commit(&self) {
        expect(self.driver.borrow_mut().commit());
    }

    /// Moves the wall clock on.
    ///
    /// # Panics
    /// The topology failed.
    pub fn advance_wall_clock(&self, by: std::time::Duration) {
        expect(
            self.driver
                .borrow_mut()
                .advance_wall_clock(super::windows::millis(by)),
        );
    }

    /// Forgets all tasks without a commit, and starts new ones from changelogs and committed
    /// offsets. What was not committed is processed again.
    ///
    /// # Panics
    /// The topology failed.
    pub fn crash_and_restore(&self) {
        expect(self.driver.borrow_mut().crash_and_restore());
    }

    /// Ends all tasks without a commit, and starts new ones as after a crash; but persistent
    /// stores write what was committed, as when a process ends in order.
    ///
    /// # Panics
    /// The topology failed.
    pub fn restart(&self) {
        expect(self.driver.borrow_mut().restart());
    }

    /// Memory that the write-back caches use now, as they count it.
    #[must_use]
    pub fn cache_used_bytes(&self) -> usize {
        self.driver.borrow().cache_used_bytes()
    }

    /// Records that were dropped: late, without a key, or skipped by policy.
    #[must_use]
    pub fn records_dropped(&self) -> u64 {
        self.driver.borrow().records_dropped()
    }

    /// Names of all topics there are: read, written, changelogs and repartition topics.
    #[must_use]
    pub fn topic_names(&self) -> Vec<String> {
        let driver = self.driver.borrow();
        driver.topic_names().map(str::to_owned).collect()
    }

    /// All records of a topic as bytes: of a changelog or repartition topic, for example.
    #[must_use]
    pub fn raw_topic(&self, name: &str) -> Vec<LocalTopicRecord> {
        self.driver.borrow().topic(name).to_vec()
    }
}

/// A topic to write to.
#[derive(Debug)]
pub struct TestInput<K, V> {
    driver: Rc<RefCell<LocalDriver>>,
    topic: Topic<K, V>,
}

impl<K: Serde, V: Serde> TestInput<K, V> {
    /// Writes a record with timestamp 0 and runs the topology until nothing is left to do.
    ///
    /// # Panics
    /// The topology failed.
    pub fn send(&self, key: impl Into<K>, value: impl Into<V>) {
        self.send_at(0, key, value);
    }

    /// Writes a record with this timestamp and runs the topology.
    ///
    /// # Panics
    /// The topology failed.
    pub fn send_at(&self, timestamp: i64, key: impl Into<K>, value: impl Into<V>) {
        expect(self.try_send_at(timestamp, key, value));
    }

    /// Writes a record with this timestamp and runs the topology.
    ///
    /// # Errors
    /// The topology failed.
    pub fn try_send_at(
        &self,
        timestamp: i64,
        key: impl Into<K>,
        value: impl Into<V>,
    ) -> Result<(), StreamsError> {
        let record = self.record(timestamp, &key.into(), &value.into());
        self.driver.borrow_mut().send(self.topic.name(), record)
    }

    /// Writes a record with headers and this timestamp, and runs the topology.
    ///
    /// # Panics
    /// The topology failed.
    pub fn send_with_headers(
        &self,
        timestamp: i64,
        key: impl Into<K>,
        value: impl Into<V>,
        headers: Vec<RecordHeader>,
    ) {
        let mut record = self.record(timestamp, &key.into(), &value.into());
        record.headers = headers;
        expect(self.driver.borrow_mut().send(self.topic.name(), record));
    }

    /// Writes bytes that may not be of the topic's types, and runs the topology.
    ///
    /// # Errors
    /// The topology failed.
    pub fn send_raw(
        &self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), StreamsError> {
        let bytes = Bytes::copy_from_slice;
        let record = LocalRecord::new(key.map(bytes), value.map(bytes), timestamp);
        self.driver.borrow_mut().send(self.topic.name(), record)
    }

    fn record(&self, timestamp: i64, key: &K, value: &V) -> LocalRecord {
        let mut buffer = BytesMut::new();
        let name = self.topic.name();
        let key = encode(key, &SerdeContext::key(name), &mut buffer).expect("a key with bytes");
        let value = encode(value, &SerdeContext::value(name), &mut buffer);
        LocalRecord::new(key, value.expect("a value with bytes"), timestamp)
    }
}

/// A topic to read from.
#[derive(Debug)]
pub struct TestOutput<K, V> {
    driver: Rc<RefCell<LocalDriver>>,
    topic: Topic<K, V>,
}

impl<K: Serde, V: Serde> TestOutput<K, V> {
    /// Keys and values of all records that were not read yet. A topic of `V` that holds
    /// tombstones is read as one of `Option<V>`.
    ///
    /// # Panics
    /// A record is not of the topic's types.
    #[must_use]
    pub fn read(&self) -> Vec<(K, V)> {
        self.read_with_timestamps()
            .into_iter()
            .map(|(key, value, _)| (key, value))
            .collect()
    }

    /// Keys, values and timestamps of all records that were not read yet.
    ///
    /// # Panics
    /// A record is not of the topic's types.
    #[must_use]
    pub fn read_with_timestamps(&self) -> Vec<(K, V, i64)> {
        self.read_records()
            .iter()
            .map(|record| {
                let name = self.topic.name();
                let key = decode(&SerdeContext::key(name), record.key.as_ref());
                let value = decode(&SerdeContext::value(name), record.value.as_ref());
                (
                    key.expect("a key of the topic's type"),
                    value.expect("a value of the topic's type"),
                    record.timestamp,
                )
            })
            .collect()
    }

    /// All records that were not read yet, as bytes.
    #[must_use]
    pub fn read_records(&self) -> Vec<LocalTopicRecord> {
        self.driver.borrow_mut().read(self.topic.name())
    }
}

/// A key-value store to look into.
pub struct TestStore<K, V> {
    driver: Rc<RefCell<LocalDriver>>,
    name: String,
    types: PhantomData<fn(K, V)>,
}

impl<K: Serde, V: Serde> TestStore<K, V> {
    /// The value of a key, as of the last commit, in whichever partition it is.
    ///
    /// # Panics
    /// There is no such store, or it holds other types.
    #[must_use]
    pub fn get(&self, key: impl Into<K>) -> Option<V> {
        let key = key_bytes(&self.name, &key.into());
        let mut driver = self.driver.borrow_mut();
        let found = partitions(&driver).into_iter().find_map(|partition| {
            let store = driver.key_value_store(&self.name, partition)?;
            Some(store.get(&key).expect("a store that can be read")?.value)
        });
        found.map(|bytes| value_of(&self.name, &bytes))
    }
}

/// A window store to look into.
pub struct TestWindowStore<K, V> {
    driver: Rc<RefCell<LocalDriver>>,
    name: String,
    types: PhantomData<fn(K, V)>,
}

impl<K: Serde, V: Serde> TestWindowStore<K, V> {
    /// The value of a key in the window that starts at `start`, as of the last commit.
    ///
    /// # Panics
    /// There is no such store, or it holds other types.
    #[must_use]
    pub fn get(&self, key: impl Into<K>, start: i64) -> Option<V> {
        let key = key_bytes(&self.name, &key.into());
        let mut driver = self.driver.borrow_mut();
        let found = partitions(&driver).into_iter().find_map(|partition| {
            let store = driver.window_store(&self.name, partition)?;
            Some(
                store
                    .get(&key, start)
                    .expect("a store that can be read")?
                    .value,
            )
        });
        found.map(|bytes| value_of(&self.name, &bytes))
    }
}

/// A versioned store to look into.
pub struct TestVersionedStore<K, V> {
    driver: Rc<RefCell<LocalDriver>>,
    name: String,
    types: PhantomData<fn(K, V)>,
}

impl<K: Serde, V: Serde> TestVersionedStore<K, V> {
    /// The latest value of a key, in whichever partition it is.
    ///
    /// # Panics
    /// There is no such store, or it holds other types.
    #[must_use]
    pub fn get(&self, key: impl Into<K>) -> Option<V> {
        self.get_as_of(key, i64::MAX)
    }

    /// The value of a key that was valid at a point of event time.
    ///
    /// # Panics
    /// There is no such store, or it holds other types.
    #[must_use]
    pub fn get_as_of(&self, key: impl Into<K>, timestamp: i64) -> Option<V> {
        let key = key_bytes(&self.name, &key.into());
        let mut driver = self.driver.borrow_mut();
        let found = partitions(&driver).into_iter().find_map(|partition| {
            let store = driver.versioned_store(&self.name, partition)?;
            let version = store.get_as_of(&key, timestamp);
            Some(version.expect("a store that can be read")?.value)
        });
        found.map(|bytes| value_of(&self.name, &bytes))
    }
}

/// A windowed key as an output topic gives it back: without the window's end.
#[must_use]
pub fn windowed<K>(key: impl Into<K>, start: i64) -> Windowed<K> {
    Windowed {
        key: key.into(),
        window: Window {
            start,
            end: i64::MAX,
        },
    }
}

fn partitions(driver: &LocalDriver) -> Vec<i32> {
    driver
        .tasks()
        .into_iter()
        .map(|task| task.partition)
        .collect()
}

fn key_bytes<K: Serde>(store: &str, key: &K) -> Bytes {
    let bytes = encode(key, &SerdeContext::key(store), &mut BytesMut::new());
    bytes.expect("a key with bytes").unwrap_or_default()
}

fn value_of<V: Serde>(store: &str, bytes: &Bytes) -> V {
    V::decode(&SerdeContext::value(store), bytes).expect("a value of the store's type")
}

#[track_caller]
fn expect(result: Result<(), StreamsError>) {
    if let Err(error) = result {
        panic!("the topology failed: {error}");
    }
}

impl<K, V> fmt::Debug for TestStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("TestStore")
            .field(&self.name)
            .finish()
    }
}

impl<K, V> fmt::Debug for TestVersionedStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("TestVersionedStore")
            .field(&self.name)
            .finish()
    }
}

impl<K, V> fmt::Debug for TestWindowStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("TestWindowStore")
            .field(&self.name)
            .finish()
    }
}
