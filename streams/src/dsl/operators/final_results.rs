//! When windows are looked through for those that have closed (KIP-825).

use crate::dsl::emit::Emit;
use crate::dsl::graph::Store;
use crate::dsl::node::Cx;
use crate::runtime::StoreKind;

/// The clock of an aggregation that emits each window once, when it closes.
pub(crate) struct FinalResults {
    emit: Emit,
    store_name: String,
    /// How long the store keeps a window.
    retention_ms: i64,
    /// Wall-clock time before which nothing is looked through again.
    next_emit_at: i64,
    /// Close time up to which windows are emitted, -1 before the first. Kept in the metadata of
    /// committed offsets, so that no window is emitted again after a restart.
    last_close: Option<i64>,
    /// Wall-clock time of the last record.
    last_record_at: Option<i64>,
    is_idle: bool,
}

impl FinalResults {
    pub(crate) fn new(emit: Emit, store: &Store) -> Self {
        Self {
            emit,
            store_name: store.name.clone(),
            retention_ms: match store.kind {
                StoreKind::Window { retention_ms } | StoreKind::Session { retention_ms } => {
                    retention_ms
                }
                _ => i64::MAX,
            },
            next_emit_at: 0,
            last_close: None,
            last_record_at: None,
            is_idle: false,
        }
    }

    /// Whether windows are emitted when they close, not at each update.
    pub(crate) const fn on_close(&self) -> bool {
        self.emit.on_close
    }

    /// Notes that a record has come.
    pub(crate) fn record_came(&mut self, cx: &mut Cx<'_, '_>) {
        if let Some(timeout) = self.emit.idle_timeout_ms {
            let now = cx.task.wall_clock_ms();
            self.last_record_at = Some(now);
            self.is_idle = false;
            cx.state.wake_at(now.saturating_add(timeout));
        }
    }

    /// Whether it is time to look through the windows that end before `close_time`.
    pub(crate) fn is_due(&mut self, cx: &mut Cx<'_, '_>, close_time: i64) -> bool {
        if !self.on_close() {
            return false;
        }
        let now = cx.task.wall_clock_ms();
        if now < self.next_emit_at {
            return false;
        }
        self.next_emit_at = now.saturating_add(cx.task.emit_interval_ms());
        let last_close = self.last_close(cx);
        last_close == NEVER || last_close < close_time
    }

    /// Whether the store, once it gets a window that begins at `newest`, may forget windows that
    /// have closed and were not emitted yet. They are emitted first then, however little time has
    /// passed on the wall clock.
    pub(crate) fn would_forget(&mut self, cx: &Cx<'_, '_>, newest: i64, size_ms: i64) -> bool {
        if !self.on_close() {
            return false;
        }
        let oldest = match self.last_close(cx) {
            NEVER => 0,
            last_close => last_close.saturating_sub(size_ms),
        };
        newest.saturating_sub(self.retention_ms) >= oldest
    }

    /// Close time up to which windows are emitted, -1 before the first.
    pub(crate) fn last_close(&mut self, cx: &Cx<'_, '_>) -> i64 {
        *self.last_close.get_or_insert_with(|| {
            let kept = cx.task.processor_metadata(&self.store_name);
            kept.unwrap_or(NEVER)
        })
    }

    pub(crate) fn emitted(&mut self, cx: &mut Cx<'_, '_>, close_time: i64) {
        self.last_close = Some(close_time);
        cx.task.set_processor_metadata(&self.store_name, close_time);
    }

    /// At a commit: whether no record has come for so long that all windows close now.
    pub(crate) fn becomes_idle(&mut self, cx: &mut Cx<'_, '_>) -> bool {
        let Some(timeout) = self.emit.idle_timeout_ms.filter(|_| self.on_close()) else {
            return false;
        };
        if self.is_idle {
            return false;
        }
        let now = cx.task.wall_clock_ms();
        let since = *self.last_record_at.get_or_insert(now);
        let deadline = since.saturating_add(timeout);
        self.is_idle = now >= deadline;
        if !self.is_idle {
            cx.state.wake_at(deadline);
        }
        self.is_idle
    }
}

/// No window was emitted yet.
pub(crate) const NEVER: i64 = -1;
