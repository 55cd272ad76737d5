//! A session: its settings, and the statements it runs one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::config::ConfigOptions;
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement as DataFusionStatement;
use futures::StreamExt as _;

use super::Engine;
use super::result::StatementResult;
use super::{create, drop_source, explain, insert, print, push, show};
use crate::error::{SqlError, SqlErrorKind};
use crate::parser::{
    CreateAs, CreateSource, Explain, ParsedStatement, SetVariable, Statement, StreamSelect, parse,
};
use crate::plan::{Planned, from_plan_error};
use crate::scan::ScanResolver;

/// Runs statements. Settings made by `SET` hold for the session alone.
#[derive(Debug, Clone)]
pub struct Session {
    engine: Engine,
    options: ConfigOptions,
    variables: BTreeMap<String, String>,
}

/// Where push queries begin: `earliest` or `latest`.
pub(super) const AUTO_OFFSET_RESET: &str = "auto.offset.reset";

impl Session {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            options: engine.planner().options(),
            engine,
            variables: BTreeMap::new(),
        }
    }

    /// Runs all statements of a text; a push query among them is running when this returns.
    ///
    /// # Errors
    /// The first statement that fails; those before it are done.
    pub async fn execute(&mut self, text: &str) -> Result<Vec<StatementResult>, SqlError> {
        let mut results = Vec::new();
        for statement in parse(text)? {
            results.push(self.run(statement).await?);
        }
        Ok(results)
    }

    /// Runs a script that describes what should be: a `CREATE` whose object exists with the same
    /// text is passed over, so that running it again changes nothing.
    ///
    /// # Errors
    /// The first statement that fails; an object that exists with another text is such a failure.
    pub async fn apply(&mut self, script: &str) -> Result<Vec<StatementResult>, SqlError> {
        let mut results = Vec::new();
        for statement in parse(script)? {
            let position = statement.position;
            if self
                .exists_already(&statement)
                .map_err(|error| error.at(position))?
            {
                continue;
            }
            results.push(self.run(statement).await?);
        }
        Ok(results)
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// If it cannot be run. The session goes on.
    pub async fn run(&mut self, parsed: ParsedStatement) -> Result<StatementResult, SqlError> {
        self.engine.check_open()?;
        let text = parsed.text;
        match parsed.statement {
            Statement::CreateSource(create) => create::source(&self.engine, create, text).await,
            Statement::CreateAs(create) => {
                let start_at = self.variables.get(AUTO_OFFSET_RESET).cloned();
                create::from_select(&self.engine, create, text, start_at).await
            }
            Statement::Insert(insert) => insert::run(&self.engine, insert).await,
            Statement::Show(what) => show::show(&self.engine, &self.variables, what).await,
            Statement::ShowVariable(name) => self.show_variable(&name),
            Statement::Describe(describe) => show::describe(&self.engine, &describe).await,
            Statement::Print(print) => print::run(&self.engine, print).await,
            Statement::Drop(drop) => drop_source::run(&self.engine, drop).await,
            Statement::Terminate(target) => drop_source::terminate(&self.engine, target).await,
            Statement::Set(set) => self.set(set),
            Statement::Unset(name) => {
                self.variables.remove(&name);
                Ok(StatementResult::message(format!(
                    "{name} is back to its default"
                )))
            }
            Statement::Explain(Explain::Query(id)) => explain::query(&self.engine, &id).await,
            Statement::Explain(Explain::Statement(inner)) => {
                explain::statement(&self.engine, &inner).await
            }
            Statement::Transaction(_) => Ok(StatementResult::message("no effect")),
            Statement::PushQuery(select) => {
                let earliest = self.starts_earliest(false);
                push::run(&self.engine, select, earliest).await
            }
            Statement::Query(select) => {
                let planned = self.plan_query(&select).await?;
                execute(planned).await
            }
            Statement::DataFusion(statement) => {
                let resolver = ScanResolver::new(self.engine.client().clone(), None);
                let catalog = self.engine.catalog();
                let planned = self
                    .engine
                    .planner()
                    .plan(
                        *statement,
                        &catalog,
                        Arc::new(resolver),
                        Some(&self.options),
                    )
                    .await?;
                refuse_changes(&planned)?;
                execute(planned).await
            }
        }
    }

    /// Plans a bounded `SELECT`, without running it.
    pub(crate) async fn plan_query(&self, select: &StreamSelect) -> Result<Planned, SqlError> {
        if select.partition_by.is_some() {
            return Err(
                SqlError::invalid("PARTITION BY belongs to a continuous query")
                    .with_hint("end the query with EMIT CHANGES"),
            );
        }
        let window_ms = select.window.map(|window| window.size_ms);
        let resolver = ScanResolver::new(self.engine.client().clone(), window_ms);
        let catalog = self.engine.catalog();
        self.engine
            .planner()
            .plan_select(select, &catalog, Arc::new(resolver), Some(&self.options))
            .await
    }

    async fn plan_datafusion(&self, statement: DataFusionStatement) -> Result<Planned, SqlError> {
        let resolver = ScanResolver::new(self.engine.client().clone(), None);
        let catalog = self.engine.catalog();
        let planned = self
            .engine
            .planner()
            .plan(statement, &catalog, Arc::new(resolver), Some(&self.options))
            .await?;
        refuse_changes(&planned)?;
        Ok(planned)
    }

    /// The columns of a statement of DataFusion's own.
    pub(super) async fn describe_datafusion(
        &self,
        statement: &DataFusionStatement,
    ) -> Result<Option<SchemaRef>, SqlError> {
        let planned = self.plan_datafusion(statement.clone()).await?;
        Ok(Some(Arc::new(planned.plan.schema().as_arrow().clone())))
    }

    /// The engine that the session belongs to.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn starts_earliest(&self, default: bool) -> bool {
        match self.variables.get(AUTO_OFFSET_RESET) {
            Some(value) => value == "earliest",
            None => default,
        }
    }

    fn set(&mut self, set: SetVariable) -> Result<StatementResult, SqlError> {
        let name = set.name.trim_start_matches("ksql.streams.").to_owned();
        if name == AUTO_OFFSET_RESET {
            let value = set.value.to_lowercase();
            if value != "earliest" && value != "latest" {
                return Err(
                    SqlError::invalid(format!("{AUTO_OFFSET_RESET} is `{}`", set.value))
                        .with_hint("it is 'earliest' or 'latest'"),
                );
            }
            self.variables.insert(name, value);
        } else if name.starts_with("datafusion.") {
            self.options
                .set(&name, &set.value)
                .map_err(|error| from_plan_error(&error))?;
        } else {
            self.variables.insert(name.clone(), set.value.clone());
        }
        Ok(StatementResult::message(format!(
            "{} = {}",
            set.name, set.value
        )))
    }

    fn show_variable(&self, name: &str) -> Result<StatementResult, SqlError> {
        let value = match name {
            "server_version" => Some(super::SERVER_VERSION.to_owned()),
            "server_encoding" | "client_encoding" => Some("UTF8".to_owned()),
            "transaction isolation level" => Some("read committed".to_owned()),
            "standard_conforming_strings" => Some("on".to_owned()),
            "timezone" | "time zone" => Some("UTC".to_owned()),
            "datestyle" => Some("ISO, MDY".to_owned()),
            AUTO_OFFSET_RESET => Some("latest".to_owned()),
            _ => None,
        };
        let value = self.variables.get(name).cloned().or(value).or_else(|| {
            let entries = self.options.entries();
            entries.into_iter().find(|entry| entry.key == name)?.value
        });
        match value {
            Some(value) => StatementResult::table(&[name], &[vec![Some(value)]]),
            None => Err(
                SqlError::not_found(format!("unknown setting `{name}`")).with_hint(
                    "SHOW TOPICS | STREAMS | TABLES | QUERIES | PROPERTIES list what there is",
                ),
            ),
        }
    }

    /// Whether a `CREATE` of a script is done already.
    fn exists_already(&self, statement: &ParsedStatement) -> Result<bool, SqlError> {
        let (Statement::CreateSource(CreateSource {
            name,
            or_replace,
            if_not_exists,
            ..
        })
        | Statement::CreateAs(CreateAs {
            name,
            or_replace,
            if_not_exists,
            ..
        })) = &statement.statement
        else {
            return Ok(false);
        };
        let catalog = self.engine.catalog();
        let Some(existing) = catalog.sources.get(name) else {
            return Ok(false);
        };
        if *if_not_exists || same_text(&existing.sql, &statement.text) {
            return Ok(true);
        }
        if *or_replace {
            return Ok(false);
        }
        Err(SqlError::new(
            SqlErrorKind::AlreadyExists,
            format!(
                "{existing} exists with another definition: {}",
                existing.sql
            ),
        )
        .with_hint(format!(
            "DROP {} {name} first, or write CREATE OR REPLACE",
            existing.kind.name().to_uppercase()
        )))
    }
}

/// Runs a bounded plan; rows come as they are computed.
async fn execute(planned: Planned) -> Result<StatementResult, SqlError> {
    let Planned { state, plan } = planned;
    let physical = state
        .create_physical_plan(&plan)
        .await
        .map_err(|error| from_plan_error(&error))?;
    let stream = execute_stream(physical, state.task_ctx())?;
    Ok(StatementResult::Rows {
        schema: stream.schema(),
        rows: Box::pin(stream.map(|batch| batch.map_err(SqlError::from))),
    })
}

/// DataFusion's own `CREATE` and `INSERT` have no place here.
fn refuse_changes(planned: &Planned) -> Result<(), SqlError> {
    use datafusion::logical_expr::LogicalPlan;
    match &planned.plan {
        LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Copy(_) => {
            Err(SqlError::unsupported("this statement"))
        }
        LogicalPlan::Statement(_) => Err(SqlError::unsupported("this statement")),
        _ => Ok(()),
    }
}

/// Whether two statements differ in nothing but spaces.
fn same_text(left: &str, right: &str) -> bool {
    left.split_whitespace().eq(right.split_whitespace())
}
