//! Values that come from outside the document, and keeping them out of what people read.

use std::fmt;

/// A value that `Debug` and `Display` never show.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub(crate) fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself, to be handed to whom it is meant for and to nobody else.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// Blots out the values of `${env:..}` and `${file:..}` in any text.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    /// As they are and as `Debug` writes them; longest first.
    values: Vec<String>,
}

impl Redactor {
    pub(crate) fn add(&mut self, value: &str) {
        if value.is_empty() {
            return;
        }
        let escaped = value.escape_debug().to_string();
        for form in [value.to_owned(), escaped] {
            if !self.values.contains(&form) {
                self.values.push(form);
            }
        }
        self.values
            .sort_by_key(|value| std::cmp::Reverse(value.len()));
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        self.values
            .iter()
            .fold(text.to_owned(), |text, value| text.replace(value, REDACTED))
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} values)", self.values.len())
    }
}

const REDACTED: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_in_no_output() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?} {secret}"), "*** ***");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn values_are_blotted_out_also_where_debug_escaped_them() {
        let mut redactor = Redactor::default();
        redactor.add("pass\"word");
        redactor.add("pass");
        redactor.add("");
        assert_eq!(redactor.redact("url=pass\"word"), "url=***");
        assert_eq!(redactor.redact(&format!("{:?}", "pass\"word")), "\"***\"");
        assert_eq!(redactor.redact("nothing"), "nothing");
    }
}
