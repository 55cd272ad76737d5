//! Random cases: one seed is all that a case is made from.

mod groups;
mod newer;
mod streams;
mod tables;

use crate::case::{Case, Kept, Op, Step, Window};
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
    newer::make_newer(seed, &mut generator.steps);
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
            self.add(
                &[],
                Op::Stream {
                    topic,
                    more: Vec::new(),
                },
                Some(Kind::Stream),
            );
        }
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
            history: None,
        }
    }

    /// A topic that nothing else writes to.
    fn output(&mut self) -> String {
        format!("out-{}", self.id())
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
