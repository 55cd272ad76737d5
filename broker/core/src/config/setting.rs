//! One setting: its name, type, default and the values it accepts.

use super::flush::FlushSetting;
use super::topic_defaults::broker_synonyms;

/// A topic, broker or group setting as a row of its table.
///
/// Rows are written as a chain: `Setting::int("num.partitions", "1", "…").rule(Rule::AtLeast(1)).dynamic()`.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Kafka's name, or ours.
    pub name: &'static str,
    /// The type of its value.
    pub kind: SettingKind,
    /// The value when nobody sets it; `None` is null.
    pub default: Option<&'static str>,
    /// Which values are valid.
    pub rule: Rule,
    /// The broker setting that gives the default of a topic or group setting.
    pub synonym: Option<&'static str>,
    /// Whether values other than the default have an effect here.
    pub support: Support,
    /// A broker setting that can be changed while the node runs; topic and group settings always can.
    pub dynamic: bool,
    /// One line of documentation.
    pub doc: &'static str,
}

/// Types of values; the numbers are those of DescribeConfigs v3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// `true` or `false`.
    Boolean = 1,
    /// Text.
    String = 2,
    /// 32 bits.
    Int = 3,
    /// 16 bits.
    Short = 4,
    /// 64 bits.
    Long = 5,
    /// A number with a fraction.
    Double = 6,
    /// Values separated by commas.
    List = 7,
    /// A secret, never shown.
    Password = 9,
}

/// Which values of its type a setting accepts.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// All of them.
    Any,
    /// Numbers from here up.
    AtLeast(i64),
    /// Numbers in this range, both ends included.
    Between(i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of at least one of these words, none twice.
    ListOf(&'static [&'static str]),
    /// A fraction from 0 to 1.
    Ratio,
    /// `auto`, `commit`, `os` or an interval.
    Flush,
    /// One of these words; capitals do not count.
    OneOfAnyCase(&'static [&'static str]),
}

/// Whether a setting does here what its documentation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Yes.
    Full,
    /// Its default is what happens; any other value is refused rather than ignored.
    DefaultOnly,
    /// These values only.
    Only(&'static [&'static str]),
    /// Its default is what happens; any other value is refused, for this reason.
    Refused(&'static str),
    /// There is nothing here that it could tune, for this reason: no value can be set, but a configuration file may
    /// have it, and the reader of the file says so.
    Ignored(&'static str),
}

impl Setting {
    /// `true` or `false`.
    pub(super) const fn boolean(
        name: &'static str,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self::new(name, SettingKind::Boolean, default, doc)
    }

    /// 16 bits.
    pub(super) const fn short(
        name: &'static str,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self::new(name, SettingKind::Short, default, doc)
    }

    /// 32 bits.
    pub(super) const fn int(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, SettingKind::Int, default, doc)
    }

    /// 64 bits.
    pub(super) const fn long(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, SettingKind::Long, default, doc)
    }

    /// A number with a fraction.
    pub(super) const fn double(
        name: &'static str,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self::new(name, SettingKind::Double, default, doc)
    }

    /// Text.
    pub(super) const fn string(
        name: &'static str,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self::new(name, SettingKind::String, default, doc)
    }

    /// Values separated by commas.
    pub(super) const fn list(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, SettingKind::List, default, doc)
    }

    /// A setting of Kafka that only its default fits, for this reason.
    pub(super) const fn refused(
        name: &'static str,
        kind: SettingKind,
        default: Option<&'static str>,
        reason: &'static str,
    ) -> Self {
        let mut row = Self::new(name, kind, "", "").support(Support::Refused(reason));
        row.default = default;
        row
    }

    /// A setting of Kafka that has nothing to tune here, for this reason.
    pub(super) const fn ignored(
        name: &'static str,
        kind: SettingKind,
        reason: &'static str,
    ) -> Self {
        Self::new(name, kind, "", "")
            .unset()
            .support(Support::Ignored(reason))
    }

    const fn new(
        name: &'static str,
        kind: SettingKind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default: Some(default),
            rule: Rule::Any,
            synonym: None,
            support: Support::Full,
            dynamic: false,
            doc,
        }
    }

    /// Which values are valid.
    pub(super) const fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// The broker setting that gives this one's default.
    pub(super) const fn default_from(mut self, name: &'static str) -> Self {
        self.synonym = Some(name);
        self
    }

    /// The default is null.
    pub(super) const fn unset(mut self) -> Self {
        self.default = None;
        self
    }

    /// The running node follows a change.
    pub(super) const fn dynamic(mut self) -> Self {
        self.dynamic = true;
        self
    }

    /// Only the default has an effect here.
    pub(super) const fn default_only(self) -> Self {
        self.support(Support::DefaultOnly)
    }

    /// Only these values have an effect here.
    pub(super) const fn only(self, values: &'static [&'static str]) -> Self {
        self.support(Support::Only(values))
    }

    const fn support(mut self, support: Support) -> Self {
        self.support = support;
        self
    }

    /// Whether the setting has an effect here and is shown to clients.
    #[must_use]
    pub const fn is_served(&self) -> bool {
        !matches!(self.support, Support::Refused(_) | Support::Ignored(_))
    }

    /// Whether it can be set to any value that is valid.
    #[must_use]
    pub const fn has_choice(&self) -> bool {
        matches!(self.support, Support::Full)
    }

    /// The broker settings that give the default of this topic or group setting, the strongest first.
    pub fn default_settings(&self) -> impl Iterator<Item = &'static str> {
        broker_synonyms(self).map(|synonym| synonym.name)
    }

    /// Checks one value.
    ///
    /// # Errors
    /// A sentence about the value, without the setting's name.
    pub fn check(&self, value: &str) -> Result<(), String> {
        self.check_type(value)?;
        self.check_rule(value)?;
        match self.support {
            Support::Full => Ok(()),
            Support::Only(values) if values.contains(&&*self.without_blanks(value)) => Ok(()),
            Support::Only(values) => Err(format!(
                "\"{value}\" is not supported; use one of {}",
                values.join(", ")
            )),
            Support::DefaultOnly | Support::Refused(_) if self.is_default(value) => Ok(()),
            Support::DefaultOnly => Err(format!(
                "\"{value}\" is not supported; leave it out{}",
                self.or_use_default()
            )),
            Support::Refused(reason) => Err(format!(
                "\"{value}\" is not supported: {reason}; leave it out{}",
                self.or_use_default()
            )),
            Support::Ignored(reason) => Err(format!("not supported: {reason}; leave it out")),
        }
    }

    /// A list without the blanks around its commas.
    fn without_blanks(&self, value: &str) -> String {
        if self.kind == SettingKind::List {
            list_items(value).collect::<Vec<_>>().join(",")
        } else {
            value.to_owned()
        }
    }

    fn is_default(&self, value: &str) -> bool {
        self.default
            .map_or(value.trim().is_empty(), |default| self.same(value, default))
    }

    fn or_use_default(&self) -> String {
        self.default
            .filter(|default| !default.is_empty())
            .map_or_else(String::new, |default| format!(" or use \"{default}\""))
    }

    fn check_type(&self, value: &str) -> Result<(), String> {
        let valid = match self.kind {
            SettingKind::Boolean => matches!(value.trim(), "true" | "false"),
            SettingKind::Short => value.trim().parse::<i16>().is_ok(),
            SettingKind::Int => value.trim().parse::<i32>().is_ok(),
            SettingKind::Long => value.trim().parse::<i64>().is_ok(),
            SettingKind::Double => value.trim().parse::<f64>().is_ok_and(f64::is_finite),
            SettingKind::String | SettingKind::List | SettingKind::Password => true,
        };
        if valid {
            Ok(())
        } else {
            Err(format!("\"{value}\" is not {}", self.kind.description()))
        }
    }

    fn check_rule(&self, value: &str) -> Result<(), String> {
        let number = || value.trim().parse::<i64>().unwrap_or_default();
        match self.rule {
            Rule::Any => Ok(()),
            Rule::AtLeast(least) if number() >= least => Ok(()),
            Rule::AtLeast(least) => Err(format!("{value} is too small; the least is {least}")),
            Rule::Between(least, most) if (least..=most).contains(&number()) => Ok(()),
            Rule::Between(least, most) => Err(format!("{value} is not from {least} to {most}")),
            Rule::OneOf(words) if words.contains(&value) => Ok(()),
            Rule::OneOf(words) => Err(format!("\"{value}\" is not one of {}", words.join(", "))),
            Rule::OneOfAnyCase(words)
                if words.iter().any(|word| word.eq_ignore_ascii_case(value)) =>
            {
                Ok(())
            }
            Rule::OneOfAnyCase(words) => {
                Err(format!("\"{value}\" is not one of {}", words.join(", ")))
            }
            Rule::ListOf(words) => check_list(value, words),
            Rule::Ratio
                if value
                    .trim()
                    .parse::<f64>()
                    .is_ok_and(|ratio| (0.0..=1.0).contains(&ratio)) =>
            {
                Ok(())
            }
            Rule::Ratio => Err(format!("{value} is not from 0 to 1")),
            Rule::Flush if FlushSetting::parse(value).is_some() => Ok(()),
            Rule::Flush => Err(format!(
                "\"{value}\" is not auto, commit, os or an interval such as 100ms"
            )),
        }
    }

    /// Whether two texts mean the same value of this type: `0.50` is `0.5`.
    fn same(&self, left: &str, right: &str) -> bool {
        match self.kind {
            SettingKind::Double => {
                left.trim().parse::<f64>().ok() == right.trim().parse::<f64>().ok()
            }
            SettingKind::Int | SettingKind::Long | SettingKind::Short => {
                left.trim().parse::<i64>().ok() == right.trim().parse::<i64>().ok()
            }
            SettingKind::Boolean
            | SettingKind::String
            | SettingKind::List
            | SettingKind::Password => left.trim() == right.trim(),
        }
    }
}

impl SettingKind {
    /// What a value of this type is, for messages.
    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Short => "a whole number of 16 bits",
            Self::Int => "a whole number of 32 bits",
            Self::Long => "a whole number of 64 bits",
            Self::Double => "a number",
            Self::String | Self::Password => "text",
            Self::List => "a list",
        }
    }
}

/// The parts of a list value; blanks around the commas do not count.
pub(crate) fn list_items(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn check_list(value: &str, words: &[&str]) -> Result<(), String> {
    let items: Vec<&str> = list_items(value).collect();
    if items.is_empty() {
        return Err(format!(
            "the list is empty; use one or more of {}",
            words.join(", ")
        ));
    }
    for (index, item) in items.iter().enumerate() {
        if !words.contains(item) {
            return Err(format!("\"{item}\" is not one of {}", words.join(", ")));
        }
        if items.iter().take(index).any(|earlier| earlier == item) {
            return Err(format!("\"{item}\" is listed twice"));
        }
    }
    Ok(())
}
