//! What a task runs.

use std::sync::Arc;

use super::context::TaskContext;
use super::error::StreamsError;
use super::punctuation::PunctuationId;
use super::record::Record;
use super::task_id::{SourceIndex, TaskId};

/// Makes the program of one task. Shared by all threads; called again after each (re)assignment.
pub type ProgramFactory =
    Arc<dyn Fn(TaskId) -> Result<Box<dyn TaskProgram>, StreamsError> + Send + Sync>;

/// The work of one task. Only one thread calls it at a time, and it never waits for the network.
///
/// An error from any method fails the application, unless the program handles it itself (skip,
/// dead-letter topic). A panic is caught and reported with [`TaskProgram::current_operator`].
pub trait TaskProgram: Send {
    /// Called once, when all stores are restored and before any record.
    ///
    /// # Errors
    /// The task cannot start.
    fn init(&mut self, task: &mut TaskContext<'_>) -> Result<(), StreamsError> {
        let _ = task;
        Ok(())
    }

    /// A run of records of one source partition, in offset order. The task chooses the run so
    /// that the inputs interleave by timestamp: no other input has an older record waiting.
    ///
    /// [`TaskContext::stream_time`] is that of the records before the run; a program that works
    /// record by record moves it on with [`TaskContext::advance_stream_time`]. After the run
    /// the task has done so for all of it.
    ///
    /// # Errors
    /// A record cannot be processed.
    fn process(
        &mut self,
        source: SourceIndex,
        records: &[Record],
        task: &mut TaskContext<'_>,
    ) -> Result<(), StreamsError>;

    /// Commit boundary: write caches back to the stores and send what is pending. Called before
    /// outputs are flushed and offsets committed, and before a clean close.
    ///
    /// # Errors
    /// Something that is pending cannot be written.
    fn flush(&mut self, task: &mut TaskContext<'_>) -> Result<(), StreamsError>;

    /// Wall clock tick, at most every 100 ms, also when there is no input.
    ///
    /// # Errors
    /// What the tick does cannot be done.
    fn tick(&mut self, wall_clock_ms: i64, task: &mut TaskContext<'_>) -> Result<(), StreamsError> {
        let _ = (wall_clock_ms, task);
        Ok(())
    }

    /// A punctuation that [`TaskContext::schedule`] has asked for is due; `timestamp` is stream
    /// time or the wall clock as it is now, whichever the punctuation follows.
    ///
    /// Stream time is looked at after each run of records, and a run ends with the first record
    /// that makes a punctuation due.
    ///
    /// # Errors
    /// What is due cannot be done.
    fn punctuate(
        &mut self,
        id: PunctuationId,
        timestamp: i64,
        task: &mut TaskContext<'_>,
    ) -> Result<(), StreamsError> {
        let _ = (id, timestamp, task);
        Ok(())
    }

    /// Name of the operator that is at work or was last, to say where a panic happened.
    fn current_operator(&self) -> Option<String> {
        None
    }
}
