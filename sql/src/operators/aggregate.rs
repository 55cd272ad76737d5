//! Keyed aggregate, with or without a tumbling window.
//!
//! A chunk is folded at once: rows get the number of their group, the states of the touched groups
//! are loaded and merged into DataFusion's vectorised accumulators, the rows are added, and each
//! touched group is stored and emitted once. So the work per group and not per row is what the
//! store sees, and a chunk of one row gives every single change.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute;
use arrow::datatypes::{DataType, TimeUnit};
use bytes::Bytes;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use hashbrown::HashMap;

use super::stage::{as_type, evaluate_predicate};
use super::state::AggregateState;
use crate::catalog::source::Pseudo;
use crate::error::SqlError;
use crate::formats::{ColumnBuilder, Datum, Encoder, Format, Place};
use crate::plan::continuous::{AggregateCall, AggregateOutput, AggregatePlan, DEFAULT_GRACE_MS};
use crate::rows::{Chunk, RowCodec, RowKind};

/// Aggregates the rows of one task.
#[derive(Debug)]
pub struct AggregateOperator {
    plan: AggregatePlan,
    key_encoder: Encoder,
    codec: RowCodec,
    /// The latest event time this operator has seen; late rows are judged by it.
    stream_time: i64,
    late: u64,
    /// Emits what each group was before, so that `HAVING` can tell what is gone.
    with_previous: bool,
}

/// The result of one chunk.
#[derive(Debug)]
pub struct Aggregated {
    /// The touched groups as they are now.
    pub current: Chunk,
    /// The same groups as they were; rows of new groups are meaningless. Only if asked for.
    pub previous: Option<Chunk>,
}

/// The groups that one chunk touches.
struct Groups {
    /// For each accepted row its group.
    of_row: Vec<usize>,
    /// The accepted rows.
    rows: Vec<usize>,
    /// For each group: key bytes, window, first row, latest event time.
    found: Vec<Group>,
}

struct Group {
    key: Bytes,
    window: Option<i64>,
    first_row: usize,
    timestamp: i64,
    is_new: bool,
}

type Accumulators = Vec<Box<dyn GroupsAccumulator>>;

impl AggregateOperator {
    /// An operator whose groups are keyed in `key_format`.
    ///
    /// # Errors
    /// If the state of a function cannot be stored.
    pub fn new(
        plan: AggregatePlan,
        key_format: &Format,
        with_previous: bool,
    ) -> Result<Self, SqlError> {
        let types = plan.calls.iter().flat_map(|call| call.state.clone());
        Ok(Self {
            key_encoder: key_format.encoder(&plan.group_columns, Place::Key),
            codec: RowCodec::new(types.collect())?,
            plan,
            stream_time: i64::MIN,
            late: 0,
            with_previous,
        })
    }

    /// How many rows came after their window had closed, since the last call.
    pub fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }

    /// Adds rows with the columns of the plan's inputs.
    ///
    /// Rows whose group has a null are left out, as in ksqlDB.
    ///
    /// # Errors
    /// If a function or the state fails.
    pub fn process(
        &mut self,
        chunk: &Chunk,
        state: &mut dyn AggregateState,
    ) -> Result<Option<Aggregated>, SqlError> {
        let mut groups = self.group(chunk)?;
        if groups.rows.is_empty() {
            return Ok(None);
        }
        let (stored, stored_groups) = self.load(&mut groups, state)?;
        let mut accumulators = self.accumulators()?;
        self.merge(
            &mut accumulators,
            &stored,
            &stored_groups,
            groups.found.len(),
        )?;
        self.update(&mut accumulators, chunk, &groups)?;
        let states = self.states(&mut accumulators)?;
        self.save(&groups, &states, state)?;
        let everyone: Vec<usize> = (0..groups.found.len()).collect();
        let results = self.evaluate(&states, &everyone, groups.found.len())?;
        let previous = if self.with_previous {
            let results = self.evaluate(&stored, &stored_groups, groups.found.len())?;
            Some(self.emit(chunk, &groups, results)?)
        } else {
            None
        };
        let current = self.emit(chunk, &groups, results)?;
        Ok(Some(Aggregated { current, previous }))
    }

    fn group(&mut self, chunk: &Chunk) -> Result<Groups, SqlError> {
        let columns = &chunk.batch.columns()[..self.plan.group_columns.len()];
        let encoder = self.key_encoder.bind(columns)?;
        let mut groups = Groups {
            of_row: Vec::with_capacity(chunk.len()),
            rows: Vec::with_capacity(chunk.len()),
            found: Vec::new(),
        };
        // By key and start of the window in one row of bytes, so that only new groups allocate.
        let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut key = Vec::new();
        for row in 0..chunk.len() {
            let rowtime = chunk.rowtimes[row];
            self.stream_time = self.stream_time.max(rowtime);
            if columns.iter().any(|column| column.is_null(row)) {
                continue;
            }
            let Some(window) = self.window_of(rowtime) else {
                self.late += 1;
                continue;
            };
            key.clear();
            if !encoder.write(row, &mut key) {
                continue;
            }
            let base = key.len();
            key.extend_from_slice(&window.unwrap_or(0).to_be_bytes());
            let group = match known.get(key.as_slice()) {
                Some(group) => *group,
                None => {
                    let group = groups.found.len();
                    groups.found.push(Group {
                        key: Bytes::copy_from_slice(&key[..base]),
                        window,
                        first_row: row,
                        timestamp: i64::MIN,
                        is_new: true,
                    });
                    known.insert(key.clone(), group);
                    group
                }
            };
            let found = &mut groups.found[group];
            found.timestamp = found.timestamp.max(rowtime);
            groups.of_row.push(group);
            groups.rows.push(row);
        }
        Ok(groups)
    }

    /// The window of a row; `None` if it has closed. Outer `Some(None)`: there are no windows.
    #[expect(
        clippy::option_option,
        reason = "late, unwindowed and windowed are three cases"
    )]
    fn window_of(&self, rowtime: i64) -> Option<Option<i64>> {
        let Some(window) = &self.plan.window else {
            return Some(None);
        };
        let start = rowtime - rowtime.rem_euclid(window.size_ms);
        let grace = window.grace_ms.unwrap_or(DEFAULT_GRACE_MS);
        let end = start.saturating_add(window.size_ms);
        let closed_before = self.stream_time.saturating_sub(grace);
        (end > closed_before).then_some(Some(start))
    }

    /// The stored states as columns, with the groups they belong to.
    fn load(
        &self,
        groups: &mut Groups,
        state: &mut dyn AggregateState,
    ) -> Result<(Vec<ArrayRef>, Vec<usize>), SqlError> {
        let types = self.codec.types();
        let mut builders: Vec<ColumnBuilder> = types
            .iter()
            .map(|t| ColumnBuilder::new(t, groups.found.len()))
            .collect();
        let mut stored_groups = Vec::new();
        for (index, group) in groups.found.iter_mut().enumerate() {
            let Some(stored) = state.load(&group.key, group.window)? else {
                continue;
            };
            let mut slots = vec![Datum::Null; types.len()];
            self.codec
                .decode(&stored.value, &mut slots)
                .map_err(|error| SqlError::internal(format!("state of a group: {error}")))?;
            for (builder, slot) in builders.iter_mut().zip(slots) {
                builder.append(slot);
            }
            group.timestamp = group.timestamp.max(stored.timestamp);
            group.is_new = false;
            stored_groups.push(index);
        }
        let arrays = builders.iter_mut().map(ColumnBuilder::finish).collect();
        Ok((arrays, stored_groups))
    }

    fn accumulators(&self) -> Result<Accumulators, SqlError> {
        let create = |call: &AggregateCall| Ok(call.function.create_groups_accumulator()?);
        self.plan.calls.iter().map(create).collect()
    }

    fn merge(
        &self,
        accumulators: &mut Accumulators,
        states: &[ArrayRef],
        group_of: &[usize],
        total: usize,
    ) -> Result<(), SqlError> {
        if group_of.is_empty() {
            return Ok(());
        }
        let mut rest = states;
        for (call, accumulator) in self.plan.calls.iter().zip(accumulators) {
            let (own, others) = rest.split_at(call.state.len());
            rest = others;
            let fields = call.function.state_fields()?;
            let arrays = own
                .iter()
                .zip(fields)
                .map(|(array, field)| as_type(Arc::clone(array), field.data_type()))
                .collect::<Result<Vec<_>, _>>()?;
            accumulator.merge_batch(&arrays, group_of, total)?;
        }
        Ok(())
    }

    fn update(
        &self,
        accumulators: &mut Accumulators,
        chunk: &Chunk,
        groups: &Groups,
    ) -> Result<(), SqlError> {
        let all = groups.rows.len() == chunk.len();
        let batch = if all {
            chunk.batch.clone()
        } else {
            let rows: UInt64Array = groups.rows.iter().map(|row| *row as u64).collect();
            compute::take_record_batch(&chunk.batch, &rows)?
        };
        for (call, accumulator) in self.plan.calls.iter().zip(accumulators) {
            let arguments = call
                .function
                .expressions()
                .iter()
                .map(|argument| Ok(argument.evaluate(&batch)?.into_array(batch.num_rows())?))
                .collect::<Result<Vec<_>, SqlError>>()?;
            let filter: Option<BooleanArray> = match &call.filter {
                Some(filter) => Some(evaluate_predicate(filter.as_ref(), &batch)?),
                None => None,
            };
            accumulator.update_batch(
                &arguments,
                &groups.of_row,
                filter.as_ref(),
                groups.found.len(),
            )?;
        }
        Ok(())
    }

    /// Takes the states out of the accumulators, as they are stored.
    fn states(&self, accumulators: &mut Accumulators) -> Result<Vec<ArrayRef>, SqlError> {
        let mut states = Vec::with_capacity(self.codec.types().len());
        for (call, accumulator) in self.plan.calls.iter().zip(accumulators) {
            let arrays = accumulator.state(EmitTo::All)?;
            for (array, sql_type) in arrays.into_iter().zip(&call.state) {
                states.push(as_type(array, &sql_type.to_arrow())?);
            }
        }
        Ok(states)
    }

    fn save(
        &self,
        groups: &Groups,
        states: &[ArrayRef],
        state: &mut dyn AggregateState,
    ) -> Result<(), SqlError> {
        let cells = self.codec.bind(states)?;
        let mut bytes = Vec::new();
        for (index, group) in groups.found.iter().enumerate() {
            bytes.clear();
            RowCodec::encode(&cells, index, &mut bytes);
            state.save(&group.key, group.window, &bytes, group.timestamp)?;
        }
        Ok(())
    }

    /// The results of states; groups without one get what an empty group has.
    fn evaluate(
        &self,
        states: &[ArrayRef],
        group_of: &[usize],
        total: usize,
    ) -> Result<Vec<ArrayRef>, SqlError> {
        let mut accumulators = self.accumulators()?;
        self.merge(&mut accumulators, states, group_of, total)?;
        accumulators
            .iter_mut()
            .zip(&self.plan.calls)
            .map(|(accumulator, call)| {
                let array = accumulator.evaluate(EmitTo::All)?;
                if array.len() == total {
                    return Ok(array);
                }
                // Nothing was merged: no group has a result.
                Ok(arrow::array::new_null_array(
                    call.function.field().data_type(),
                    total,
                ))
            })
            .collect()
    }

    fn emit(
        &self,
        chunk: &Chunk,
        groups: &Groups,
        results: Vec<ArrayRef>,
    ) -> Result<Chunk, SqlError> {
        let first_rows: UInt64Array = groups
            .found
            .iter()
            .map(|group| group.first_row as u64)
            .collect();
        let columns = self
            .plan
            .layout
            .iter()
            .zip(self.plan.schema.fields())
            .map(|(output, field)| {
                let array = match output {
                    AggregateOutput::Group(index) => {
                        compute::take(chunk.batch.column(*index), &first_rows, None)?
                    }
                    AggregateOutput::Window(pseudo) => self.window_bound(*pseudo, groups)?,
                    AggregateOutput::Call(index) => Arc::clone(&results[*index]),
                };
                as_type(array, field.data_type())
            })
            .collect::<Result<Vec<_>, SqlError>>()?;
        let kind = |group: &Group| {
            if group.is_new {
                RowKind::Insert
            } else {
                RowKind::UpdateAfter
            }
        };
        let nullable = self
            .plan
            .schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(arrow::datatypes::Schema::new(nullable.collect::<Vec<_>>()));
        Ok(Chunk {
            batch: RecordBatch::try_new(schema, columns)?,
            rowtimes: groups.found.iter().map(|group| group.timestamp).collect(),
            kinds: Some(groups.found.iter().map(kind).collect()),
            keys: groups
                .found
                .iter()
                .map(|group| Some(output_key(group)))
                .collect(),
        })
    }

    fn window_bound(&self, pseudo: Pseudo, groups: &Groups) -> Result<ArrayRef, SqlError> {
        let size = self.plan.window.map_or(0, |window| window.size_ms);
        let is_end = matches!(pseudo, Pseudo::WindowEnd | Pseudo::WindowEndTime);
        let bounds: Int64Array = groups
            .found
            .iter()
            .map(|group| {
                let start = group.window.unwrap_or(0);
                if is_end {
                    start.saturating_add(size)
                } else {
                    start
                }
            })
            .collect();
        match pseudo.data_type() {
            DataType::Int64 => Ok(Arc::new(bounds)),
            _ => Ok(compute::cast(
                &bounds,
                &DataType::Timestamp(TimeUnit::Millisecond, None),
            )?),
        }
    }
}

/// The key of the result: that of the group, and the start of its window as Kafka Streams has it.
fn output_key(group: &Group) -> Bytes {
    match group.window {
        None => group.key.clone(),
        Some(start) => [group.key.as_ref(), &start.to_be_bytes()].concat().into(),
    }
}
