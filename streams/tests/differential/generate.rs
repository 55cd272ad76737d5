//! Random cases: one seed is all that a case is made from.

use crate::case::{Case, Fold, Input, JoinKind, Kept, Op, Step, Window};

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
    let records = generator.records();
    Case {
        seed,
        cache,
        persistent,
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
        match self.random.below(20) {
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
                        Op::LeftJoinTable
                    } else {
                        Op::JoinTable
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
            _ => self.add(&[id], Op::GroupByKey, Some(Kind::Grouped)),
        }
    }

    fn on_grouped(&mut self, id: u32) {
        let kind = [Fold::Count, Fold::Reduce, Fold::Aggregate][self.random.below(3)];
        let f = match kind {
            Fold::Count => "-",
            // A null out of a cache has another time: see `docs/streams.md`.
            _ if self.cache => "concat",
            Fold::Reduce => ["concat", "last", "max"][self.random.below(3)],
            Fold::Aggregate => ["concat", "clear:b"][self.random.below(2)],
        };
        let window = self.random.one_in(2).then(|| self.window());
        let writes_counts = kind == Fold::Count && self.random.one_in(2);
        let counts_to = writes_counts.then(|| self.output());
        let op = Op::Aggregate {
            kind,
            f: f.to_owned(),
            window,
            counts_to,
            kept: self.kept(),
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
        // Without a cache, an aggregate's first old value is what it began as in Kafka Streams.
        let began = |step: &Step| {
            let Op::Aggregate { kind, kept, .. } = &step.op else {
                return false;
            };
            *kind != Fold::Reduce && (kept.every_update || !self.cache)
        };
        let is_odd = self.steps.iter().any(began);
        match self.random.below(9) {
            0 | 1 | 3..=6 if is_odd => {}
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
            4 | 5 => {
                let kinds = [JoinKind::Inner, JoinKind::Left, JoinKind::Outer];
                let kind = kinds[self.random.below(3)];
                // Not stored: a filter behind asks the two sides for old values only in Kafka Streams.
                let (stored, kept) = (false, Kept::default());
                if let Some(other) = self.any(Kind::Table).filter(|other| *other != id) {
                    self.add(&[id, other], Op::JoinTables { kind, stored, kept }, table);
                }
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
        match self.random.below(4) {
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
            Kind::Grouped => {}
        }
    }

    fn add(&mut self, inputs: &[u32], op: Op, makes: Option<Kind>) {
        self.add_unnamed(inputs, op, makes);
        let is_named = self.random.one_in(5);
        let Some(step) = self.steps.last_mut() else {
            return;
        };
        // The name of a source and that of a step of two operators are not the same thing.
        let can_be_named = !matches!(step.op, Op::Stream { .. } | Op::Table { .. } | Op::ToStream);
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
        Window::Tumbling { size, grace }
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

    /// Records of all topics that are read, in an order that time does not follow.
    fn records(&mut self) -> Vec<Input> {
        let mut topics: Vec<_> = self
            .steps
            .iter()
            .filter_map(|step| match &step.op {
                Op::Stream { topic } | Op::Table { topic, .. } => Some(topic.clone()),
                _ => None,
            })
            .collect();
        topics.sort();
        topics.dedup();
        let mut now = 0;
        let count = 3 + self.random.below(30);
        (0..count).map(|_| self.record(&topics, &mut now)).collect()
    }

    fn record(&mut self, topics: &[String], now: &mut u64) -> Input {
        if self.random.one_in(25) {
            let by = 1 + self.random.below(30) as i64;
            return Input(None, None, None, by, Vec::new());
        }
        *now += self.random.below(5) as u64;
        if self.random.one_in(15) {
            *now += 40;
        }
        let late = if self.random.one_in(3) {
            self.random.below(25) as u64
        } else {
            0
        };
        let topic = topics[self.random.below(topics.len())].clone();
        let key = ["k", "l", "a", "b"][self.random.below(4)].to_owned();
        let key = (!self.random.one_in(12)).then_some(key);
        let letters = 1 + self.random.below(3);
        let value = (0..letters).map(|_| ['a', 'b', 'c', 'd'][self.random.below(4)]);
        let value: String = value.collect();
        let value = (!self.random.one_in(8)).then_some(value);
        let headers = if self.random.one_in(8) {
            vec![("h".to_owned(), letters.to_string())]
        } else {
            Vec::new()
        };
        let timestamp = now.saturating_sub(late) as i64;
        Input(Some(topic), key, value, timestamp, headers)
    }
}

/// SplitMix64: the same seed gives the same numbers in all versions of everything.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as usize % end
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}
