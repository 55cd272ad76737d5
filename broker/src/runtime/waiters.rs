//! Fetches that wait for data, and how an append wakes exactly those that it concerns.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::lock;

/// One waiting fetch; it stands in the lists of all partitions that it asked for.
#[derive(Debug)]
pub(crate) struct Waiter {
    notify: Notify,
    /// Bytes that are still missing until `min_bytes` are there.
    missing: AtomicI64,
}

impl Waiter {
    pub(crate) fn new(missing: usize) -> Arc<Self> {
        let missing = AtomicI64::new(i64::try_from(missing).unwrap_or(i64::MAX));
        Arc::new(Self {
            notify: Notify::new(),
            missing,
        })
    }

    /// Resolves when enough bytes came, or when something happened that the fetch must report at once.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }

    fn arrived(&self, bytes: i64) {
        if self.missing.fetch_sub(bytes, Ordering::AcqRel) <= bytes {
            self.notify.notify_one();
        }
    }
}

/// The fetches that wait for one partition.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// The length of the list, so that an append without waiting fetches takes no lock.
    count: AtomicUsize,
    list: Mutex<Vec<Arc<Waiter>>>,
}

impl Waiters {
    pub(crate) fn add(&self, waiter: &Arc<Waiter>) {
        let mut list = lock(&self.list);
        list.push(Arc::clone(waiter));
        self.count.store(list.len(), Ordering::SeqCst);
    }

    pub(crate) fn remove(&self, waiter: &Arc<Waiter>) {
        let mut list = lock(&self.list);
        if let Some(index) = list.iter().position(|other| Arc::ptr_eq(other, waiter)) {
            list.swap_remove(index);
        }
        self.count.store(list.len(), Ordering::SeqCst);
    }

    /// `bytes` more can be read now.
    pub(crate) fn arrived(&self, bytes: u64) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        for waiter in lock(&self.list).iter() {
            waiter.arrived(bytes);
        }
    }

    /// The partition changed in a way that every fetch must see, for example it was deleted.
    pub(crate) fn wake_all(&self) {
        for waiter in lock(&self.list).iter() {
            waiter.notify.notify_one();
        }
    }
}
