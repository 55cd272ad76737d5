//! Statements to plans. DataFusion parses names and types, coerces and checks; bounded queries it
//! also runs. Continuous queries take from its logical plan the expressions, and run as our own
//! operators.

pub mod continuous;
mod functions;
mod rewrite;
pub mod tables;

use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, CatalogProviderList};
use datafusion::catalog::{MemoryCatalogProvider, MemoryCatalogProviderList};
use datafusion::config::ConfigOptions;
use datafusion::execution::context::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast;

use crate::catalog::Catalog;
use crate::error::{Position, SqlError};
use crate::parser::StreamSelect;
use tables::{NamedTables, TableResolver};

/// Name of the one catalog.
pub const CATALOG_NAME: &str = "moldau";
/// Schema of declared streams and tables.
pub const PUBLIC_SCHEMA: &str = "public";
/// Schema of topics that need no declaration.
pub const TOPIC_SCHEMA: &str = "topic";

/// Functions and rules, made once.
#[derive(Debug, Clone)]
pub struct Planner {
    base: SessionState,
}

/// A logical plan with the session that it was made in.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Functions, settings and tables.
    pub state: SessionState,
    /// The plan, not optimised.
    pub plan: LogicalPlan,
}

impl Planner {
    /// A planner with all functions.
    pub fn new() -> Self {
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG_NAME, PUBLIC_SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true)
            .with_target_partitions(2);
        let parser = &mut config.options_mut().sql_parser;
        parser.map_string_types_to_utf8view = false;
        parser.collect_spans = true;
        let mut base = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .build();
        functions::register(&mut base);
        Self { base }
    }

    /// Settings that a session starts with.
    pub fn options(&self) -> ConfigOptions {
        self.base.config_options().as_ref().clone()
    }

    /// Plans a statement of DataFusion over the tables that `resolver` gives.
    ///
    /// # Errors
    /// If a name or a type is wrong.
    pub async fn plan(
        &self,
        statement: DataFusionStatement,
        catalog: &Arc<Catalog>,
        resolver: Arc<dyn TableResolver>,
        options: Option<&ConfigOptions>,
    ) -> Result<Planned, SqlError> {
        let state = self.session(catalog, resolver, options)?;
        let statement = match statement {
            DataFusionStatement::Statement(mut statement) => {
                if let ast::Statement::Query(query) = statement.as_mut() {
                    rewrite::rewrite(query, catalog, false)?;
                } else if let ast::Statement::Explain { statement, .. } = statement.as_mut()
                    && let ast::Statement::Query(query) = statement.as_mut()
                {
                    rewrite::rewrite(query, catalog, false)?;
                }
                DataFusionStatement::Statement(statement)
            }
            DataFusionStatement::Explain(mut explain) => {
                if let DataFusionStatement::Statement(inner) = explain.statement.as_mut()
                    && let ast::Statement::Query(query) = inner.as_mut()
                {
                    rewrite::rewrite(query, catalog, false)?;
                }
                DataFusionStatement::Explain(explain)
            }
            other => other,
        };
        let plan = state
            .statement_to_plan(statement)
            .await
            .map_err(|error| from_plan_error(&error))?;
        Ok(Planned { state, plan })
    }

    /// Plans a `SELECT` with its window; the tables know of the window by the resolver.
    ///
    /// # Errors
    /// If a name or a type is wrong.
    pub async fn plan_select(
        &self,
        select: &StreamSelect,
        catalog: &Arc<Catalog>,
        resolver: Arc<dyn TableResolver>,
        options: Option<&ConfigOptions>,
    ) -> Result<Planned, SqlError> {
        let state = self.session(catalog, resolver, options)?;
        let mut query = select.query.clone();
        if select.window.is_some() {
            rewrite::group_by_window(&mut query)?;
        }
        if let Some(keys) = &select.partition_by {
            rewrite::add_partition_keys(&mut query, keys)?;
        }
        rewrite::rewrite(&mut query, catalog, select.window.is_some())?;
        let statement = DataFusionStatement::Statement(Box::new(ast::Statement::Query(query)));
        let plan = state
            .statement_to_plan(statement)
            .await
            .map_err(|error| from_plan_error(&error))?;
        Ok(Planned { state, plan })
    }

    /// A session without tables, for expressions alone.
    pub fn bare_session(&self) -> &SessionState {
        &self.base
    }

    fn session(
        &self,
        catalog: &Arc<Catalog>,
        resolver: Arc<dyn TableResolver>,
        options: Option<&ConfigOptions>,
    ) -> Result<SessionState, SqlError> {
        let public = NamedTables::declared(Arc::clone(catalog), Arc::clone(&resolver));
        let topics = NamedTables::topics(Arc::clone(catalog), resolver);
        let schemas = MemoryCatalogProvider::new();
        schemas.register_schema(PUBLIC_SCHEMA, Arc::new(public))?;
        schemas.register_schema(TOPIC_SCHEMA, Arc::new(topics))?;
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG_NAME.to_owned(), Arc::new(schemas));
        let mut builder = SessionStateBuilder::new_from_existing(self.base.clone())
            .with_catalog_list(Arc::new(catalogs));
        if let Some(options) = options {
            let mut config = self.base.config().clone();
            *config.options_mut() = options.clone();
            builder = builder.with_config(config);
        }
        Ok(builder.build())
    }
}

impl Default for Planner {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps the place that DataFusion knows.
pub(crate) fn from_plan_error(error: &datafusion::error::DataFusionError) -> SqlError {
    let place = error
        .diagnostic()
        .and_then(|diagnostic| diagnostic.span)
        .map(|span| Position {
            line: span.start.line,
            column: span.start.column,
        });
    let converted = SqlError::from_datafusion(error);
    match place {
        Some(place) => converted.at(place),
        None => converted,
    }
}
