//! Operators that came later: some steps become ones of them, drawn from numbers of their own.

use crate::case::{Op, Step, StoreOf};
use crate::input::Random;

/// Makes some steps versioned tables, joins with grace, processors, transformers, sources of
/// several topics and sinks that choose their topic.
pub(super) fn make_newer(seed: u64, steps: &mut [Step]) {
    let mut random = Random(!seed);
    let suppresses = |step: &Step| matches!(step.op, Op::Suppress { .. });
    // Kafka Streams refuses to hold updates of a versioned table back.
    let has_versions = !steps.iter().any(suppresses);
    for step in &mut *steps {
        make_step_newer(&mut random, step, has_versions);
    }
    let versioned: Vec<_> = steps
        .iter()
        .filter(|step| matches!(&step.op, Op::Table { kept, .. } if kept.history.is_some()))
        .map(|step| step.id)
        .collect();
    for step in steps {
        let joins_versions = step.inputs.get(1).is_some_and(|id| versioned.contains(id));
        if let Op::JoinTable { grace } | Op::LeftJoinTable { grace } = &mut step.op
            && joins_versions
            && random.one_in(2)
        {
            *grace = Some(random.below(SHORTEST_HISTORY as usize) as u64);
        }
    }
}

fn make_step_newer(random: &mut Random, step: &mut Step, has_versions: bool) {
    let id = step.id;
    let newer = match &mut step.op {
        Op::Stream { topic, more } if random.one_in(6) => {
            // Topics of its own: Kafka Streams refuses sources that share only some.
            *topic = format!("s{id}-a");
            more.push(format!("s{id}-b"));
            return;
        }
        Op::Table { kept, .. } if has_versions && random.one_in(3) => {
            kept.store = Some(format!("store-{id}"));
            kept.history = Some(SHORTEST_HISTORY + random.below(60) as u64);
            return;
        }
        Op::To { topic } if random.one_in(5) => Op::ToDynamic {
            topic: topic.clone(),
            f: ["value_has:a", "key_is:k", "even"][random.below(3)].to_owned(),
        },
        Op::MapValues { .. } | Op::Peek | Op::FilterNot { .. } if random.one_in(2) => {
            let kinds = [
                StoreOf::KeyValue,
                StoreOf::Window,
                StoreOf::Session,
                StoreOf::Versioned,
            ];
            Op::ProcessValues {
                kind: kinds[random.below(4)],
                store: format!("numbers-{id}"),
            }
        }
        Op::TableMapValues { f, stored, .. } if !*stored && random.one_in(2) => {
            Op::TableTransformValues { f: f.clone() }
        }
        _ => return,
    };
    step.op = newer;
}

/// Milliseconds.
const SHORTEST_HISTORY: u64 = 20;
