//! What hangs on grouped streams.

use super::{Generator, Kind};
use crate::case::{Fold, Kept, Op, Window};

impl Generator {
    pub(super) fn on_grouped(&mut self, id: u32) {
        if self.random.one_in(6) {
            return self.cogroup(id);
        }
        let kind = [Fold::Count, Fold::Reduce, Fold::Aggregate][self.random.below(3)];
        let f = match kind {
            Fold::Count => "-",
            // A null out of a cache has another time: see `docs/streams.md`.
            _ if self.cache => "concat",
            Fold::Reduce => ["concat", "last", "max"][self.random.below(3)],
            Fold::Aggregate => ["concat", "clear:b"][self.random.below(2)],
        };
        let mut window = self.random.one_in(2).then(|| self.window());
        let mut kept = self.kept();
        self.keep_sessions_found(&mut window, &mut kept);
        let writes_counts = kind == Fold::Count && self.random.one_in(2);
        let counts_to = writes_counts.then(|| self.output());
        let op = Op::Aggregate {
            kind,
            f: f.to_owned(),
            window,
            emits_final: window.is_some() && self.random.one_in(4),
            counts_to,
            kept,
        };
        let kind = if window.is_some() {
            Kind::Windowed
        } else {
            Kind::Table
        };
        self.add(&[id], op, Some(kind));
    }

    pub(super) fn cogroup(&mut self, id: u32) {
        let mut inputs = vec![id];
        for _ in 0..self.random.below(3) {
            inputs.extend(
                self.any(Kind::Grouped)
                    .filter(|other| !inputs.contains(other)),
            );
        }
        let mut window = self.random.one_in(2).then(|| self.window());
        let f = "concat".to_owned();
        let mut kept = self.kept();
        self.keep_sessions_found(&mut window, &mut kept);
        let kind = if window.is_some() {
            Kind::Windowed
        } else {
            Kind::Table
        };
        self.add(&inputs, Op::Cogroup { f, window, kept }, Some(kind));
    }

    /// Kafka Streams finds sessions past their retention only in a cache.
    pub(super) fn keep_sessions_found(&self, window: &mut Option<Window>, kept: &mut Kept) {
        if matches!(window, Some(Window::Session { .. })) {
            kept.every_update = false;
            if !self.cache {
                *window = None;
            }
        }
    }

    pub(super) fn window(&mut self) -> Window {
        let size = 5 + self.random.below(16) as u64;
        let grace = [0, 0, 5, 20][self.random.below(4)];
        match self.random.below(6) {
            0 => Window::Tumbling { size, grace },
            1 | 2 => {
                let advance = 1 + self.random.below(size as usize) as u64;
                let advance = advance.max(size / 4);
                Window::Hopping {
                    size,
                    advance,
                    grace,
                }
            }
            3 => Window::Sliding {
                difference: size,
                grace,
            },
            _ => Window::Session { gap: size, grace },
        }
    }

    pub(super) fn has_every_update(&self) -> bool {
        self.steps.iter().any(|step| match &step.op {
            Op::Aggregate { kept, .. } | Op::Cogroup { kept, .. } => kept.every_update,
            _ => false,
        })
    }
}
