//! Changes to the syntax tree before DataFusion plans it.
//!
//! - `*` leaves the hidden columns out.
//! - `a->b` of ksqlDB reads field `b` of the struct `a`.
//! - A window adds its bounds to `GROUP BY`; `PARTITION BY` adds its keys to the select list.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, ExcludeSelectItem, Expr, GroupByExpr, Ident, JoinConstraint,
    JoinOperator, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Subscript, TableFactor, Value, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};

use super::{CATALOG_NAME, PUBLIC_SCHEMA, TOPIC_SCHEMA};
use crate::catalog::Catalog;
use crate::catalog::source::{Pseudo, Source};
use crate::error::SqlError;
use crate::parser::fold;

/// Alias of the n-th `PARTITION BY` expression in the select list.
pub(super) fn partition_key_alias(index: usize) -> String {
    format!("__partition_key_{index}")
}

/// Applies what every query needs.
pub(super) fn rewrite(
    query: &mut Query,
    catalog: &Catalog,
    windowed: bool,
) -> Result<(), SqlError> {
    let mut rewriter = Rewriter {
        catalog,
        windowed,
        common_tables: HashSet::new(),
    };
    match VisitMut::visit(query, &mut rewriter) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Adds the bounds of the window to `GROUP BY`.
pub(super) fn group_by_window(query: &mut Query) -> Result<(), SqlError> {
    let select = outer_select(query, "a window")?;
    let GroupByExpr::Expressions(expressions, modifiers) = &mut select.group_by else {
        return Err(SqlError::unsupported("GROUP BY ALL with a window"));
    };
    if expressions.is_empty() || !modifiers.is_empty() {
        return Err(SqlError::invalid("a WINDOW needs a plain GROUP BY")
            .with_hint("add GROUP BY with the columns that make a row of the result"));
    }
    for pseudo in Pseudo::ALL.into_iter().filter(|pseudo| pseudo.is_window()) {
        let bound = Expr::Identifier(Ident::new(pseudo.names()[0]));
        if !expressions.contains(&bound) {
            expressions.push(bound);
        }
    }
    Ok(())
}

/// Adds the keys of `PARTITION BY` to the end of the select list.
pub(super) fn add_partition_keys(query: &mut Query, keys: &[Expr]) -> Result<(), SqlError> {
    let select = outer_select(query, "PARTITION BY")?;
    if select.group_by != GroupByExpr::Expressions(Vec::new(), Vec::new()) {
        return Err(SqlError::invalid("PARTITION BY beside GROUP BY")
            .with_hint("the key of a GROUP BY is what it groups by"));
    }
    for (index, key) in keys.iter().enumerate() {
        select.projection.push(SelectItem::ExprWithAlias {
            expr: key.clone(),
            alias: Ident::with_quote('"', partition_key_alias(index)),
        });
    }
    Ok(())
}

fn outer_select<'q>(query: &'q mut Query, what: &str) -> Result<&'q mut Select, SqlError> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Ok(select),
        _ => Err(SqlError::invalid(format!(
            "{what} belongs to a single SELECT"
        ))),
    }
}

struct Rewriter<'c> {
    catalog: &'c Catalog,
    windowed: bool,
    common_tables: HashSet<String>,
}

/// A table in `FROM` as wildcards see it.
struct Relation {
    /// What qualifies its columns; `None` if it has no name.
    qualifier: Option<ObjectName>,
    hidden: Vec<String>,
    /// Columns that `USING` shows once, with the tables to the left.
    merged: Vec<String>,
}

impl VisitorMut for Rewriter<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        if let Some(with) = &query.with {
            let names = with.cte_tables.iter().map(|table| fold(&table.alias.name));
            self.common_tables.extend(names);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        match self.expand_wildcards(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        if let Expr::BinaryOp {
            left,
            op: BinaryOperator::Arrow,
            right,
        } = expr
            && let Expr::Identifier(field) = right.as_ref()
        {
            let name = Value::SingleQuotedString(fold(field));
            *expr = Expr::CompoundFieldAccess {
                root: left.clone(),
                access_chain: vec![AccessExpr::Subscript(Subscript::Index {
                    index: Expr::Value(name.into()),
                })],
            };
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    fn expand_wildcards(&self, select: &mut Select) -> Result<(), SqlError> {
        let has_wildcard = select.projection.iter().any(|item| {
            matches!(
                item,
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(_, _)
            )
        });
        if !has_wildcard {
            return Ok(());
        }
        let mut relations = Vec::new();
        for table in &select.from {
            relations.push(self.relation(&table.relation));
            for join in &table.joins {
                let mut relation = self.relation(&join.relation);
                relation.merged = merged_columns(&join.join_operator)?;
                relations.push(relation);
            }
        }
        if relations.iter().all(|relation| relation.hidden.is_empty()) {
            return Ok(());
        }
        let items = std::mem::take(&mut select.projection);
        for item in items {
            match item {
                SelectItem::Wildcard(options) => {
                    expand(&relations, options, &mut select.projection)?;
                }
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    mut options,
                ) => {
                    let last = name.0.last().and_then(ident).map(fold);
                    let relation = relations.iter().find(|relation| {
                        let qualifier = relation.qualifier.as_ref();
                        qualifier.and_then(|q| q.0.last()).and_then(ident).map(fold) == last
                    });
                    if let Some(relation) = relation {
                        exclude(&mut options, &relation.hidden);
                    }
                    let kind = SelectItemQualifiedWildcardKind::ObjectName(name);
                    select
                        .projection
                        .push(SelectItem::QualifiedWildcard(kind, options));
                }
                other => select.projection.push(other),
            }
        }
        Ok(())
    }

    fn relation(&self, factor: &TableFactor) -> Relation {
        let nothing = |qualifier| Relation {
            qualifier,
            hidden: Vec::new(),
            merged: Vec::new(),
        };
        match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } => {
                let qualifier = match alias {
                    Some(alias) => ObjectName(vec![ObjectNamePart::Identifier(alias.name.clone())]),
                    None => name.clone(),
                };
                Relation {
                    hidden: self.hidden(name),
                    ..nothing(Some(qualifier))
                }
            }
            TableFactor::Derived { alias, .. } => nothing(
                alias
                    .as_ref()
                    .map(|alias| ObjectName(vec![ObjectNamePart::Identifier(alias.name.clone())])),
            ),
            _ => nothing(None),
        }
    }

    fn hidden(&self, name: &ObjectName) -> Vec<String> {
        let parts: Option<Vec<String>> = name.0.iter().map(|part| ident(part).map(fold)).collect();
        let parts = parts.unwrap_or_default();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let declared = |name: &str| match self.catalog.sources.get(name) {
            Some(source) => source.hidden_columns(self.windowed),
            None => Vec::new(),
        };
        match parts.as_slice() {
            [name] if self.common_tables.contains(*name) => Vec::new(),
            [name] | [PUBLIC_SCHEMA, name] | [CATALOG_NAME, PUBLIC_SCHEMA, name] => declared(name),
            [TOPIC_SCHEMA, topic] | [CATALOG_NAME, TOPIC_SCHEMA, topic] => {
                Source::undeclared(topic).hidden_columns(self.windowed)
            }
            _ => Vec::new(),
        }
    }
}

/// `*` over the tables of a `FROM`.
fn expand(
    relations: &[Relation],
    mut options: WildcardAdditionalOptions,
    items: &mut Vec<SelectItem>,
) -> Result<(), SqlError> {
    if let [only] = relations {
        exclude(&mut options, &only.hidden);
        items.push(SelectItem::Wildcard(options));
        return Ok(());
    }
    if options.opt_exclude.is_some() || options.opt_except.is_some() {
        return Err(SqlError::unsupported("* EXCLUDE over a join")
            .with_hint("write table.* EXCLUDE (..) for each table"));
    }
    for relation in relations {
        let Some(qualifier) = &relation.qualifier else {
            return Err(SqlError::unsupported("* over a table without a name")
                .with_hint("write the columns, or give the table a name with AS"));
        };
        let mut options = WildcardAdditionalOptions::default();
        let left_out: Vec<String> = relation
            .hidden
            .iter()
            .chain(&relation.merged)
            .cloned()
            .collect();
        exclude(&mut options, &left_out);
        let kind = SelectItemQualifiedWildcardKind::ObjectName(qualifier.clone());
        items.push(SelectItem::QualifiedWildcard(kind, options));
    }
    Ok(())
}

fn merged_columns(join: &JoinOperator) -> Result<Vec<String>, SqlError> {
    let (JoinOperator::Join(constraint)
    | JoinOperator::Inner(constraint)
    | JoinOperator::Left(constraint)
    | JoinOperator::LeftOuter(constraint)
    | JoinOperator::Right(constraint)
    | JoinOperator::RightOuter(constraint)
    | JoinOperator::FullOuter(constraint)) = join
    else {
        return Ok(Vec::new());
    };
    match constraint {
        JoinConstraint::Using(names) => Ok(names
            .iter()
            .filter_map(|name| name.0.last().and_then(ident).map(fold))
            .collect()),
        JoinConstraint::Natural => Err(SqlError::unsupported("NATURAL JOIN")
            .with_hint("name the columns: JOIN .. USING (column)")),
        JoinConstraint::On(_) | JoinConstraint::None => Ok(Vec::new()),
    }
}

fn exclude(options: &mut WildcardAdditionalOptions, names: &[String]) {
    let mut all: Vec<ObjectName> = match options.opt_exclude.take() {
        None => Vec::new(),
        Some(ExcludeSelectItem::Single(name)) => vec![name],
        Some(ExcludeSelectItem::Multiple(names)) => names,
    };
    for name in names {
        let name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
        if !all.contains(&name) {
            all.push(name);
        }
    }
    if !all.is_empty() {
        options.opt_exclude = Some(ExcludeSelectItem::Multiple(all));
    }
}

fn ident(part: &ObjectNamePart) -> Option<&Ident> {
    part.as_ident()
}
