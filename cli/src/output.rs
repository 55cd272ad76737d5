//! How verbs print: tables for people, JSON for programs, errors with their causes.

use std::fmt;
use std::io::{self, Write};

use comfy_table::Table;
use comfy_table::presets;
use serde::Serialize;

/// Where and in which form a verb prints its result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints rows as a table, or as a JSON array of objects.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub(crate) fn rows<T: Serialize>(
        self,
        heads: &[&str],
        rows: &[T],
        cells: impl Fn(&T) -> Vec<String>,
    ) -> anyhow::Result<()> {
        if self.json {
            return self.object(&rows);
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(heads.to_vec());
        for row in rows {
            table.add_row(cells(row));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            writeln!(io::stdout(), "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Prints one value as pretty JSON.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub(crate) fn object<T: Serialize>(self, value: &T) -> anyhow::Result<()> {
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(value)?)?;
        Ok(())
    }

    /// Prints one line for people; nothing with `--json`.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub(crate) fn line(self, text: impl fmt::Display) -> anyhow::Result<()> {
        if !self.json {
            writeln!(io::stdout(), "{text}")?;
        }
        Ok(())
    }
}

/// A mistake in what the user gave, as opposed to a failure while doing it; exit code 2.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Prints something that a person may want to know and that stops nothing.
pub(crate) fn print_note(note: &str) {
    eprintln!("note: {note}");
}

/// Prints an error and the chain of its causes, each cause once.
pub(crate) fn print_error(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    if text.starts_with("error") {
        eprintln!("{text}");
    } else {
        eprintln!("error: {text}");
    }
}

/// A count with thousands separated, as in `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size in the largest binary unit that keeps it at least one, as in `1.5 MiB`.
pub(crate) fn bytes(size: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = size as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{size} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_thousands_separated() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(12_345_678), "12,345,678");
    }

    #[test]
    fn sizes_use_the_largest_unit_that_keeps_them_at_least_one() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(1 << 30), "1.0 GiB");
    }
}
