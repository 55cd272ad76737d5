//! What hangs on tables, with and without windows.

use super::{Generator, Kind};
use crate::case::{Fold, JoinKind, Kept, Op, Window};

impl Generator {
    pub(super) fn on_table(&mut self, id: u32) {
        let f = self.function_of_values();
        let test = self.predicate();
        let table = Some(Kind::Table);
        let stored = self.random.one_in(3);
        let kept = if stored {
            Kept {
                store: Some(format!("store-{}", self.next_id + 1)),
                ..self.kept()
            }
        } else {
            Kept::default()
        };
        let is_odd = self.has_odd_old_values();
        match self.random.below(11) {
            0 | 1 | 3..=6 | 9 if is_odd => {}
            0 => {
                let f = test;
                // Not stored: a second stored filter behind it logs what is not there.
                let (stored, kept) = (false, Kept::default());
                self.add(&[id], Op::TableFilter { f, stored, kept }, table);
            }
            1 => {
                let f = test;
                let (stored, kept) = (false, Kept::default());
                self.add(&[id], Op::TableFilterNot { f, stored, kept }, table);
            }
            // In Rust a table's value is never null: the next operator would see a `None`. Nor
            // does a store's mapper see the key.
            2 if !(f.starts_with("nullify") || stored && f == "with_key") => {
                self.add(&[id], Op::TableMapValues { f, stored, kept }, table);
            }
            3 => self.table_group(id),
            // A table joined with what is suppressed of it: updates come in another order.
            4..=6 if self.suppresses() => {}
            4 | 5 => {
                let kinds = [JoinKind::Inner, JoinKind::Left, JoinKind::Outer];
                let kind = kinds[self.random.below(3)];
                // Not stored: a filter behind asks the two sides for old values only in Kafka Streams.
                let (stored, kept) = (false, Kept::default());
                if let Some(other) = self.any(Kind::Table).filter(|other| *other != id) {
                    self.add(&[id, other], Op::JoinTables { kind, stored, kept }, table);
                }
            }
            // What a suppression buffer holds says which input it came with, also that of another.
            9 if !self.suppresses() => {
                let time_limit = self.random.below(20) as u64;
                let is_bounded = self.random.one_in(2);
                let max_records = is_bounded.then(|| 1 + self.random.below(3) as u64);
                let op = Op::Suppress {
                    time_limit,
                    max_records,
                };
                self.add_unnamed(&[id], op, table);
            }
            // Behind a table aggregation, responses may come in another order.
            6 if !self.groups_a_table() => {
                let kind = [JoinKind::Inner, JoinKind::Left][self.random.below(2)];
                let kf = ["first", "last", "const:k"][self.random.below(3)].to_owned();
                let kept = self.kept();
                if let Some(other) = self.any(Kind::Table).filter(|other| *other != id) {
                    let op = Op::ForeignKeyJoin { kind, kf, kept };
                    self.add(&[id, other], op, table);
                }
            }
            _ => self.add(&[id], Op::ToStream, Some(Kind::Stream)),
        }
    }

    pub(super) fn table_group(&mut self, id: u32) {
        let kind = [Fold::Count, Fold::Reduce, Fold::Aggregate][self.random.below(3)];
        let writes_counts = kind == Fold::Count && self.random.one_in(2);
        let op = Op::TableGroup {
            kf: self.function_of_keys(),
            kind,
            f: "concat".to_owned(),
            counts_to: writes_counts.then(|| self.output()),
            kept: self.kept(),
        };
        self.add(&[id], op, Some(Kind::Table));
    }

    pub(super) fn on_windowed(&mut self, id: u32) {
        let f = self.function_of_values();
        let test = self.predicate();
        let windowed = Some(Kind::Windowed);
        match self.random.below(5) {
            2 if self.suppresses() || self.has_odd_old_values() => {}
            2 => {
                let is_limited = self.random.one_in(3);
                let time_limit = is_limited.then(|| self.random.below(20) as u64);
                self.add_unnamed(&[id], Op::WindowedSuppress { time_limit }, windowed);
            }
            0 if !self.cache || self.has_every_update() => {}
            0 => self.add_unnamed(&[id], Op::WindowedFilter { f: test }, windowed),
            1 if !f.starts_with("nullify") => {
                self.add_unnamed(&[id], Op::WindowedMapValues { f }, windowed);
            }
            _ => self.add_unnamed(&[id], Op::Unwindow, Some(Kind::Stream)),
        }
    }

    /// Whether a table has old values that Moldau has not: an aggregate's first one is what it
    /// began as in Kafka Streams, unless a cache is before it; in a sliding window, a reduced
    /// value's first one is what the window was made from.
    pub(super) fn has_odd_old_values(&self) -> bool {
        self.steps.iter().any(|step| match &step.op {
            Op::Aggregate {
                kind, kept, window, ..
            } => {
                let slides = matches!(window, Some(Window::Sliding { .. }));
                (*kind != Fold::Reduce || slides) && (kept.every_update || !self.cache)
            }
            Op::Cogroup { kept, .. } => kept.every_update || !self.cache,
            _ => false,
        })
    }

    pub(super) fn suppresses(&self) -> bool {
        self.steps.iter().any(|step| {
            let op = &step.op;
            matches!(op, Op::Suppress { .. } | Op::WindowedSuppress { .. })
        })
    }

    pub(super) fn groups_a_table(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(step.op, Op::TableGroup { .. }))
    }
}
