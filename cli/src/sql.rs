//! `moldau sql`: statements from an argument, from standard input, or typed at a prompt.
//!
//! Speaks PostgreSQL's protocol, so it reads what `psql` would read. Rows are printed as they
//! arrive, which is what a query that never ends needs; Ctrl-C cancels the statement.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures::{StreamExt, pin_mut};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use serde_json::{Map, Value};
use tokio_postgres::{CancelToken, Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow};

use crate::output::{Output, UsageError};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Rows looked at before the widths of the columns are fixed; the rest streams.
const ROWS_FOR_WIDTHS: usize = 256;

/// How long the first rows may take to gather before they are printed with the widths so far.
const GATHER_TIME: Duration = Duration::from_millis(150);

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// Address of the SQL port.
    #[arg(
        long,
        env = "MOLDAU_POSTGRES",
        default_value = "localhost:5433",
        value_name = "HOST:PORT"
    )]
    postgres: String,
    /// Statements to run, separated by semicolons; without them they are read from standard input.
    statements: Option<String>,
}

/// Runs `moldau sql …`.
///
/// # Errors
/// The SQL port cannot be reached, or a statement of a one-shot run fails.
pub(crate) async fn run(args: SqlArgs, output: Output) -> anyhow::Result<()> {
    let client = connect(&args.postgres).await?;
    match args.statements {
        Some(statements) => execute(&client, &statements, output).await,
        None if std::io::stdin().is_terminal() => prompt(&client, output).await,
        None => {
            let script =
                std::io::read_to_string(std::io::stdin()).context("read standard input")?;
            execute(&client, &script, output).await
        }
    }
}

async fn connect(address: &str) -> anyhow::Result<Client> {
    let (host, port) = address
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.trim_matches(['[', ']']), port.parse::<u16>().ok()?)))
        .ok_or_else(|| {
            UsageError(format!(
                "--postgres {address:?} is not of the form HOST:PORT"
            ))
        })?;
    let mut config = Config::new();
    config
        .host(host)
        .port(port)
        .user("moldau")
        .dbname("moldau")
        .connect_timeout(CONNECT_TIMEOUT);
    let (client, connection) = config.connect(NoTls).await.with_context(|| {
        format!("connect to the SQL port {address}; is `moldau start` running there?")
    })?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to the SQL port ended");
        }
    });
    Ok(client)
}

async fn prompt(client: &Client, output: Output) -> anyhow::Result<()> {
    output
        .line("SQL over topics. End statements with ; — Ctrl-C cancels a query, Ctrl-D leaves.")?;
    let mut editor = DefaultEditor::new()?;
    let history = std::env::home_dir().map(|home| home.join(".moldau_history"));
    if let Some(path) = history.as_ref().filter(|path| path.exists()) {
        editor.load_history(path)?;
    }
    let mut statement = String::new();
    loop {
        let prompt = if statement.is_empty() {
            "moldau> "
        } else {
            "   ...> "
        };
        match tokio::task::block_in_place(|| editor.readline(prompt)) {
            Ok(line) => {
                statement.push_str(&line);
                statement.push('\n');
                if !line.trim_end().ends_with(';') {
                    if statement.trim().is_empty() {
                        statement.clear();
                    }
                    continue;
                }
                editor.add_history_entry(statement.trim())?;
                if let Err(error) = execute(client, &statement, output).await {
                    crate::output::print_error(&error);
                }
                statement.clear();
            }
            Err(ReadlineError::Interrupted) => statement.clear(),
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(path) = history {
        editor.save_history(&path)?;
    }
    Ok(())
}

/// Runs the statements and prints their rows; Ctrl-C cancels them.
async fn execute(client: &Client, statements: &str, output: Output) -> anyhow::Result<()> {
    let cancel = client.cancel_token();
    let messages = client
        .simple_query_raw(statements)
        .await
        .map_err(|error| explain(&error))?;
    pin_mut!(messages);
    let mut printer = Printer::new(output);
    let mut cancelled = false;
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(Ok(message)) => printer.message(message)?,
                Some(Err(_)) if cancelled => break,
                Some(Err(error)) => {
                    printer.flush()?;
                    return Err(explain(&error));
                }
                None => break,
            },
            () = tokio::time::sleep(GATHER_TIME), if printer.is_gathering() => printer.flush()?,
            _interrupt = tokio::signal::ctrl_c(), if !cancelled => {
                cancelled = true;
                request_cancel(&cancel).await?;
            }
        }
    }
    printer.finish()
}

async fn request_cancel(cancel: &CancelToken) -> anyhow::Result<()> {
    tokio::time::timeout(CONNECT_TIMEOUT, cancel.cancel_query(NoTls))
        .await
        .context("cancel the statement: no answer in time")?
        .context("cancel the statement")
}

/// The server's own words, with hint and detail where it gave them.
fn explain(error: &tokio_postgres::Error) -> anyhow::Error {
    let Some(server) = error.as_db_error() else {
        return anyhow::anyhow!("SQL connection: {error}");
    };
    let mut text = server.message().to_owned();
    for (label, more) in [("detail", server.detail()), ("hint", server.hint())] {
        if let Some(more) = more {
            text.push_str(&format!("\n{label}: {more}"));
        }
    }
    anyhow::anyhow!(text)
}

/// Prints result sets as aligned columns, or each row as a JSON object.
struct Printer {
    output: Output,
    columns: Vec<String>,
    widths: Vec<usize>,
    /// Rows held back until the widths are known.
    gathered: Vec<Vec<Option<String>>>,
    /// The head of the current result set is printed, so its widths are fixed.
    streaming: bool,
}

impl Printer {
    fn new(output: Output) -> Self {
        Self {
            output,
            columns: Vec::new(),
            widths: Vec::new(),
            gathered: Vec::new(),
            streaming: false,
        }
    }

    fn is_gathering(&self) -> bool {
        !self.gathered.is_empty()
    }

    fn message(&mut self, message: SimpleQueryMessage) -> anyhow::Result<()> {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                self.finish()?;
                self.columns = columns
                    .iter()
                    .map(|column| column.name().to_owned())
                    .collect();
                self.widths = self
                    .columns
                    .iter()
                    .map(|name| name.chars().count())
                    .collect();
                Ok(())
            }
            SimpleQueryMessage::Row(row) => self.row(&row),
            SimpleQueryMessage::CommandComplete(_) => self.finish(),
            _ => Ok(()),
        }
    }

    fn row(&mut self, row: &SimpleQueryRow) -> anyhow::Result<()> {
        let cells: Vec<Option<String>> = (0..row.len())
            .map(|index| row.get(index).map(str::to_owned))
            .collect();
        if self.output.is_json() {
            return self.print_json(&cells);
        }
        if self.streaming {
            return self.print_row(&cells);
        }
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.as_deref().map_or(4, |text| text.chars().count()));
        }
        self.gathered.push(cells);
        if self.gathered.len() >= ROWS_FOR_WIDTHS {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Prints the head, if not yet done, and what was held back.
    fn flush(&mut self) -> anyhow::Result<()> {
        if self.output.is_json() || self.columns.is_empty() {
            return Ok(());
        }
        if !self.streaming {
            let heads: Vec<Option<String>> = self.columns.iter().cloned().map(Some).collect();
            self.print_row(&heads)?;
            self.streaming = true;
        }
        for row in std::mem::take(&mut self.gathered) {
            self.print_row(&row)?;
        }
        std::io::stdout().flush()?;
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.flush()?;
        self.columns.clear();
        self.widths.clear();
        self.streaming = false;
        Ok(())
    }

    fn print_row(&self, cells: &[Option<String>]) -> anyhow::Result<()> {
        let mut line = String::new();
        for (index, cell) in cells.iter().enumerate() {
            let text = cell.as_deref().unwrap_or("NULL");
            let width = self.widths.get(index).copied().unwrap_or(0);
            line.push_str(&format!("{text:<width$}  "));
        }
        writeln!(std::io::stdout(), "{}", line.trim_end())?;
        Ok(())
    }

    fn print_json(&self, cells: &[Option<String>]) -> anyhow::Result<()> {
        let row: Map<String, Value> = self
            .columns
            .iter()
            .zip(cells)
            .map(|(name, cell)| (name.clone(), cell.clone().map_or(Value::Null, Value::from)))
            .collect();
        writeln!(std::io::stdout(), "{}", Value::from(row))?;
        Ok(())
    }
}
