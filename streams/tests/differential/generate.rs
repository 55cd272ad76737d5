//! Random cases: one seed is all that a case is made from.

use crate::case::{Case, Fold, JoinKind, Kept, Op, Step, Window};
use crate::input::{self, Random};

/// The case of a seed.
pub(crate) fn case(seed: u64) -> Case {
    let mut random = Random(seed);
    let cache = random.one_in(2);
    let persistent = random.one_in(20);
    let mut generator = Generator {
        random,
        cache,
        steps: Vec::new(),
        made: Vec::new(),
        next_id: 0,
    };
    generator.topology();
    let needs_disk = generator.steps.iter().any(|step| match &step.op {
        Op::Aggregate { window, .. } | Op::Cogroup { window, .. } => {
            matches!(window, Some(Window::Session { .. }))
        }
        Op::JoinStream { .. } => true,
        _ => false,
    });
    let records = input::records(&mut generator.random, &generator.steps);
    Case {
        seed,
        cache,
        // In memory, Kafka Streams forgets sessions and joined records earlier than on disk, its default.
        persistent: persistent || needs_disk,
        steps: generator.steps,
        records,
    }
}

/// What a step makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stream,
    Grouped,
    Table,
    Windowed,
    Global,
}

struct Generator {
    random: Random,
    cache: bool,
    steps: Vec<Step>,
    /// What there is to hang on, and whether anything does.
    made: Vec<(u32, Kind, bool)>,
    next_id: u32,
}

impl Generator {
    fn topology(&mut self) {
        self.source();
        let wanted = 2 + self.random.below(9);
        while self.steps.len() < wanted {
            if self.random.one_in(6) {
                self.source();
                continue;
            }
            // What was made last is the most interesting.
            let newest = self.made.len() - 1;
            let older = self.random.one_in(3);
            let index = if older {
                self.random.below(newest + 1)
            } else {
                newest
            };
            self.made[index].2 = true;
            let (id, kind, _) = self.made[index];
            match kind {
                Kind::Stream => self.on_stream(id),
                Kind::Grouped => self.on_grouped(id),
                Kind::Table => self.on_table(id),
                Kind::Windowed => self.on_windowed(id),
                Kind::Global => {}
            }
        }
        for (id, kind, is_used) in self.made.clone() {
            if !is_used || self.random.one_in(4) {
                self.end(id, kind);
            }
        }
    }

    fn source(&mut self) {
        if self.random.one_in(3) {
            let topic = ["t1", "t2"][self.random.below(2)].to_owned();
            let is_read =
                |step: &Step| matches!(&step.op, Op::Table { topic: read, .. } if *read == topic);
            if self.steps.iter().any(is_read) {
                return;
            }
            let kept = self.kept();
            self.add(&[], Op::Table { topic, kept }, Some(Kind::Table));
        } else {
            let topic = ["s1", "s2", "s3"][self.random.below(3)].to_owned();
            self.add(&[], Op::Stream { topic }, Some(Kind::Stream));
        }
    }

    fn on_stream(&mut self, id: u32) {
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
                    let left = self.random.one_in(2) && !self.repartitions();
                    let op = if left {
                        Op::LeftJoinTable
                    } else {
                        Op::JoinTable
                    };
                    self.add(&[id, table], op, stream);
                }
            }
            12 | 13 => self.add(&[id], Op::GroupBy { kf }, Some(Kind::Grouped)),
            14 => self.branch(id),
            15 if !self.keeps_null_keys() => self.add(&[id], Op::Repartition, stream),
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
    fn global_table(&mut self) -> u32 {
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

    /// Whether a left or outer join lets records without a key into repartition topics, in Kafka
    /// Streams also in those that a `repartition` before it writes.
    fn keeps_null_keys(&self) -> bool {
        self.steps.iter().any(|step| match &step.op {
            Op::LeftJoinTable => true,
            Op::JoinStream { kind, .. } => *kind != JoinKind::Inner,
            _ => false,
        })
    }

    fn repartitions(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(step.op, Op::Repartition))
    }

    fn join_streams(&mut self, id: u32) {
        let Some(other) = self.any(Kind::Stream) else {
            return;
        };
        let kinds = [JoinKind::Inner, JoinKind::Left, JoinKind::Outer];
        let kind = kinds[self.random.below(3)];
        let op = Op::JoinStream {
            kind: if self.repartitions() {
                JoinKind::Inner
            } else {
                kind
            },
            before: self.random.below(12) as u64,
            after: self.random.below(12) as u64,
            grace: [0, 0, 5, 20][self.random.below(4)],
            store: self.kept().store,
        };
        self.add(&[id, other], op, Some(Kind::Stream));
    }

    /// Kafka Streams finds sessions past their retention only in a cache.
    fn keep_sessions_found(&self, window: &mut Option<Window>, kept: &mut Kept) {
        if matches!(window, Some(Window::Session { .. })) {
            kept.every_update = false;
            if !self.cache {
                *window = None;
            }
        }
    }

    /// Whether a table has old values that Moldau has not: an aggregate's first one is what it
    /// began as in Kafka Streams, unless a cache is before it.
    fn has_odd_old_values(&self) -> bool {
        self.steps.iter().any(|step| match &step.op {
            Op::Aggregate { kind, kept, .. } => {
                *kind != Fold::Reduce && (kept.every_update || !self.cache)
            }
            Op::Cogroup { kept, .. } => kept.every_update || !self.cache,
            _ => false,
        })
    }

    fn suppresses(&self) -> bool {
        self.steps.iter().any(|step| {
            let op = &step.op;
            matches!(op, Op::Suppress { .. } | Op::WindowedSuppress { .. })
        })
    }

    fn cogroup(&mut self, id: u32) {
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

    fn on_grouped(&mut self, id: u32) {
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

    fn on_table(&mut self, id: u32) {
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

    fn table_group(&mut self, id: u32) {
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

    fn branch(&mut self, id: u32) {
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

    fn on_windowed(&mut self, id: u32) {
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

    fn groups_a_table(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(step.op, Op::TableGroup { .. }))
    }

    fn has_every_update(&self) -> bool {
        self.steps.iter().any(|step| match &step.op {
            Op::Aggregate { kept, .. } => kept.every_update,
            _ => false,
        })
    }

    fn end(&mut self, id: u32, kind: Kind) {
        let topic = self.output();
        match kind {
            Kind::Stream => self.add(&[id], Op::To { topic }, None),
            Kind::Table => self.add_unnamed(&[id], Op::TableTo { topic }, None),
            Kind::Windowed => self.add_unnamed(&[id], Op::WindowedTo { topic }, None),
            Kind::Grouped | Kind::Global => {}
        }
    }

    fn add(&mut self, inputs: &[u32], op: Op, makes: Option<Kind>) {
        self.add_unnamed(inputs, op, makes);
        let is_named = self.random.one_in(5);
        let Some(step) = self.steps.last_mut() else {
            return;
        };
        // The name of a source and that of a step of two operators are not the same thing.
        let can_be_named = !matches!(
            step.op,
            Op::Stream { .. } | Op::Table { .. } | Op::GlobalTable { .. } | Op::ToStream
        );
        if is_named && can_be_named {
            step.name = Some(format!("name-{}", step.id));
        }
    }

    fn add_unnamed(&mut self, inputs: &[u32], op: Op, makes: Option<Kind>) {
        let id = self.id();
        if let Some(kind) = makes {
            self.made.push((id, kind, false));
        }
        for input in inputs {
            for made in self.made.iter_mut().filter(|made| made.0 == *input) {
                made.2 = true;
            }
        }
        self.steps.push(Step {
            id,
            inputs: inputs.to_vec(),
            name: None,
            op,
        });
    }

    fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    fn any(&mut self, kind: Kind) -> Option<u32> {
        let of_kind = self.made.iter().filter(|made| made.1 == kind);
        let ids: Vec<_> = of_kind.map(|made| made.0).collect();
        (!ids.is_empty()).then(|| ids[self.random.below(ids.len())])
    }

    fn kept(&mut self) -> Kept {
        Kept {
            store: self
                .random
                .one_in(3)
                .then(|| format!("store-{}", self.next_id + 1)),
            every_update: self.random.one_in(5),
            no_changelog: self.random.one_in(12),
        }
    }

    /// A topic that nothing else writes to.
    fn output(&mut self) -> String {
        format!("out-{}", self.id())
    }

    fn window(&mut self) -> Window {
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

    fn predicate(&mut self) -> String {
        [
            "value_has:a",
            "value_has:b",
            "key_is:k",
            "has_value",
            "even",
        ][self.random.below(5)]
        .to_owned()
    }

    fn function_of_values(&mut self) -> String {
        ["append:x", "nullify:c", "with_key", "length", "same"][self.random.below(5)].to_owned()
    }

    fn function_of_keys(&mut self) -> String {
        ["first", "last", "suffix:y", "const:z", "same"][self.random.below(5)].to_owned()
    }
}
