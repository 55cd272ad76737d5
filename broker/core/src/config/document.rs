//! The page that lists all settings, written from the tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::setting::{Rule, Setting, SettingKind, Support};
use super::{broker_settings, group_settings, topic_settings};

/// The page `docs/settings.md`.
#[must_use]
pub fn settings_document() -> String {
    let mut page = INTRODUCTION.to_owned();
    page += "\n## Topic settings\n\n";
    page += "Set when a topic is created, and at any time after. Where a topic has no value of its own, the broker \
             setting named under *default from* gives it.\n\n";
    page +=
        "| name | type | default | valid | default from | meaning |\n|---|---|---|---|---|---|\n";
    for setting in topic_settings() {
        row(
            &mut page,
            setting,
            &valid(setting),
            &code_or_dash(setting.synonym),
        );
    }
    page += "\n## Broker settings\n\n";
    page += "*Changes*: `live` settings can be changed while the broker runs, for one broker or for all; the others are \
             read when it starts.\n\n";
    page += "| name | type | default | valid | changes | meaning |\n|---|---|---|---|---|---|\n";
    for setting in broker_settings()
        .iter()
        .filter(|setting| setting.is_served())
    {
        let changes = if setting.dynamic { "live" } else { "at start" };
        row(&mut page, setting, &valid_for_broker(setting), changes);
    }
    page += "\n## Group settings\n\n";
    page += "Set for one group at any time, before or after it has members.\n\n";
    page +=
        "| name | type | default | valid | default from | meaning |\n|---|---|---|---|---|---|\n";
    for setting in group_settings()
        .iter()
        .filter(|setting| setting.is_served())
    {
        row(
            &mut page,
            setting,
            &valid(setting),
            &code_or_dash(setting.synonym),
        );
    }
    page += "\n## Kafka's settings that are not supported\n\n";
    page += "They are refused by name, with the reason. Those marked *ignored* may stand in a configuration file, which \
             gives a note; of the others a file may have Kafka's default.\n";
    for (scope, settings) in [("Broker", broker_settings()), ("Group", group_settings())] {
        let _ = write!(page, "\n### {scope} settings\n\n");
        unsupported(&mut page, settings);
    }
    page
}

fn row(page: &mut String, setting: &Setting, valid: &str, column: &str) {
    let default = match setting.default {
        None => "not set".to_owned(),
        Some("") => "empty".to_owned(),
        Some(default) => format!("`{default}`"),
    };
    let _ = writeln!(
        page,
        "| `{}` | {} | {default} | {valid} | {column} | {} |",
        setting.name,
        kind(setting.kind),
        setting.doc
    );
}

fn code_or_dash(name: Option<&str>) -> String {
    name.map_or_else(|| "–".to_owned(), |name| format!("`{name}`"))
}

const fn kind(kind: SettingKind) -> &'static str {
    match kind {
        SettingKind::Boolean => "boolean",
        SettingKind::String => "string",
        SettingKind::Int => "int",
        SettingKind::Short => "short",
        SettingKind::Long => "long",
        SettingKind::Double => "double",
        SettingKind::List => "list",
        SettingKind::Password => "password",
    }
}

/// A broker setting that is the default of a topic setting is checked as that one.
fn valid_for_broker(setting: &Setting) -> String {
    let topic = topic_settings()
        .iter()
        .find(|topic| topic.synonym == Some(setting.name));
    valid(topic.unwrap_or(setting))
}

fn valid(setting: &Setting) -> String {
    match setting.support {
        Support::DefaultOnly | Support::Refused(_) | Support::Ignored(_) => {
            return "the default only; others are not supported".to_owned();
        }
        Support::Only(values) => return words(values),
        Support::Full => {}
    }
    match setting.rule {
        Rule::Any if setting.kind == SettingKind::Boolean => words(&["true", "false"]),
        Rule::Any => "any".to_owned(),
        Rule::AtLeast(least) => format!("from {least}"),
        Rule::Between(least, most) => format!("{least} to {most}"),
        Rule::OneOf(choices) | Rule::OneOfAnyCase(choices) => words(choices),
        Rule::ListOf(choices) => format!("one or more of {}", words(choices)),
        Rule::Ratio => "0 to 1".to_owned(),
        Rule::Flush => "`auto`, `commit`, `os`, or an interval".to_owned(),
    }
}

fn words(values: &[&str]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
    quoted.join(", ")
}

/// Settings by the reason for which they are not supported.
fn unsupported(page: &mut String, settings: &[Setting]) {
    let mut by_reason: BTreeMap<(&str, bool), Vec<String>> = BTreeMap::new();
    for setting in settings {
        let (reason, ignored) = match setting.support {
            Support::Refused(reason) => (reason, false),
            Support::Ignored(reason) => (reason, true),
            Support::Full | Support::Only(_) | Support::DefaultOnly => continue,
        };
        by_reason
            .entry((reason, ignored))
            .or_default()
            .push(format!("`{}`", setting.name));
    }
    for ((reason, ignored), names) in by_reason {
        let mark = if ignored { " (*ignored*)" } else { "" };
        let _ = writeln!(page, "- {reason}{mark}: {}", names.join(", "));
    }
}

const INTRODUCTION: &str = "\
<!-- Written from the tables in broker/core/src/config; a test compares. UPDATE_EXPECT=1 cargo test -p moldau-broker settings_document writes it anew. -->
# Settings

Settings have Kafka's names, types and defaults; a few are Moldau's own and say so. What is not supported is refused with
that word and never stored.

## Where a value comes from

For a broker setting, the first of these that has a value:

1. set for this broker while it ran: `kafka-configs --entity-type brokers --entity-name 1 --alter --add-config …`
2. set for all brokers while they ran: `kafka-configs --entity-type brokers --entity-default --alter --add-config …`
3. `-o NAME=VALUE` on the command line of `moldau broker` or `moldau start`
4. `--kafka ADDR` (`listeners`) and `--data-dir DIR` (`log.dirs`) on the command line
5. the file of `moldau broker --config FILE`, or the section `broker:` of a `moldau.yaml`
6. the default

Values of 1 and 2 live in the metadata log: they work at once, in topics that exist as well, and survive a restart.

## The configuration file

`moldau broker --config server.properties` reads a file of Kafka as it is: `name=value` lines, listeners with names and
`listener.security.protocol.map`, `advertised.listeners`, the settings of a combined node (`process.roles`,
`controller.*`). A file that ends in `.yaml` or `.yml` is YAML with the same names; maps inside maps stand for the dots:

```yaml
node.id: 1
listeners: PLAINTEXT://:9092
log:
  dirs: /var/lib/moldau
  retention.hours: 24
```

Every mistake is told with its line, and a misspelt name with the one that was probably meant.
";
