//! The operators of one task, one behind the other.

use super::aggregate::AggregateOperator;
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
}

impl Pipeline {
    /// Single rows in, single rows out.
    pub fn stateless(stages: Vec<Stage>) -> Self {
        Self {
            before: stages,
            aggregate: None,
            after: Vec::new(),
        }
    }

    /// With an aggregate whose groups are keyed in `key_format`.
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
            before,
            aggregate: Some(AggregateOperator::new(plan, key_format, having)?),
            after,
        })
    }

    /// Runs one chunk through. What comes out has no empty chunks.
    ///
    /// # Errors
    /// If an expression or the state fails.
    pub fn process(
        &mut self,
        mut chunk: Chunk,
        state: &mut dyn AggregateState,
    ) -> Result<Option<Chunk>, SqlError> {
        for stage in &self.before {
            if chunk.is_empty() {
                return Ok(None);
            }
            chunk = apply(stage, chunk)?;
        }
        let Some(aggregate) = &mut self.aggregate else {
            return Ok((!chunk.is_empty()).then_some(chunk));
        };
        let Some(aggregated) = aggregate.process(&chunk, state)? else {
            return Ok(None);
        };
        let kinds_before = aggregated.current.kinds.clone().unwrap_or_default();
        let mut current = aggregated.current;
        let mut previous = aggregated.previous;
        for stage in &self.after {
            current = apply(stage, current)?;
            previous = match (previous, stage) {
                // Only what passes the filters matters of the previous rows.
                (Some(previous), Stage::Filter(_) | Stage::Project { .. }) => {
                    Some(apply(stage, previous)?)
                }
                (None, _) => None,
            };
        }
        let Some(previous) = previous else {
            return Ok(Some(current));
        };
        let rows = settle_having(&mut current, &previous, &kinds_before);
        let chunk = current.take(&rows)?;
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    /// How many rows were too late for their window, since the last call.
    pub fn take_late(&mut self) -> u64 {
        self.aggregate
            .as_mut()
            .map_or(0, AggregateOperator::take_late)
    }
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
