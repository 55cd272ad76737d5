//! What a connector is doing, for people and for metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::ConnectorSpec;
use crate::config::secret::Redactor;

/// A connector as it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConnectorStatus {
    /// Its name.
    pub name: String,
    /// "file source", "s3 sink".
    pub kind: &'static str,
    /// The topics it writes to or reads from.
    pub topics: Vec<String>,
    /// Whether it runs.
    pub state: ConnectorState,
    /// Records written to the topic or to the outside since the start of the process.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Records that could not be handled and were set aside or left out.
    pub errors: u64,
    /// Records per second over the last ten seconds.
    pub records_per_second: f64,
    /// Bytes per second over the last ten seconds.
    pub bytes_per_second: f64,
    /// How often it was started again after an error.
    pub restarts: u64,
    /// Why it is not running, or what went wrong last.
    pub last_error: Option<String>,
}

/// Whether a connector runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectorState {
    /// It is being prepared.
    Starting,
    /// It works.
    Running,
    /// Something outside does not answer; it tries again by itself.
    Retrying,
    /// It cannot work like this; it is started again from time to time, in case that was changed.
    Failed,
    /// It has done its work, or was stopped.
    Stopped,
}

/// The status of one connector while it runs; shared between its task and those who ask.
#[derive(Debug)]
pub(crate) struct StatusBoard {
    redactor: Redactor,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    status: ConnectorStatus,
    meter: Meter,
}

impl StatusBoard {
    pub(crate) fn new(spec: &ConnectorSpec) -> Self {
        let status = ConnectorStatus {
            name: spec.name.clone(),
            kind: spec.kind(),
            topics: spec.topics(),
            state: ConnectorState::Starting,
            records: 0,
            bytes: 0,
            errors: 0,
            records_per_second: 0.0,
            bytes_per_second: 0.0,
            restarts: 0,
            last_error: None,
        };
        let inner = Inner {
            status,
            meter: Meter::new(Instant::now()),
        };
        Self {
            redactor: spec.redactor.clone(),
            inner: Mutex::new(inner),
        }
    }

    pub(crate) fn running(&self) {
        self.lock().status.state = ConnectorState::Running;
    }

    /// Counts what was done; this also shows that an earlier error is over.
    pub(crate) fn done(&self, records: u64, bytes: u64) {
        let mut inner = self.lock();
        inner.status.state = ConnectorState::Running;
        inner.status.records += records;
        inner.status.bytes += bytes;
        inner.meter.add(Instant::now(), records, bytes);
    }

    /// Counts a record that was set aside.
    pub(crate) fn set_aside(&self, problem: &str) {
        let text = self.redactor.redact(problem);
        let mut inner = self.lock();
        inner.status.errors += 1;
        inner.status.last_error = Some(text);
    }

    pub(crate) fn trouble(&self, state: ConnectorState, error: &str) -> String {
        let text = self.redactor.redact(error);
        let mut inner = self.lock();
        inner.status.state = state;
        inner.status.last_error = Some(text.clone());
        text
    }

    pub(crate) fn restarted(&self) {
        let mut inner = self.lock();
        inner.status.restarts += 1;
        inner.status.state = ConnectorState::Starting;
    }

    pub(crate) fn stopped(&self) {
        self.lock().status.state = ConnectorState::Stopped;
    }

    pub(crate) fn read(&self) -> ConnectorStatus {
        let inner = self.lock();
        let (records, bytes) = inner.meter.per_second(Instant::now());
        let mut status = inner.status.clone();
        status.records_per_second = records;
        status.bytes_per_second = bytes;
        status
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts in slots of one second over the last [`SLOTS`] seconds.
#[derive(Debug)]
struct Meter {
    started: Instant,
    /// Second that the slot is about, records, bytes.
    slots: [(u64, u64, u64); SLOTS],
}

const SLOTS: usize = 10;

impl Meter {
    fn new(now: Instant) -> Self {
        Self {
            started: now,
            slots: [(0, 0, 0); SLOTS],
        }
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }

    fn add(&mut self, now: Instant, records: u64, bytes: u64) {
        let second = self.second(now);
        let index = usize::try_from(second % SLOTS as u64).unwrap_or(0);
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if slot.0 != second {
            *slot = (second, 0, 0);
        }
        slot.1 += records;
        slot.2 += bytes;
    }

    fn per_second(&self, now: Instant) -> (f64, f64) {
        let second = self.second(now);
        let recent = self
            .slots
            .iter()
            .filter(|slot| slot.0 + (SLOTS as u64) > second);
        let (records, bytes) = recent.fold((0, 0), |sum, slot| (sum.0 + slot.1, sum.1 + slot.2));
        let elapsed = now.saturating_duration_since(self.started);
        let window = elapsed
            .min(Duration::from_secs(SLOTS as u64))
            .as_secs_f64()
            .max(1.0);
        #[expect(clippy::cast_precision_loss, reason = "rates are for people")]
        let rates = (records as f64 / window, bytes as f64 / window);
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_ten_seconds() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        meter.add(at(0), 100, 1_000);
        assert_eq!(meter.per_second(at(0)), (100.0, 1_000.0));
        assert_eq!(meter.per_second(at(5)), (20.0, 200.0));
        meter.add(at(9), 50, 0);
        assert_eq!(meter.per_second(at(10)), (5.0, 0.0));
        assert_eq!(meter.per_second(at(30)), (0.0, 0.0));
    }
}
