//! A topic as a table of DataFusion.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use moldau_client::Client;
use tokio::sync::Mutex;

use super::bounds::{PartitionRange, pin, skip_before};
use super::exec::TopicScanExec;
use super::filters;
use crate::catalog::source::Source;
use crate::error::SqlError;
use crate::parser::SourceKind;
use crate::plan::tables::TableResolver;

/// A stream, a table or a bare topic with the offsets that were there at planning.
pub struct TopicTable {
    client: Client,
    source: Arc<Source>,
    ranges: Vec<PartitionRange>,
    window_ms: Option<i64>,
    schema: SchemaRef,
}

/// Gives the tables of one statement; each topic is pinned once, so that joining it with itself
/// sees the same records on both sides.
pub struct ScanResolver {
    client: Client,
    window_ms: Option<i64>,
    pinned: Mutex<BTreeMap<String, Option<Vec<PartitionRange>>>>,
}

impl TopicTable {
    /// A table over `ranges` of the source's topic.
    pub fn new(
        client: Client,
        source: Arc<Source>,
        ranges: Vec<PartitionRange>,
        window_ms: Option<i64>,
    ) -> Self {
        Self {
            schema: source.table_schema(window_ms.is_some()),
            client,
            source,
            ranges,
            window_ms,
        }
    }
}

#[async_trait]
impl TableProvider for TopicTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::error::Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| filters::support(&self.source, filter);
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let mut ranges = self.ranges.clone();
        let not_before = filters::apply(&self.source, filters, &mut ranges);
        if let Some(timestamp) = not_before
            && self.source.kind == SourceKind::Stream
        {
            skip_before(&self.client, &self.source.topic, timestamp, &mut ranges)
                .await
                .map_err(|error| DataFusionError::External(Box::new(error)))?;
        }
        ranges.retain(|range| !range.is_empty());
        let wanted = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        Ok(Arc::new(TopicScanExec::new(
            self.client.clone(),
            Arc::clone(&self.source),
            ranges,
            wanted,
            self.window_ms,
            limit.filter(|_| self.source.kind == SourceKind::Stream),
            state.config().batch_size(),
        )?))
    }
}

impl ScanResolver {
    /// A resolver for one statement, with the length of the statement's window.
    pub fn new(client: Client, window_ms: Option<i64>) -> Self {
        Self {
            client,
            window_ms,
            pinned: Mutex::new(BTreeMap::new()),
        }
    }

    async fn ranges(&self, topic: &str) -> Result<Option<Vec<PartitionRange>>, SqlError> {
        let mut pinned = self.pinned.lock().await;
        if let Some(ranges) = pinned.get(topic) {
            return Ok(ranges.clone());
        }
        let ranges = pin(&self.client, topic).await?;
        pinned.insert(topic.to_owned(), ranges.clone());
        Ok(ranges)
    }

    fn table(&self, source: Arc<Source>, ranges: Vec<PartitionRange>) -> Arc<dyn TableProvider> {
        let client = self.client.clone();
        Arc::new(TopicTable::new(client, source, ranges, self.window_ms))
    }
}

#[async_trait]
impl TableResolver for ScanResolver {
    async fn source(&self, source: Arc<Source>) -> Result<Arc<dyn TableProvider>, SqlError> {
        match self.ranges(&source.topic).await? {
            Some(ranges) => Ok(self.table(source, ranges)),
            None => Err(SqlError::not_found(format!(
                "topic `{}` of the {source} does not exist",
                source.topic
            ))),
        }
    }

    async fn topic(&self, topic: &str) -> Result<Option<Arc<dyn TableProvider>>, SqlError> {
        let ranges = self.ranges(topic).await?;
        Ok(ranges.map(|ranges| self.table(Arc::new(Source::undeclared(topic)), ranges)))
    }
}

impl fmt::Debug for TopicTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicTable")
            .field("source", &self.source.name)
            .field("ranges", &self.ranges)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ScanResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanResolver").finish_non_exhaustive()
    }
}
