//! One setting: its name, type, default and the values it accepts.

use super::flush::FlushSetting;

/// A topic or broker setting as a row of its table.
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
    /// The broker setting that gives the default of a topic setting.
    pub synonym: Option<&'static str>,
    /// Whether values other than the default have an effect here.
    pub support: Support,
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
}

impl Setting {
    /// Checks one value.
    ///
    /// # Errors
    /// A sentence about the value, without the setting's name.
    pub fn check(&self, value: &str) -> Result<(), String> {
        self.check_type(value)?;
        self.check_rule(value)?;
        let default = self.default.unwrap_or_default();
        match self.support {
            Support::Full => Ok(()),
            Support::DefaultOnly if self.same(value, default) => Ok(()),
            Support::DefaultOnly => Err(format!(
                "\"{value}\" is not supported yet; leave it out or use \"{default}\""
            )),
            Support::Only(values) if values.contains(&value) => Ok(()),
            Support::Only(values) => Err(format!(
                "\"{value}\" is not supported yet; use one of {}",
                values.join(", ")
            )),
        }
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
    const fn description(self) -> &'static str {
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
