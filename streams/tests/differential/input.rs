//! Random records, and what makes them so.

use crate::case::{Input, Op, Step};

/// Records of all topics that are read, in an order that time does not follow.
pub(crate) fn records(random: &mut Random, steps: &[Step]) -> Vec<Input> {
    let mut topics: Vec<_> = steps
        .iter()
        .flat_map(|step| match &step.op {
            Op::Stream { topic, more } => [std::slice::from_ref(topic), more.as_slice()].concat(),
            Op::Table { topic, .. } | Op::GlobalTable { topic, .. } => vec![topic.clone()],
            _ => Vec::new(),
        })
        .collect();
    topics.sort();
    topics.dedup();
    let mut now = 0;
    let count = 3 + random.below(30);
    (0..count)
        .map(|_| record(random, &topics, &mut now))
        .collect()
}

fn record(random: &mut Random, topics: &[String], now: &mut u64) -> Input {
    if random.one_in(25) {
        let by = 1 + random.below(30) as i64;
        return Input(None, None, None, by, Vec::new());
    }
    *now += random.below(5) as u64;
    if random.one_in(15) {
        *now += 40;
    }
    let late = if random.one_in(3) {
        random.below(25) as u64
    } else {
        0
    };
    let topic = topics[random.below(topics.len())].clone();
    let key = ["k", "l", "a", "b"][random.below(4)].to_owned();
    let key = (!random.one_in(12)).then_some(key);
    let letters = 1 + random.below(3);
    let value = (0..letters).map(|_| ['a', 'b', 'c', 'd'][random.below(4)]);
    let value: String = value.collect();
    let value = (!random.one_in(8)).then_some(value);
    let headers = if random.one_in(8) {
        vec![("h".to_owned(), letters.to_string())]
    } else {
        Vec::new()
    };
    let timestamp = now.saturating_sub(late) as i64;
    Input(Some(topic), key, value, timestamp, headers)
}

/// SplitMix64: the same seed gives the same numbers in all versions of everything.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below this one.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as usize % end
    }

    /// Whether it is this one of so many times.
    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}
