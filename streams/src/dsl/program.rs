//! The program of one task of a DSL topology.

use super::node::{Built, Cx, NodeId, ProgramState, SourceNode};
use super::processor::Punctuation;
use crate::runtime::{PunctuationId, Record, SourceIndex, StreamsError, TaskContext, TaskProgram};

/// The program of one task: its sources, which own all other nodes, and what the nodes share.
pub(crate) struct DslProgram {
    sources: Vec<Box<dyn SourceNode>>,
    /// Which source takes the records of each of the runtime's sources.
    inputs: Vec<usize>,
    /// The nodes that hold something back until a commit, in the order of their turns.
    flush_order: Vec<NodeId>,
    state: ProgramState,
}

impl DslProgram {
    pub(crate) fn new(
        sources: Vec<Box<dyn SourceNode>>,
        inputs: Vec<usize>,
        flush_order: Vec<NodeId>,
        state: ProgramState,
    ) -> Self {
        Self {
            sources,
            inputs,
            flush_order,
            state,
        }
    }
}

impl DslProgram {
    /// Lends a junction out for a call.
    fn with_junction(
        &mut self,
        slot: usize,
        task: &mut TaskContext<'_>,
        call: impl FnOnce(&mut dyn Built, &mut Cx<'_, '_>) -> Result<(), StreamsError>,
    ) -> Result<(), StreamsError> {
        let Some(mut lent) = self.state.junctions.get_mut(slot).and_then(Option::take) else {
            return Ok(());
        };
        let mut cx = Cx {
            task,
            state: &mut self.state,
        };
        let result = call(lent.as_mut(), &mut cx);
        self.state.junctions[slot] = Some(lent);
        result
    }
}

impl TaskProgram for DslProgram {
    fn process(
        &mut self,
        source: SourceIndex,
        records: &[Record],
        task: &mut TaskContext<'_>,
    ) -> Result<(), StreamsError> {
        self.state.origin_topic = task.source_topic().clone();
        let node = &mut self.sources[self.inputs[source.0]];
        let mut cx = Cx {
            task,
            state: &mut self.state,
        };
        for record in records {
            cx.task.advance_stream_time(record.timestamp);
            cx.state.origin_offset = record.offset;
            node.process(&mut cx, record)?;
        }
        Ok(())
    }

    fn init(&mut self, task: &mut TaskContext<'_>) -> Result<(), StreamsError> {
        for slot in 0..self.state.junctions.len() {
            self.with_junction(slot, task, |node, cx| node.init(cx))?;
        }
        Ok(())
    }

    fn punctuate(
        &mut self,
        id: PunctuationId,
        timestamp: i64,
        task: &mut TaskContext<'_>,
    ) -> Result<(), StreamsError> {
        let node = self.state.punctuations.get(&id);
        let Some(slot) = node.and_then(|node| self.state.slots.get(node)) else {
            return Ok(());
        };
        let punctuation = Punctuation { id, timestamp };
        self.with_junction(*slot, task, |node, cx| node.punctuate(cx, punctuation))
    }

    fn flush(&mut self, task: &mut TaskContext<'_>) -> Result<(), StreamsError> {
        let mut cx = Cx {
            task,
            state: &mut self.state,
        };
        for node in &self.flush_order {
            cx.state.flushing = *node;
            for source in &mut self.sources {
                source.flush(&mut cx)?;
            }
            for slot in 0..cx.state.junctions.len() {
                let Some(mut lent) = cx.state.junctions[slot].take() else {
                    continue;
                };
                let result = lent.flush(&mut cx);
                cx.state.junctions[slot] = Some(lent);
                result?;
            }
        }
        Ok(())
    }

    fn tick(&mut self, wall_clock_ms: i64, task: &mut TaskContext<'_>) -> Result<(), StreamsError> {
        if wall_clock_ms >= self.state.wake_at {
            self.state.wake_at = i64::MAX;
            task.request_commit();
        }
        Ok(())
    }

    fn current_operator(&self) -> Option<String> {
        Some(self.state.operator_name())
    }
}
