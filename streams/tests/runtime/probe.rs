//! A program that does what its test says and writes down what it sees.

use std::sync::Arc;

use bytes::Bytes;
use moldau_streams::KString;
use moldau_streams::runtime::{
    Application, CommitMode, GlobalTable, LocalConfig, LocalDriver, LocalRecord, OutputRecord,
    PunctuationId, PunctuationType, Record, SourceIndex, SourceTopic, StreamsError, SubTopology,
    TaskContext, TaskProgram,
};

/// What the program does with a record, and at its start.
pub(crate) type OnRecord =
    Arc<dyn Fn(&Record, &mut TaskContext<'_>) -> Result<(), StreamsError> + Send + Sync>;

/// What the program schedules at its start.
pub(crate) type Schedules = Vec<(i64, PunctuationType)>;

struct Probe {
    on_record: OnRecord,
    schedules: Schedules,
    scheduled: Vec<PunctuationId>,
}

impl TaskProgram for Probe {
    fn init(&mut self, task: &mut TaskContext<'_>) -> Result<(), StreamsError> {
        for (interval_ms, clock) in &self.schedules {
            self.scheduled.push(task.schedule(*interval_ms, *clock));
        }
        Ok(())
    }

    fn process(
        &mut self,
        _source: SourceIndex,
        records: &[Record],
        task: &mut TaskContext<'_>,
    ) -> Result<(), StreamsError> {
        records
            .iter()
            .try_for_each(|record| (self.on_record)(record, task))
    }

    fn flush(&mut self, _task: &mut TaskContext<'_>) -> Result<(), StreamsError> {
        Ok(())
    }

    fn punctuate(
        &mut self,
        id: PunctuationId,
        timestamp: i64,
        task: &mut TaskContext<'_>,
    ) -> Result<(), StreamsError> {
        let number = self.scheduled.iter().position(|known| *known == id);
        say(task, &format!("punctuation {number:?} at {timestamp}"));
        Ok(())
    }
}

/// Writes a line to the topic `out`.
pub(crate) fn say(task: &mut TaskContext<'_>, line: &str) {
    let value = Some(Bytes::copy_from_slice(line.as_bytes()));
    task.send(OutputRecord::new(
        KString::from_static("out"),
        None,
        value,
        0,
    ));
}

pub(crate) fn driver(
    schedules: &[(i64, PunctuationType)],
    global_tables: Vec<GlobalTable>,
    on_record: OnRecord,
) -> LocalDriver {
    let schedules = schedules.to_vec();
    let application = Application {
        application_id: "app".to_owned(),
        sub_topologies: vec![SubTopology {
            sources: vec![SourceTopic::stream("in")],
            copartitioned: Vec::new(),
            repartition_topics: Vec::new(),
            stores: Vec::new(),
            program: Arc::new(move |_| {
                Ok(Box::new(Probe {
                    on_record: Arc::clone(&on_record),
                    schedules: schedules.clone(),
                    scheduled: Vec::new(),
                }) as Box<dyn TaskProgram>)
            }),
        }],
        global_tables,
    };
    let config = LocalConfig::default().commit(CommitMode::Manual);
    LocalDriver::new(application, config).expect("a driver")
}

pub(crate) fn record(key: &str, value: &str, timestamp: i64) -> LocalRecord {
    let bytes = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
    LocalRecord::new(bytes(key), bytes(value), timestamp)
}

/// The lines that were written since the last call.
pub(crate) fn lines(driver: &mut LocalDriver) -> Vec<String> {
    let records = driver.read("out");
    let line = |value: Option<Bytes>| String::from_utf8(value.unwrap_or_default().to_vec());
    records
        .into_iter()
        .map(|record| line(record.value).expect("text"))
        .collect()
}
