//! The live table that `moldau start` prints: the rows of one query as they come.

use std::io::Write;

use futures::StreamExt;
use moldau_connect::config::TerminalSpec;
use moldau_sql::{Engine, StatementResult, render};

use crate::output::Output;

/// The head is printed again after this many rows, so that it stays in sight.
const ROWS_PER_HEAD: usize = 20;

/// Narrowest column.
const MIN_WIDTH: usize = 12;

/// A query to show, and the engine that runs it.
pub(crate) struct Live {
    pub(crate) engine: Engine,
    pub(crate) spec: TerminalSpec,
}

/// Prints the rows of the query for as long as it runs; without one, waits for ever.
///
/// # Errors
/// Standard output is closed. A query that fails is reported on it and the server goes on.
pub(crate) async fn show(live: Option<Live>, output: Output) -> anyhow::Result<()> {
    if let Some(live) = live.filter(|_| !output.is_json()) {
        if let Some(title) = &live.spec.title {
            output.line(format_args!("\n{title}"))?;
        }
        if let Err(error) = print_rows(&live, output).await {
            output.line(format_args!("terminal query stopped: {error:#}"))?;
        }
    }
    std::future::pending().await
}

async fn print_rows(live: &Live, output: Output) -> anyhow::Result<()> {
    let mut session = live.engine.session();
    for result in session.execute(&live.spec.query).await? {
        let StatementResult::Rows { schema, mut rows } = result else {
            continue;
        };
        let heads: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let mut widths: Vec<usize> = heads
            .iter()
            .map(|head| head.chars().count().max(MIN_WIDTH))
            .collect();
        let mut printed = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let cells: Vec<String> = batch
                    .columns()
                    .iter()
                    .map(|column| {
                        render::cell(column.as_ref(), row).unwrap_or_else(|| "NULL".to_owned())
                    })
                    .collect();
                for (width, cell) in widths.iter_mut().zip(&cells) {
                    *width = (*width).max(cell.chars().count());
                }
                if printed % ROWS_PER_HEAD == 0 {
                    output.line(aligned(&heads, &widths))?;
                }
                output.line(aligned(&cells, &widths))?;
                printed += 1;
            }
            std::io::stdout().flush()?;
        }
    }
    Ok(())
}

fn aligned(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    padded.join("  ").trim_end().to_owned()
}
