//! What is wrong with a document, shown with the line it stands in.

use std::fmt::{self, Write};

use super::tree::Place;

/// One mistake in a document: the place, what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in lower case without a full stop.
    pub message: String,
    /// Line, counted from 1; 0 when the mistake has no place.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// Characters to underline; at least 1.
    pub length: usize,
    /// What to do about it, shown beside the underline.
    pub hint: Option<String>,
}

/// The mistakes of one document, in the order of their lines. Never empty.
///
/// `Display` writes each with its line from the document:
///
/// ```text
/// error: unknown key `flush_size` in sink `s3`
///    ┌─ moldau.yaml:31:9
/// 31 │         flush_size: 1000
///    │         ^^^^^^^^^^ did you mean `rotate.records`?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    origin: String,
    items: Vec<Diagnostic>,
    /// The lines that the items point at.
    lines: Vec<String>,
}

impl Diagnostics {
    /// Mistakes that someone else found in `text`, for example in its SQL.
    ///
    /// `items` must not be empty; they are put in the order of their lines.
    #[must_use]
    pub fn new(text: &str, origin: &str, mut items: Vec<Diagnostic>) -> Self {
        items.sort_by_key(|item| (item.line, item.column));
        let all: Vec<&str> = text.lines().collect();
        let line_of = |item: &Diagnostic| {
            let index = item.line.checked_sub(1)?;
            all.get(index).map(|line| line.trim_end().to_owned())
        };
        let lines = items
            .iter()
            .map(|item| line_of(item).unwrap_or_default())
            .collect();
        Self {
            origin: origin.to_owned(),
            items,
            lines,
        }
    }

    /// The mistakes, in the order of their lines.
    #[must_use]
    pub fn items(&self) -> &[Diagnostic] {
        &self.items
    }

    /// Name of the document, usually its path.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    fn write_one(&self, out: &mut impl Write, item: &Diagnostic, source: &str) -> fmt::Result {
        writeln!(out, "error: {}", item.message)?;
        if item.line == 0 {
            writeln!(out, "  ┌─ {}", self.origin)?;
            return item
                .hint
                .iter()
                .try_for_each(|hint| writeln!(out, "  = {hint}"));
        }
        let number = item.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(
            out,
            "{margin} ┌─ {}:{}:{}",
            self.origin, item.line, item.column
        )?;
        writeln!(out, "{number} │ {}", source.replace('\t', " "))?;
        let indent = " ".repeat(item.column.saturating_sub(1));
        let marks = "^".repeat(item.length.max(1));
        let hint = item.hint.as_deref().unwrap_or_default();
        writeln!(
            out,
            "{}",
            format!("{margin} │ {indent}{marks} {hint}").trim_end()
        )
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (item, source)) in self.items.iter().zip(&self.lines).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.write_one(f, item, source)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Collects the mistakes while a document is read.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    origin: &'a str,
    text: &'a str,
    items: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(text: &'a str, origin: &'a str) -> Self {
        Self {
            origin,
            text,
            items: Vec::new(),
        }
    }

    /// Adds a mistake at `place`.
    pub(crate) fn error(&mut self, place: Place, message: impl Into<String>) {
        self.add(place, message.into(), None);
    }

    /// Adds a mistake at `place` with what to do about it.
    pub(crate) fn error_with_hint(
        &mut self,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(place, message.into(), Some(hint.into()));
    }

    fn add(&mut self, place: Place, message: String, hint: Option<String>) {
        let written = self.source_of(place);
        let first_line = written.lines().next().unwrap_or_default().trim_end();
        self.items.push(Diagnostic {
            message,
            line: place.line,
            column: place.column,
            length: first_line.chars().count().max(1),
            hint,
        });
    }

    /// The text of a scalar as it is written in the document.
    pub(crate) fn source_of(&self, place: Place) -> &'a str {
        let end = place.byte_offset.saturating_add(place.byte_len);
        self.text.get(place.byte_offset..end).unwrap_or_default()
    }

    /// `Ok` when nothing was reported.
    pub(crate) fn finish(self) -> Result<(), Diagnostics> {
        if self.items.is_empty() {
            return Ok(());
        }
        Err(Diagnostics::new(self.text, self.origin, self.items))
    }
}
