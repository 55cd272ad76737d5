//! The `WITH` clause of a `CREATE`.

use crate::catalog::nearest;
use crate::error::{Position, SqlError};
use crate::formats::Format;
use crate::parser::Property;

/// What may stand in `WITH (..)`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Properties {
    pub(crate) topic: Option<String>,
    pub(crate) key_format: Option<Format>,
    pub(crate) value_format: Option<Format>,
    pub(crate) partitions: Option<i32>,
    pub(crate) replicas: Option<i16>,
    pub(crate) timestamp: Option<(String, Position)>,
    pub(crate) window_size_ms: Option<i64>,
}

const NAMES: [&str; 11] = [
    "KAFKA_TOPIC",
    "VALUE_FORMAT",
    "KEY_FORMAT",
    "FORMAT",
    "VALUE_DELIMITER",
    "PARTITIONS",
    "REPLICAS",
    "TIMESTAMP",
    "WINDOW_TYPE",
    "WINDOW_SIZE",
    "WRAP_SINGLE_VALUE",
];

impl Properties {
    pub(crate) fn read(list: &[Property]) -> Result<Self, SqlError> {
        let mut properties = Self::default();
        let mut delimiter = None;
        for property in list {
            let value = property.value.as_str();
            match property.name.as_str() {
                "KAFKA_TOPIC" => properties.topic = Some(value.to_owned()),
                "VALUE_FORMAT" => properties.value_format = Some(format(property)?),
                "KEY_FORMAT" => properties.key_format = Some(format(property)?),
                "FORMAT" => {
                    properties.key_format = Some(format(property)?);
                    properties.value_format = Some(format(property)?);
                }
                "VALUE_DELIMITER" => delimiter = Some(read_delimiter(property)?),
                "PARTITIONS" => properties.partitions = Some(number(property)?),
                "REPLICAS" => properties.replicas = Some(number(property)?),
                "TIMESTAMP" => {
                    let name = value.trim_matches('`').to_lowercase();
                    properties.timestamp = Some((name, property.position));
                }
                "WINDOW_TYPE" if value.eq_ignore_ascii_case("TUMBLING") => {}
                "WINDOW_SIZE" => properties.window_size_ms = Some(duration(property)?),
                "WRAP_SINGLE_VALUE" if value.eq_ignore_ascii_case("true") => {}
                "WINDOW_TYPE" | "WRAP_SINGLE_VALUE" => {
                    return Err(
                        SqlError::unsupported(format!("{} = {value}", property.name))
                            .at(property.position),
                    );
                }
                other => return Err(unknown(other).at(property.position)),
            }
        }
        if let Some(written) = delimiter {
            match &mut properties.value_format {
                Some(Format::Delimited { delimiter }) => *delimiter = written,
                _ => {
                    return Err(SqlError::invalid(
                        "VALUE_DELIMITER without VALUE_FORMAT = 'DELIMITED'",
                    ));
                }
            }
        }
        Ok(properties)
    }
}

fn unknown(name: &str) -> SqlError {
    let error = match name {
        "TIMESTAMP_FORMAT"
        | "KEY"
        | "VALUE_AVRO_SCHEMA_FULL_NAME"
        | "KEY_SCHEMA_ID"
        | "VALUE_SCHEMA_ID"
        | "RETENTION_MS"
        | "CLEANUP_POLICY"
        | "KEY_DELIMITER" => SqlError::unsupported(format!("the property {name}")),
        _ => SqlError::invalid(format!("unknown property {name}")),
    };
    match nearest(name, NAMES.into_iter()) {
        Some(similar) => error.with_hint(format!("did you mean {similar}?")),
        None => error.with_hint(format!("properties are {}", NAMES.join(", "))),
    }
}

fn format(property: &Property) -> Result<Format, SqlError> {
    property
        .value
        .parse()
        .map_err(|error: SqlError| error.at(property.position))
}

fn number<N: std::str::FromStr + PartialOrd + From<i8>>(
    property: &Property,
) -> Result<N, SqlError> {
    property
        .value
        .parse()
        .ok()
        .filter(|number| *number > N::from(0))
        .ok_or_else(|| {
            SqlError::invalid(format!(
                "{} is `{}`, not a whole number above 0",
                property.name, property.value
            ))
            .at(property.position)
        })
}

fn read_delimiter(property: &Property) -> Result<char, SqlError> {
    let mut chars = property.value.chars();
    match (property.value.as_str(), chars.next(), chars.next()) {
        ("TAB", ..) => Ok('\t'),
        ("SPACE", ..) => Ok(' '),
        (_, Some(delimiter), None) if delimiter != '"' => Ok(delimiter),
        _ => Err(
            SqlError::invalid(format!("VALUE_DELIMITER is `{}`", property.value))
                .at(property.position)
                .with_hint("it is one character, TAB or SPACE"),
        ),
    }
}

/// `'10 SECONDS'` in milliseconds.
fn duration(property: &Property) -> Result<i64, SqlError> {
    let mut words = property.value.split_whitespace();
    let count: Option<i64> = words.next().and_then(|word| word.parse().ok());
    let unit = words.next().map(str::to_uppercase).unwrap_or_default();
    let unit_ms = match unit.trim_end_matches('S') {
        "MILLISECOND" => 1,
        "SECOND" => 1_000,
        "MINUTE" => 60_000,
        "HOUR" => 3_600_000,
        "DAY" => 86_400_000,
        _ => 0,
    };
    count
        .and_then(|count| count.checked_mul(unit_ms))
        .filter(|ms| *ms > 0)
        .ok_or_else(|| {
            SqlError::invalid(format!("WINDOW_SIZE is `{}`", property.value))
                .at(property.position)
                .with_hint("for example WINDOW_SIZE = '10 SECONDS'")
        })
}
