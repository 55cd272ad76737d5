//! The scan itself: one DataFusion partition for each Kafka partition that holds something.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::StreamExt as _;
use hashbrown::HashMap;
use moldau_client::{Client, Record};
use tracing::warn;

use super::bounds::PartitionRange;
use super::fetch::RangeReader;
use crate::catalog::source::Source;
use crate::error::SqlError;
use crate::parser::SourceKind;
use crate::rows::{RecordView, RowReader};

/// Reads pinned ranges of a topic into the wanted columns.
pub(super) struct TopicScanExec {
    client: Client,
    source: Arc<Source>,
    ranges: Vec<PartitionRange>,
    wanted: Vec<usize>,
    window_ms: Option<i64>,
    limit: Option<usize>,
    batch_size: usize,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl TopicScanExec {
    pub(super) fn new(
        client: Client,
        source: Arc<Source>,
        ranges: Vec<PartitionRange>,
        wanted: Vec<usize>,
        window_ms: Option<i64>,
        limit: Option<usize>,
        batch_size: usize,
    ) -> datafusion::error::Result<Self> {
        let full = source.table_schema(window_ms.is_some());
        let schema: Schema = full.project(&wanted)?;
        let schema = Arc::new(schema);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(ranges.len().max(1)),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            client,
            source,
            ranges,
            wanted,
            window_ms,
            limit,
            batch_size: batch_size.max(1),
            schema,
            properties: Arc::new(properties),
        })
    }

    fn scan(&self, range: PartitionRange) -> PartitionScan {
        PartitionScan {
            client: self.client.clone(),
            topic: self.source.topic.clone(),
            range,
            is_table: self.source.kind == SourceKind::Table,
            rows: RowReader::new(&self.source, self.window_ms, &self.wanted),
            batch_size: self.batch_size,
            left: self.limit.unwrap_or(usize::MAX),
        }
    }
}

impl ExecutionPlan for TopicScanExec {
    fn name(&self) -> &'static str {
        "TopicScanExec"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(
            &Arc<dyn PhysicalExpr>,
        ) -> datafusion::error::Result<TreeNodeRecursion>,
    ) -> datafusion::error::Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> datafusion::error::Result<SendableRecordBatchStream> {
        let schema = Arc::clone(&self.schema);
        let Some(range) = self.ranges.get(partition) else {
            let nothing = futures::stream::empty();
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, nothing)));
        };
        let batches = self.scan(*range).into_stream().map(|batch| {
            batch.map_err(|error: SqlError| DataFusionError::External(Box::new(error)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

impl DisplayAs for TopicScanExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        write!(
            f,
            "TopicScanExec: topic={}, columns=[{}], offsets=[",
            self.source.topic,
            columns.join(", ")
        )?;
        for (index, range) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(
                f,
                "{comma}{}: {}..{}",
                range.partition, range.start, range.end
            )?;
        }
        f.write_str("]")?;
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for TopicScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicScanExec")
            .field("topic", &self.source.topic)
            .field("ranges", &self.ranges)
            .finish_non_exhaustive()
    }
}

/// The scan of one partition.
struct PartitionScan {
    client: Client,
    topic: String,
    range: PartitionRange,
    is_table: bool,
    rows: RowReader,
    batch_size: usize,
    left: usize,
}

/// Records that were fetched and not decoded yet.
struct Progress {
    scan: PartitionScan,
    reader: Option<RangeReader>,
    fetched: std::vec::IntoIter<Record>,
}

impl PartitionScan {
    fn into_stream(
        self,
    ) -> impl futures::Stream<Item = Result<RecordBatch, SqlError>> + Send + 'static {
        let progress = Progress {
            scan: self,
            reader: None,
            fetched: Vec::new().into_iter(),
        };
        futures::stream::try_unfold((progress, false), |(mut progress, started)| async move {
            if !started {
                progress.start().await?;
            }
            let batch = progress.next_batch().await?;
            Ok(batch.map(|batch| (batch, (progress, true))))
        })
    }

    /// Keeps the last record of each key; a null value removes the key.
    async fn latest_by_key(&self) -> Result<Vec<Record>, SqlError> {
        let mut reader = RangeReader::new(&self.client, &self.topic, self.range)?;
        let mut latest: HashMap<Bytes, Record> = HashMap::new();
        while let Some(records) = reader.next().await? {
            for record in records {
                let Some(key) = record.key.clone() else {
                    continue;
                };
                if record.value.is_some() {
                    latest.insert(key, record);
                } else {
                    latest.remove(&key);
                }
            }
        }
        let mut records: Vec<Record> = latest.into_values().collect();
        records.sort_unstable_by_key(|record| record.offset);
        Ok(records)
    }
}

impl Progress {
    async fn start(&mut self) -> Result<(), SqlError> {
        if self.scan.is_table {
            self.fetched = self.scan.latest_by_key().await?.into_iter();
        } else {
            let scan = &self.scan;
            self.reader = Some(RangeReader::new(&scan.client, &scan.topic, scan.range)?);
        }
        Ok(())
    }

    async fn next_batch(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        loop {
            if self.scan.left == 0 {
                return Ok(None);
            }
            if self.fetched.len() == 0 {
                let Some(reader) = &mut self.reader else {
                    return Ok(None);
                };
                match reader.next().await? {
                    Some(records) => self.fetched = records.into_iter(),
                    None => return Ok(None),
                }
            }
            let batch = self.decode()?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
    }

    fn decode(&mut self) -> Result<RecordBatch, SqlError> {
        let scan = &mut self.scan;
        let partition = scan.range.partition;
        let records: Vec<Record> = self.fetched.by_ref().take(scan.batch_size).collect();
        let views = records.iter().map(|record| RecordView {
            partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.as_ref(),
            value: record.value.as_ref(),
        });
        let (chunk, bad) = scan.rows.read(views)?;
        if bad > 0
            && let Some(last) = scan.rows.take_bad().last()
        {
            let (topic, offset, error) = (&scan.topic, last.offset, &last.error);
            warn!(%topic, partition, offset, bad, %error, "records left out");
        }
        let chunk = chunk.head(scan.left);
        scan.left -= chunk.len();
        Ok(chunk.batch)
    }
}
