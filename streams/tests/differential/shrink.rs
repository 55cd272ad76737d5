//! Makes a case smaller for as long as the answers differ.

use std::collections::BTreeSet;

use crate::case::{Case, Op};

/// The smallest case found for which `differs` is true, as it is for `case`.
pub(crate) fn shrink(case: &Case, mut differs: impl FnMut(&Case) -> bool) -> Case {
    let mut smallest = case.clone();
    let mut tries_left = MOST_TRIES;
    loop {
        let Some(smaller) = candidates(&smallest).into_iter().find(|candidate| {
            tries_left -= 1;
            tries_left > 0 && differs(candidate)
        }) else {
            return smallest;
        };
        smallest = smaller;
    }
}

/// Cases with something left out: much of it first.
fn candidates(case: &Case) -> Vec<Case> {
    let mut candidates = Vec::new();
    let count = case.records.len();
    let mut chunk = count / 2;
    while chunk > 0 {
        for from in (0..count).step_by(chunk) {
            let mut smaller = case.clone();
            smaller.records.drain(from..count.min(from + chunk));
            candidates.push(smaller);
        }
        chunk /= 2;
    }
    for step in &case.steps {
        candidates.push(without(case, step.id));
        if step.name.is_some() {
            let mut smaller = case.clone();
            for same in smaller.steps.iter_mut().filter(|same| same.id == step.id) {
                same.name = None;
            }
            candidates.push(smaller);
        }
        // A step in the middle goes if what hangs on it can hang on its input.
        if let Some(input) = step.inputs.first() {
            let mut smaller = case.clone();
            smaller.steps.retain(|other| other.id != step.id);
            for other in smaller.steps.iter_mut().flat_map(|other| &mut other.inputs) {
                if *other == step.id {
                    *other = *input;
                }
            }
            candidates.push(smaller);
        }
    }
    for candidate in &mut candidates {
        forget_unread(candidate);
    }
    candidates.retain(|candidate| candidate != case && !candidate.steps.is_empty());
    candidates.retain(joins_its_global_tables);
    candidates
}

/// The case without a step and all that hangs on it.
fn without(case: &Case, id: u32) -> Case {
    let mut gone = BTreeSet::from([id]);
    let mut smaller = case.clone();
    smaller.steps.retain(|step| {
        let goes = gone.contains(&step.id) || step.inputs.iter().any(|input| gone.contains(input));
        if goes {
            gone.insert(step.id);
            if let Op::Branch { outputs, .. } = &step.op {
                gone.extend(outputs);
            }
        }
        !goes
    });
    smaller
}

/// Kafka Streams has global tables that nothing joins, Moldau has none.
fn joins_its_global_tables(case: &Case) -> bool {
    case.steps.iter().all(|table| {
        let mut inputs = case.steps.iter().flat_map(|step| &step.inputs);
        !matches!(table.op, Op::GlobalTable { .. }) || inputs.any(|input| *input == table.id)
    })
}

/// Leaves out the records of topics that no step reads any more.
fn forget_unread(case: &mut Case) {
    let read = case.clone();
    let is_read = |topic: &String| read.reads(topic);
    let records = &mut case.records;
    records.retain(|record| record.0.as_ref().is_none_or(is_read));
}

const MOST_TRIES: i32 = 2_000;
