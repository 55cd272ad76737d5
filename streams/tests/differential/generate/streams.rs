//! What hangs on streams.

use super::{Generator, Kind};
use crate::case::{JoinKind, Kept, Op};

impl Generator {
    pub(super) fn on_stream(&mut self, id: u32) {
        let f = self.function_of_values();
        let kf = self.function_of_keys();
        let test = self.predicate();
        let stream = Some(Kind::Stream);
        match self.random.below(24) {
            0 => self.add(&[id], Op::Filter { f: test }, stream),
            1 => self.add(&[id], Op::FilterNot { f: test }, stream),
            2 => self.add(&[id], Op::Map { kf, f }, stream),
            3 => self.add(&[id], Op::MapValues { f }, stream),
            4 => self.add(&[id], Op::SelectKey { kf }, stream),
            5 => self.add(&[id], Op::FlatMap { kf, f }, stream),
            6 => self.add(&[id], Op::FlatMapValues, stream),
            7 => self.add(&[id], Op::Peek, stream),
            8 => self.add(&[id], Op::ForEach, None),
            9 => {
                if let Some(other) = self.any(Kind::Stream) {
                    self.add(&[id, other], Op::Merge, stream);
                }
            }
            10 | 11 => {
                if let Some(table) = self.any(Kind::Table) {
                    let left = self.random.one_in(2);
                    let op = if left {
                        Op::LeftJoinTable { grace: None }
                    } else {
                        Op::JoinTable { grace: None }
                    };
                    self.add(&[id, table], op, stream);
                }
            }
            12 | 13 => self.add(&[id], Op::GroupBy { kf }, Some(Kind::Grouped)),
            14 => self.branch(id),
            15 => self.add(&[id], Op::Repartition, stream),
            16 => {
                let kept = self.kept();
                self.add(&[id], Op::ToTable { kept }, Some(Kind::Table));
            }
            17..=19 => self.join_streams(id),
            20 => {
                let global = self.global_table();
                let op = match self.random.one_in(2) {
                    true => Op::JoinGlobal { kf },
                    false => Op::LeftJoinGlobal { kf },
                };
                self.add(&[id, global], op, stream);
            }
            _ => self.add(&[id], Op::GroupByKey, Some(Kind::Grouped)),
        }
    }

    /// The only one; one that nothing joins is not there in Moldau.
    pub(super) fn global_table(&mut self) -> u32 {
        if let Some(global) = self.any(Kind::Global) {
            return global;
        }
        let store = self.kept().store;
        let kept = Kept {
            store,
            ..Kept::default()
        };
        let topic = "g".to_owned();
        self.add(&[], Op::GlobalTable { topic, kept }, Some(Kind::Global));
        self.next_id
    }

    pub(super) fn join_streams(&mut self, id: u32) {
        let joins = self.steps.iter();
        let joins = joins.filter(|step| matches!(step.op, Op::JoinStream { .. }));
        // Each makes many records of one; a fourth behind three may fill all memory.
        if joins.count() >= 3 {
            return;
        }
        let Some(other) = self.any(Kind::Stream) else {
            return;
        };
        let kinds = [JoinKind::Inner, JoinKind::Left, JoinKind::Outer];
        let op = Op::JoinStream {
            kind: kinds[self.random.below(3)],
            before: self.random.below(12) as u64,
            after: self.random.below(12) as u64,
            grace: [0, 0, 5, 20][self.random.below(4)],
            store: self.kept().store,
        };
        self.add(&[id, other], op, Some(Kind::Stream));
    }

    pub(super) fn branch(&mut self, id: u32) {
        let count = 1 + self.random.below(2);
        let predicates = (0..count).map(|_| self.predicate()).collect();
        let outputs: Vec<_> = (0..=count).map(|_| self.id()).collect();
        for output in &outputs {
            self.made.push((*output, Kind::Stream, false));
        }
        let op = Op::Branch {
            outputs,
            predicates,
        };
        self.add(&[id], op, None);
    }
}
