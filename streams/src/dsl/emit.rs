//! When a windowed aggregation emits.

use std::time::Duration;

use super::windows::millis;

/// When a windowed aggregation emits: at each update (the default), or once, when a window closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Emit {
    pub(crate) on_close: bool,
    /// Wall-clock time without records after which all windows close.
    pub(crate) idle_timeout_ms: Option<i64>,
}

impl Emit {
    pub(crate) const fn on_close(self) -> Self {
        Self {
            on_close: true,
            ..self
        }
    }

    pub(crate) fn idle_timeout(self, timeout: Duration) -> Self {
        Self {
            idle_timeout_ms: Some(millis(timeout)),
            ..self
        }
    }

    /// What is wrong with these settings.
    pub(crate) fn mistake(self) -> Option<String> {
        let fits = self.on_close || self.idle_timeout_ms.is_none();
        (!fits).then(|| {
            "a windowed aggregation has an idle timeout but emits at each update\n  hint: call `.emit_final()` before `.idle_timeout(..)`".to_owned()
        })
    }
}
