//! Reading a moldau.yaml: the document itself, and the SQL inside it.

use std::path::Path;

use moldau_connect::config::{Diagnostic, Diagnostics, Document, ParseContext};

/// Parses a document; the error is the text to show, every mistake with its place.
///
/// # Errors
/// The YAML or the SQL in it has mistakes.
pub(crate) fn parse(
    text: &str,
    origin: &Path,
    context: &ParseContext,
) -> Result<Document, Diagnostics> {
    let origin = origin.display().to_string();
    let document = Document::parse(text, &origin, context)?;
    let mistakes: Vec<Diagnostic> = document
        .sql
        .iter()
        .flat_map(|block| {
            moldau_sql::check(&block.text)
                .into_iter()
                .map(|mistake| in_document(block, mistake))
        })
        .collect();
    if mistakes.is_empty() {
        Ok(document)
    } else {
        Err(Diagnostics::new(text, &origin, mistakes))
    }
}

/// The place of a mistake in the document, from its place in the block.
fn in_document(
    block: &moldau_connect::config::SqlBlock,
    mistake: moldau_sql::Mistake,
) -> Diagnostic {
    Diagnostic {
        message: mistake.message,
        line: block.line + mistake.line.saturating_sub(1),
        column: block.column + mistake.column.saturating_sub(1),
        length: 1,
        hint: mistake.hint,
    }
}
