//! The operators of one task, one behind the other.

use super::aggregate::{AggregateOperator, Aggregated};
use super::stage::apply;
use super::state::AggregateState;
use crate::error::SqlError;
use crate::formats::Format;
use crate::plan::continuous::{AggregatePlan, Stage};
use crate::rows::{Chunk, RowKind};

/// From the rows that a task reads to the rows that it writes.
#[derive(Debug)]
pub struct Pipeline {
    before: Vec<Stage>,
    aggregate: Option<AggregateOperator>,
    after: Vec<Stage>,
    failed: u64,
    last_failure: Option<SqlError>,
}

impl Pipeline {
    /// Single rows in, single rows out.
    pub fn stateless(stages: Vec<Stage>) -> Self {
        Self {
            before: stages,
            aggregate: None,
            after: Vec::new(),
            failed: 0,
            last_failure: None,
        }
    }

    /// With an aggregate whose groups are keyed in `key_format`. The last stage of `before`
    /// computes the inputs of the aggregate, unless they are what is read.
    ///
    /// # Errors
    /// If the aggregate cannot be built.
    pub fn aggregated(
        before: Vec<Stage>,
        plan: AggregatePlan,
        key_format: &Format,
        after: Vec<Stage>,
    ) -> Result<Self, SqlError> {
        let having = after.iter().any(|stage| matches!(stage, Stage::Filter(_)));
        Ok(Self {
            aggregate: Some(AggregateOperator::new(plan, key_format, having)?),
            after,
            ..Self::stateless(before)
        })
    }

    /// Runs one chunk through. What comes out has no empty chunks.
    ///
    /// Rows on which an expression fails are left out and counted.
    ///
    /// # Errors
    /// If the aggregate or its state fails.
    pub fn process(
        &mut self,
        chunk: Chunk,
        state: &mut dyn AggregateState,
    ) -> Result<Vec<Chunk>, SqlError> {
        let mut chunks = Vec::new();
        self.run_stages(Part::Before, chunk, &mut chunks);
        let Some(aggregate) = &mut self.aggregate else {
            return Ok(chunks);
        };
        let mut results = Vec::new();
        for chunk in chunks {
            results.extend(aggregate.process(&chunk, state)?);
        }
        let mut out = Vec::new();
        for Aggregated { current, previous } in results {
            match previous {
                None => self.run_stages(Part::After, current, &mut out),
                Some(previous) => out.extend(self.run_having(current, previous)?),
            }
        }
        Ok(out)
    }

    /// How many rows were too late for their window, since the last call.
    pub fn take_late(&mut self) -> u64 {
        self.aggregate
            .as_mut()
            .map_or(0, AggregateOperator::take_late)
    }

    /// How many rows failed since the last call, and why the last of them did.
    pub fn take_failed(&mut self) -> (u64, Option<SqlError>) {
        (std::mem::take(&mut self.failed), self.last_failure.take())
    }

    /// An expression that fails on one row fails on the whole batch, so the batch is halved until
    /// the bad rows stand alone.
    fn run_stages(&mut self, part: Part, chunk: Chunk, out: &mut Vec<Chunk>) {
        if chunk.is_empty() {
            return;
        }
        let stages = match part {
            Part::Before => &self.before,
            Part::After => &self.after,
        };
        let result = stages.iter().try_fold(chunk.clone(), |chunk, stage| {
            if chunk.is_empty() {
                Ok(chunk)
            } else {
                apply(stage, chunk)
            }
        });
        match result {
            Ok(done) if done.is_empty() => {}
            Ok(done) => out.push(done),
            Err(error) if chunk.len() == 1 => {
                self.failed += 1;
                self.last_failure = Some(error);
            }
            Err(_) => {
                let middle = chunk.len() / 2;
                let (left, right) = chunk.split_at(middle);
                self.run_stages(part, left, out);
                self.run_stages(part, right, out);
            }
        }
    }

    fn run_having(
        &self,
        mut current: Chunk,
        mut previous: Chunk,
    ) -> Result<Option<Chunk>, SqlError> {
        let kinds_before = current.kinds.clone().unwrap_or_default();
        for stage in &self.after {
            current = apply(stage, current)?;
            previous = apply(stage, previous)?;
        }
        let rows = settle_having(&mut current, &previous, &kinds_before);
        let chunk = current.take(&rows)?;
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Before,
    After,
}

/// Compares each group with what it was: one that passes for the first time is inserted, one that
/// no longer passes is deleted, one that never passed is not shown. Gives the rows to show.
fn settle_having(current: &mut Chunk, previous: &Chunk, before: &[RowKind]) -> Vec<usize> {
    let mut rows = Vec::with_capacity(current.len());
    for row in 0..current.len() {
        let passed =
            before.get(row) != Some(&RowKind::Insert) && previous.kind(row) != RowKind::Delete;
        let passes = current.kind(row) != RowKind::Delete;
        if let Some(kind) = current.kinds.as_mut().and_then(|kinds| kinds.get_mut(row)) {
            match (passed, passes) {
                (false, true) => *kind = RowKind::Insert,
                (true, true) => *kind = RowKind::UpdateAfter,
                (true, false) => *kind = RowKind::Delete,
                (false, false) => continue,
            }
        }
        rows.push(row);
    }
    rows
}
