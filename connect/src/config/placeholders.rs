//! `${env:NAME}`, `${file:PATH}` and `${data_dir}` inside values.
//!
//! There is no other way for a document to take in something from outside, and no default
//! values: a variable that is missing is a mistake, not an empty text.

use std::path::PathBuf;

use super::secret::Redactor;

/// What a document may refer to while it is read.
#[derive(Debug, Clone)]
pub struct ParseContext {
    /// Replaces `${data_dir}`.
    pub data_dir: PathBuf,
    /// Whether `${env:..}` and `${file:..}` are looked up.
    pub lookup: Lookup,
}

/// Whether values from outside the document are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// They are needed now: a missing one is an error.
    Resolve,
    /// Only the spelling is checked, as `moldau lint` does where the environment is another one.
    CheckOnly,
}

impl ParseContext {
    /// Looks values up; `data_dir` replaces `${data_dir}`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            lookup: Lookup::Resolve,
        }
    }

    /// For checking a document away from the place where it will run.
    #[must_use]
    pub fn check_only() -> Self {
        Self {
            data_dir: PathBuf::from("moldau-data"),
            lookup: Lookup::CheckOnly,
        }
    }

    /// Replaces the placeholders in `text`; what came from outside is noted in `redactor`.
    ///
    /// # Errors
    /// A sentence and a hint for the user.
    pub(crate) fn resolve(
        &self,
        text: &str,
        redactor: &mut Redactor,
    ) -> Result<String, (String, String)> {
        let mut resolved = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, placeholder) = rest.split_at(start);
            resolved.push_str(before);
            let Some(end) = placeholder.find('}') else {
                return Err((
                    format!("`{placeholder}` has no closing brace"),
                    HINT.to_owned(),
                ));
            };
            let name = &placeholder[2..end];
            resolved.push_str(&self.value_of(name, redactor)?);
            rest = &placeholder[end + 1..];
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    fn value_of(&self, name: &str, redactor: &mut Redactor) -> Result<String, (String, String)> {
        let outside = match name.split_once(':') {
            None if name == "data_dir" => return Ok(self.data_dir.display().to_string()),
            Some(("env" | "file", "")) => {
                return Err((format!("`${{{name}}}` names nothing"), HINT.to_owned()));
            }
            Some(("env", _) | ("file", _)) if self.lookup == Lookup::CheckOnly => {
                return Ok(format!("${{{name}}}"));
            }
            Some(("env", variable)) => std::env::var(variable).map_err(|_| {
                let message = format!("the environment variable {variable} is not set");
                (
                    message,
                    format!("set it before the start: export {variable}=.."),
                )
            })?,
            Some(("file", path)) => std::fs::read_to_string(path)
                .map(|content| content.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| {
                    let hint = "the file must exist and be readable for this user".to_owned();
                    (format!("cannot read {path}: {error}"), hint)
                })?,
            _ => {
                return Err((
                    format!("`${{{name}}}` is no known placeholder"),
                    HINT.to_owned(),
                ));
            }
        };
        redactor.add(&outside);
        Ok(outside)
    }
}

const HINT: &str = "use ${env:NAME}, ${file:PATH} or ${data_dir}";

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<String, String> {
        let mut redactor = Redactor::default();
        let context = ParseContext::new("/data");
        context
            .resolve(text, &mut redactor)
            .map_err(|(message, _)| message)
    }

    #[test]
    fn the_data_directory_and_the_environment_are_filled_in() {
        assert_eq!(
            resolve("${data_dir}/a.jsonl"),
            Ok("/data/a.jsonl".to_owned())
        );
        let cargo = std::env::var("CARGO_PKG_NAME").expect("cargo sets it");
        assert_eq!(
            resolve("a-${env:CARGO_PKG_NAME}-b"),
            Ok(format!("a-{cargo}-b"))
        );
        assert_eq!(
            resolve("$HOME stays, so does $ and }"),
            Ok("$HOME stays, so does $ and }".into())
        );
    }

    #[test]
    fn a_file_gives_its_content_without_the_last_line_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        std::fs::write(&path, "s3cret\n").expect("write");
        let mut redactor = Redactor::default();
        let text = format!("${{file:{}}}", path.display());
        let value = ParseContext::new("/data").resolve(&text, &mut redactor);
        assert_eq!(value, Ok("s3cret".to_owned()));
        assert_eq!(redactor.redact("key s3cret"), "key ***");
    }

    #[test]
    fn what_is_missing_or_unknown_is_an_error() {
        assert!(resolve("${env:MOLDAU_NO_SUCH_VARIABLE}").is_err_and(|e| e.contains("not set")));
        assert!(resolve("${file:/no/such/file}").is_err_and(|e| e.contains("cannot read")));
        assert!(resolve("${HOME}").is_err_and(|e| e.contains("no known placeholder")));
        assert!(resolve("${env:}").is_err());
        assert!(resolve("${env:X").is_err_and(|e| e.contains("closing brace")));
    }

    #[test]
    fn a_check_needs_no_environment() {
        let mut redactor = Redactor::default();
        let context = ParseContext::check_only();
        let value = context.resolve("${env:MOLDAU_NO_SUCH_VARIABLE}", &mut redactor);
        assert_eq!(value, Ok("${env:MOLDAU_NO_SUCH_VARIABLE}".to_owned()));
        assert!(context.resolve("${secret:x}", &mut redactor).is_err());
    }
}
