//! Streams, tables and queries that exist.
//!
//! A [`Catalog`] is an immutable picture; a change makes a new one. It is kept in the topic
//! `__sql_catalog`, see `log`.

pub mod record;
pub mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{SqlError, SqlErrorKind};
use crate::parser::SourceKind;
use record::QueryRecord;
use source::Source;

/// All streams, tables and queries at one moment.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// By name.
    pub sources: BTreeMap<String, Arc<Source>>,
    /// By id.
    pub queries: BTreeMap<String, Arc<QueryRecord>>,
}

impl Catalog {
    /// The stream or table of that name.
    ///
    /// # Errors
    /// If there is none, with the most similar name.
    pub fn source(&self, name: &str) -> Result<&Arc<Source>, SqlError> {
        self.sources
            .get(name)
            .ok_or_else(|| self.no_such_source(name))
    }

    /// The stream or table of that name and kind.
    ///
    /// # Errors
    /// If there is none of that kind.
    pub fn source_of(&self, kind: SourceKind, name: &str) -> Result<&Arc<Source>, SqlError> {
        let source = self.source(name)?;
        if source.kind == kind {
            Ok(source)
        } else {
            Err(SqlError::not_found(format!(
                "`{name}` is a {}, not a {kind}",
                source.kind
            )))
        }
    }

    /// The query with that id.
    ///
    /// # Errors
    /// If there is none.
    pub fn query(&self, id: &str) -> Result<&Arc<QueryRecord>, SqlError> {
        self.queries.get(id).ok_or_else(|| {
            SqlError::not_found(format!("query `{id}` does not exist"))
                .with_hint("SHOW QUERIES lists the queries that run")
        })
    }

    /// The queries that read from or write to a stream or table.
    pub fn queries_of(&self, name: &str) -> Vec<&Arc<QueryRecord>> {
        let uses = |query: &&Arc<QueryRecord>| {
            query.sink == name || query.sources.iter().any(|source| source == name)
        };
        self.queries.values().filter(uses).collect()
    }

    fn no_such_source(&self, name: &str) -> SqlError {
        let error = SqlError::new(
            SqlErrorKind::NotFound,
            format!("stream or table `{name}` does not exist"),
        );
        match nearest(name, self.sources.keys().map(String::as_str)) {
            Some(similar) => error.with_hint(format!("did you mean `{similar}`?")),
            None if self.sources.is_empty() => error.with_hint(
                "CREATE STREAM name (columns) WITH (KAFKA_TOPIC = '..', VALUE_FORMAT = 'JSON') \
                 declares one; a topic without declaration is read as topic.\"name\"",
            ),
            None => error.with_hint("SHOW STREAMS and SHOW TABLES list what there is"),
        }
    }
}

/// The name most like `name`, if one is like it at all.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    names
        .map(|other| (edit_distance(name, other), other))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, other)| other)
}

fn edit_distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.to_lowercase().chars().take(64).collect();
    let right: Vec<char> = right.to_lowercase().chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
