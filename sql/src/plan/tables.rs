//! The tables that a statement can name.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::catalog::Catalog;
use crate::catalog::source::Source;
use crate::error::SqlError;

/// Turns a stream, table or topic into what DataFusion reads from.
#[async_trait]
pub trait TableResolver: std::fmt::Debug + Send + Sync {
    /// The table over a declared stream or table.
    async fn source(&self, source: Arc<Source>) -> Result<Arc<dyn TableProvider>, SqlError>;

    /// The table over a topic that nobody declared; `None` if there is no such topic.
    async fn topic(&self, topic: &str) -> Result<Option<Arc<dyn TableProvider>>, SqlError>;
}

/// Tables that have a schema but cannot be scanned: enough to plan with.
#[derive(Debug, Clone, Copy)]
pub struct SchemasOnly {
    /// Whether the bounds of a window are columns.
    pub windowed: bool,
}

#[async_trait]
impl TableResolver for SchemasOnly {
    async fn source(&self, source: Arc<Source>) -> Result<Arc<dyn TableProvider>, SqlError> {
        Ok(Arc::new(SchemaTable {
            schema: source.table_schema(self.windowed),
        }))
    }

    async fn topic(&self, topic: &str) -> Result<Option<Arc<dyn TableProvider>>, SqlError> {
        Ok(Some(Arc::new(SchemaTable {
            schema: Source::undeclared(topic).table_schema(self.windowed),
        })))
    }
}

#[derive(Debug)]
struct SchemaTable {
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for SchemaTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::Internal(
            "a table for planning alone was scanned".to_owned(),
        ))
    }
}

/// One schema of the catalog.
#[derive(Debug)]
pub(super) struct NamedTables {
    catalog: Arc<Catalog>,
    resolver: Arc<dyn TableResolver>,
    topics: bool,
}

impl NamedTables {
    pub(super) fn declared(catalog: Arc<Catalog>, resolver: Arc<dyn TableResolver>) -> Self {
        Self {
            catalog,
            resolver,
            topics: false,
        }
    }

    pub(super) fn topics(catalog: Arc<Catalog>, resolver: Arc<dyn TableResolver>) -> Self {
        Self {
            catalog,
            resolver,
            topics: true,
        }
    }
}

#[async_trait]
impl SchemaProvider for NamedTables {
    fn table_names(&self) -> Vec<String> {
        if self.topics {
            Vec::new()
        } else {
            self.catalog.sources.keys().cloned().collect()
        }
    }

    async fn table(&self, name: &str) -> datafusion::error::Result<Option<Arc<dyn TableProvider>>> {
        let found = if self.topics {
            self.resolver.topic(name).await.and_then(|table| {
                table.map(Some).ok_or_else(|| {
                    SqlError::not_found(format!("topic `{name}` does not exist"))
                        .with_hint("SHOW TOPICS lists the topics")
                })
            })
        } else {
            match self.catalog.source(name) {
                Ok(source) => self.resolver.source(Arc::clone(source)).await.map(Some),
                Err(error) => Err(error),
            }
        };
        found.map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.topics || self.catalog.sources.contains_key(name)
    }
}
