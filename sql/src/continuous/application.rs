//! A query as an application of the streams runtime.

use std::sync::Arc;

use moldau_streams::runtime::{
    Application, InternalTopic, ProgramFactory, SourceRole, SourceTopic, SourceTopics, StartAt,
    StoreSpec, StreamsError, SubTopology, TaskProgram,
};

use super::counters::QueryCounters;
use super::layout::{SinkLayout, sink_columns};
use super::program::{Input, Output, QueryProgram};
use super::repartition::{RepartitionReader, RepartitionWriter};
use super::writer::SinkWriter;
use crate::catalog::source::Source;
use crate::error::SqlError;
use crate::operators::Pipeline;
use crate::parser::{SourceKind, TumblingWindow};
use crate::plan::continuous::{AggregatePlan, ContinuousPlan, DEFAULT_GRACE_MS};
use crate::rows::RowReader;

/// A query and where its results go.
#[derive(Debug, Clone)]
pub struct QuerySpec {
    /// Its id, for logs.
    pub query_id: String,
    /// Consumer group, and prefix of its internal topics.
    pub application_id: String,
    /// What to do.
    pub plan: ContinuousPlan,
    /// Where the results go.
    pub sink: Arc<Source>,
    /// How many partitions the sink's topic has.
    pub sink_partitions: i32,
    /// Where to begin without committed offsets.
    pub start_at: StartAt,
}

/// Name of the one store of a query.
const STORE_NAME: &str = "aggregate";
/// Name of the one repartition topic of a query.
const REPARTITION_NAME: &str = "group-by";

/// Builds the application of a query.
///
/// # Errors
/// If the result does not fit the sink.
pub fn application(
    spec: &QuerySpec,
    counters: &Arc<QueryCounters>,
) -> Result<Application, SqlError> {
    let builder = Builder {
        spec: Arc::new(spec.clone()),
        layout: Arc::new(sink_columns(&spec.plan)?),
        counters: Arc::clone(counters),
    };
    let sub_topologies = match &spec.plan.aggregate {
        None => vec![builder.stateless()],
        Some(aggregate)
            if aggregate.is_keyed_by_source
                && spec.plan.source.key_format == spec.sink.key_format =>
        {
            vec![builder.aggregate(aggregate, None)]
        }
        Some(aggregate) => {
            let topic = InternalTopic::repartition(&spec.application_id, REPARTITION_NAME);
            let name = topic.name.clone();
            vec![
                builder.repartition(topic),
                builder.aggregate(aggregate, Some(&name)),
            ]
        }
    };
    // Everything that can fail in a factory fails here first.
    for sub_topology in &sub_topologies {
        (sub_topology.program)(moldau_streams::runtime::TaskId {
            sub_topology: 0,
            partition: 0,
        })
        .map_err(|error| SqlError::invalid(error.to_string()))?;
    }
    Ok(Application {
        application_id: spec.application_id.clone(),
        sub_topologies,
        global_tables: Vec::new(),
    })
}

struct Builder {
    spec: Arc<QuerySpec>,
    layout: Arc<SinkLayout>,
    counters: Arc<QueryCounters>,
}

impl Builder {
    fn source(&self) -> SourceTopic {
        let source = &self.spec.plan.source;
        let topic = match source.kind {
            SourceKind::Stream => SourceTopic::stream(&source.topic),
            SourceKind::Table => SourceTopic::table(&source.topic),
        };
        topic.start_at(self.spec.start_at)
    }

    fn stateless(&self) -> SubTopology {
        let program = self.program(|spec, layout| {
            Ok(Parts {
                input: source_input(&spec.plan),
                pipeline: Pipeline::stateless(spec.plan.before.clone()),
                output: sink_output(spec, layout),
            })
        });
        sub_topology(self.source(), program)
    }

    fn repartition(&self, topic: InternalTopic) -> SubTopology {
        let name = topic.name.clone();
        let program = self.program(move |spec, _| {
            let aggregate = aggregate_of(&spec.plan)?;
            let mut stages = spec.plan.before.clone();
            stages.push(aggregate.inputs.clone());
            Ok(Parts {
                input: source_input(&spec.plan),
                pipeline: Pipeline::stateless(stages),
                output: Output::Repartition(RepartitionWriter::new(
                    &name,
                    aggregate,
                    &spec.sink.key_format,
                )?),
            })
        });
        SubTopology {
            repartition_topics: vec![topic],
            ..sub_topology(self.source(), program)
        }
    }

    fn aggregate(&self, aggregate: &AggregatePlan, repartition: Option<&str>) -> SubTopology {
        let source = match repartition {
            None => self.source(),
            Some(topic) => SourceTopic {
                topics: SourceTopics::Named(topic.to_owned()),
                start_at: StartAt::Earliest,
                role: SourceRole::Repartition,
            },
        };
        let repartitioned = repartition.is_some();
        let program = self.program(move |spec, layout| {
            let aggregate = aggregate_of(&spec.plan)?;
            let key_format = &spec.sink.key_format;
            let mut before = Vec::new();
            let input = if repartitioned {
                Input::Repartition(RepartitionReader::new(aggregate, key_format)?)
            } else {
                before.clone_from(&spec.plan.before);
                before.push(aggregate.inputs.clone());
                source_input(&spec.plan)
            };
            let after = spec.plan.after.clone();
            Ok(Parts {
                input,
                pipeline: Pipeline::aggregated(before, aggregate.clone(), key_format, after)?,
                output: sink_output(spec, layout),
            })
        });
        let id = &self.spec.application_id;
        let store = match &aggregate.window {
            None => StoreSpec::key_value(id, STORE_NAME),
            Some(window) => StoreSpec::window(id, STORE_NAME, retention_ms(window)),
        };
        SubTopology {
            stores: vec![store],
            ..sub_topology(source, program)
        }
    }

    fn program(
        &self,
        parts: impl Fn(&QuerySpec, &SinkLayout) -> Result<Parts, SqlError> + Send + Sync + 'static,
    ) -> ProgramFactory {
        let spec = Arc::clone(&self.spec);
        let layout = Arc::clone(&self.layout);
        let counters = Arc::clone(&self.counters);
        Arc::new(move |_task| {
            let parts =
                parts(&spec, &layout).map_err(|error| StreamsError::Topology(error.to_string()))?;
            let window = spec.plan.aggregate.as_ref().and_then(|plan| plan.window);
            let program = QueryProgram {
                query_id: Arc::from(spec.query_id.as_str()),
                topic: Arc::from(spec.plan.source.topic.as_str()),
                input: parts.input,
                pipeline: parts.pipeline,
                output: parts.output,
                windowed: window.is_some(),
                counters: Arc::clone(&counters),
            };
            Ok(Box::new(program) as Box<dyn TaskProgram>)
        })
    }
}

struct Parts {
    input: Input,
    pipeline: Pipeline,
    output: Output,
}

fn source_input(plan: &ContinuousPlan) -> Input {
    let window = plan.aggregate.as_ref().and_then(|plan| plan.window);
    let reader = RowReader::new(
        &plan.source,
        window.map(|window| window.size_ms),
        &plan.wanted,
    );
    Input::Source(reader.keeping_keys())
}

fn sink_output(spec: &QuerySpec, layout: &SinkLayout) -> Output {
    Output::Sink(SinkWriter::new(
        &spec.plan,
        layout,
        &spec.sink,
        spec.sink_partitions,
    ))
}

fn aggregate_of(plan: &ContinuousPlan) -> Result<&AggregatePlan, SqlError> {
    plan.aggregate
        .as_ref()
        .ok_or_else(|| SqlError::internal("the query has no aggregate"))
}

/// How long a window is kept after its start: at least as long as it takes rows.
fn retention_ms(window: &TumblingWindow) -> i64 {
    let grace = window.grace_ms.unwrap_or(DEFAULT_GRACE_MS);
    let needed = window.size_ms.saturating_add(grace);
    needed.max(window.retention_ms.unwrap_or(0))
}

fn sub_topology(source: SourceTopic, program: ProgramFactory) -> SubTopology {
    SubTopology {
        sources: vec![source],
        copartitioned: Vec::new(),
        repartition_topics: Vec::new(),
        stores: Vec::new(),
        program,
    }
}
