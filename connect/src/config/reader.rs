//! Reads settings out of the tree and reports what does not fit.
//!
//! Every method reports a mistake and then gives a stand-in (`None` or the default), so that one
//! pass finds all mistakes. A document with any mistake is refused as a whole at the end, so a
//! stand-in is never used.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::diagnostics::Report;
use super::placeholders::ParseContext;
use super::secret::{Redactor, Secret};
use super::tree::{Entry, Node, Place, Value};
use super::{quantity, suggest};

/// The keys that a map may have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Keys {
    pub(crate) known: &'static [&'static str],
    /// Words from elsewhere, and the name here (in backquotes) or what to do.
    pub(crate) aliases: &'static [(&'static str, &'static str)],
    /// Keys that a later version will know.
    pub(crate) later: &'static [&'static str],
}

/// A map of the document whose keys have been checked.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'n> {
    /// What the map describes, for messages: "sink `s3`".
    pub(crate) what: String,
    pub(crate) place: Place,
    entries: &'n [Entry],
    /// Not a map at all, which has been reported; then nothing is missing from it.
    broken: bool,
}

impl<'n> Fields<'n> {
    /// The value of `key`, if it is there.
    pub(crate) fn find(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn node(&self, key: &str) -> Option<&'n Node> {
        self.find(key).map(|entry| &entry.value)
    }

    pub(crate) fn entries(&self) -> &'n [Entry] {
        self.entries
    }

    fn no_fields(what: &str, place: Place) -> Self {
        Self {
            what: what.to_owned(),
            place,
            entries: &[],
            broken: true,
        }
    }
}

/// Reads one part of a document.
#[derive(Debug)]
pub(crate) struct Reader<'r, 't> {
    pub(crate) report: &'r mut Report<'t>,
    pub(crate) context: &'r ParseContext,
    /// Knows what came from outside the document so far.
    pub(crate) redactor: Redactor,
}

impl<'r, 't> Reader<'r, 't> {
    pub(crate) fn new(report: &'r mut Report<'t>, context: &'r ParseContext) -> Self {
        Self {
            report,
            context,
            redactor: Redactor::default(),
        }
    }

    /// The fields of a map with a fixed set of keys.
    pub(crate) fn fields<'n>(&mut self, node: &'n Node, what: &str, keys: Keys) -> Fields<'n> {
        let fields = self.any_fields(node, what);
        for entry in fields.entries {
            if !keys.known.contains(&entry.key.as_str()) {
                self.unknown_key(entry, what, keys);
            }
        }
        fields
    }

    /// The fields of a map whose keys are free, such as names.
    pub(crate) fn any_fields<'n>(&mut self, node: &'n Node, what: &str) -> Fields<'n> {
        match &node.value {
            Value::Map(entries) => {
                self.check_repeated(entries, what);
                Fields {
                    what: what.to_owned(),
                    place: node.place,
                    entries,
                    broken: false,
                }
            }
            Value::Null => {
                self.report.error(node.place, format!("{what} is empty"));
                Fields::no_fields(what, node.place)
            }
            _ => {
                self.wrong_kind(node, what, "a map of keys and values");
                Fields::no_fields(what, node.place)
            }
        }
    }

    fn check_repeated(&mut self, entries: &[Entry], what: &str) {
        for (index, entry) in entries.iter().enumerate() {
            if let Some(first) = entries[..index].iter().find(|first| first.key == entry.key) {
                self.report.error_with_hint(
                    entry.key_place,
                    format!("`{}` stands twice in {what}", entry.key),
                    format!("the first one is in line {}", first.key_place.line),
                );
            }
        }
    }

    fn unknown_key(&mut self, entry: &Entry, what: &str, keys: Keys) {
        let key = entry.key.as_str();
        if keys.later.contains(&key) {
            let message = format!("`{key}` in {what} is not supported yet");
            return self
                .report
                .error_with_hint(entry.key_place, message, "leave it out for now");
        }
        let message = format!("unknown key `{key}` in {what}");
        let alias = keys
            .aliases
            .iter()
            .find(|(alias, _)| alias.eq_ignore_ascii_case(key));
        let hint = match (alias, suggest::closest(key, keys.known.iter().copied())) {
            (Some((_, name)), _) if name.starts_with('`') => format!("did you mean {name}?"),
            (Some((_, advice)), _) => (*advice).to_owned(),
            (None, Some(name)) => format!("did you mean `{name}`?"),
            (None, None) => format!("known keys: {}", keys.known.join(", ")),
        };
        self.report.error_with_hint(entry.key_place, message, hint);
    }

    fn wrong_kind(&mut self, node: &Node, what: &str, wanted: &str) {
        let message = format!("{what} must be {wanted}, not {}", node.kind());
        self.report.error(node.place, message);
    }

    /// Reports that `key` is missing.
    pub(crate) fn missing(&mut self, fields: &Fields<'_>, key: &str, example: &str) {
        if fields.broken {
            return;
        }
        let message = format!("{}: `{key}` is missing", fields.what);
        self.report
            .error_with_hint(fields.place, message, format!("add for example {example}"));
    }

    /// Any scalar as text, without looking at placeholders.
    pub(crate) fn verbatim(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {
                Some(self.report.source_of(node.place).trim().to_owned())
            }
            Value::Null => {
                self.report
                    .error(node.place, format!("{what} has no value"));
                None
            }
            Value::List(_) | Value::Map(_) => {
                self.wrong_kind(node, what, "text");
                None
            }
        }
    }

    /// A scalar as text with placeholders filled in.
    pub(crate) fn text_of(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.verbatim(node, what)?;
        match self.context.resolve(&text, &mut self.redactor) {
            Ok(text) => Some(text),
            Err((message, hint)) => {
                self.report
                    .error_with_hint(node.place, format!("{what}: {message}"), hint);
                None
            }
        }
    }

    pub(crate) fn text(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let node = fields.node(key)?;
        let text = self.text_of(node, &named(key))?;
        if text.trim().is_empty() {
            self.report
                .error(node.place, format!("{}: `{key}` is empty", fields.what));
        }
        Some(text)
    }

    pub(crate) fn required_text(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        example: &str,
    ) -> String {
        if fields.find(key).is_none() {
            self.missing(fields, key, example);
        }
        self.text(fields, key).unwrap_or_default()
    }

    pub(crate) fn secret(&mut self, fields: &Fields<'_>, key: &str) -> Option<Secret> {
        let text = self.text(fields, key)?;
        self.redactor.add(&text);
        Some(Secret::new(text))
    }

    pub(crate) fn boolean(&mut self, fields: &Fields<'_>, key: &str, default: bool) -> bool {
        let Some(node) = fields.node(key) else {
            return default;
        };
        let resolved = match &node.value {
            Value::Bool(value) => return *value,
            Value::Text(_) => self.text_of(node, &named(key)),
            _ => None,
        };
        match resolved.as_deref() {
            Some("true") => true,
            Some("false") => false,
            _ => {
                self.wrong_kind(node, &named(key), "true or false");
                default
            }
        }
    }

    /// A whole number within `range`.
    pub(crate) fn integer(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Option<i64> {
        let node = fields.node(key)?;
        let number = match &node.value {
            Value::Integer(number) => Some(*number),
            Value::Text(_) => self
                .text_of(node, &named(key))?
                .replace('_', "")
                .parse()
                .ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.wrong_kind(node, &named(key), "an integer");
            return None;
        };
        if !range.contains(&number) {
            let (low, high) = range.into_inner();
            let message = format!("`{key}` must lie between {low} and {high}");
            self.report.error(node.place, message);
            return None;
        }
        Some(number)
    }

    pub(crate) fn number_of(&mut self, node: &Node, what: &str) -> Option<f64> {
        match &node.value {
            #[expect(clippy::cast_precision_loss, reason = "settings are small numbers")]
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) if number.is_finite() => Some(*number),
            _ => {
                self.wrong_kind(node, what, "a number");
                None
            }
        }
    }

    /// A duration within `range`.
    pub(crate) fn duration(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let value = self.quantity(fields, key, quantity::duration)?;
        if !range.contains(&value) {
            let place = fields.node(key).map_or(fields.place, |node| node.place);
            let (low, high) = range.into_inner();
            let message = format!("`{key}` must lie between {low:?} and {high:?}");
            self.report.error(place, message);
        }
        Some(value)
    }

    pub(crate) fn size(&mut self, fields: &Fields<'_>, key: &str) -> Option<u64> {
        self.quantity(fields, key, quantity::size)
    }

    /// Reads a scalar with `parse` and reports its complaint.
    pub(crate) fn quantity<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let node = fields.node(key)?;
        let text = self.text_of(node, &named(key))?;
        parse(&text)
            .map_err(|complaint| {
                self.report
                    .error(node.place, format!("`{key}`: {complaint}"))
            })
            .ok()
    }

    /// One of a fixed set of words.
    pub(crate) fn one_of<T: Copy>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let node = fields.node(key)?;
        let word = self.text_of(node, &named(key))?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == word) {
            return Some(*choice);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let hint = suggest::closest(&word, names.iter().copied()).map_or_else(
            || format!("use one of: {}", names.join(", ")),
            |name| format!("did you mean `{name}`?"),
        );
        let message = format!("`{word}` is no value for `{key}` in {}", fields.what);
        self.report.error_with_hint(node.place, message, hint);
        None
    }

    /// A list of texts; a single text counts as a list of one.
    pub(crate) fn texts(&mut self, fields: &Fields<'_>, key: &str) -> Vec<(String, Place)> {
        let Some(node) = fields.node(key) else {
            return Vec::new();
        };
        let what = named(key);
        let Value::List(items) = &node.value else {
            return self
                .text_of(node, &what)
                .map(|text| (text, node.place))
                .into_iter()
                .collect();
        };
        let what = format!("an item of `{key}`");
        items
            .iter()
            .filter_map(|item| self.text_of(item, &what).map(|text| (text, item.place)))
            .collect()
    }

    /// Like [`Self::texts`], but at least one is needed.
    pub(crate) fn required_texts(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        example: &str,
    ) -> Vec<(String, Place)> {
        let Some(node) = fields.node(key) else {
            self.missing(fields, key, example);
            return Vec::new();
        };
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            let message = format!("{}: field `{key}` is empty", fields.what);
            let hint = format!("list at least one, for example {example}");
            self.report.error_with_hint(node.place, message, hint);
        }
        self.texts(fields, key)
    }
}

fn named(key: &str) -> String {
    format!("`{key}`")
}
