//! JSON to values of the wanted columns; all other members are passed over.

use std::borrow::Cow;

use hashbrown::HashMap;

use super::cursor::{JsonCursor, too_deep};
use crate::formats::{Datum, DecodeError, text};
use crate::types::{Column, SqlType};

/// So many members of an object are expected in the place where the last record had them.
const MAX_EXPECTED: usize = 256;

/// Nested columns deeper than this are refused.
const MAX_DEPTH: usize = 32;

/// Reads the wanted members of an object.
#[derive(Debug)]
pub struct JsonDecoder {
    /// The record is the value of the one column itself, not an object.
    bare: bool,
    /// Types of the wanted columns.
    types: Vec<SqlType>,
    names: Vec<String>,
    /// Lower-case name to slot.
    slots: HashMap<String, usize>,
    /// The names that the last record had, in order, with their slots: records of one topic look
    /// alike, and comparing bytes is cheaper than hashing a folded name.
    expected: Vec<(Vec<u8>, Option<usize>)>,
}

impl JsonDecoder {
    pub(in crate::formats) fn new(columns: &[Column], bare: bool, wanted: &[usize]) -> Self {
        let wanted: Vec<&Column> = wanted.iter().filter_map(|at| columns.get(*at)).collect();
        let slots = wanted.iter().enumerate();
        Self {
            bare,
            types: wanted
                .iter()
                .map(|column| column.sql_type.clone())
                .collect(),
            names: wanted.iter().map(|column| column.name.clone()).collect(),
            slots: slots
                .map(|(slot, column)| (column.name.to_lowercase(), slot))
                .collect(),
            expected: Vec::new(),
        }
    }

    pub(in crate::formats) fn decode<'a>(
        &mut self,
        bytes: &'a [u8],
        slots: &mut [Datum<'a>],
    ) -> Result<(), DecodeError> {
        let mut cursor = JsonCursor::new(bytes);
        if self.bare {
            if let (Some(sql_type), Some(slot)) = (self.types.first(), slots.first_mut()) {
                *slot = read_value(&mut cursor, sql_type, 0)?;
            }
        } else if cursor.peek() == Some(b'n') && cursor.eat_literal(b"null") {
            return cursor.expect_end();
        } else {
            self.decode_object(&mut cursor, slots)?;
        }
        cursor.expect_end()
    }

    fn decode_object<'a>(
        &mut self,
        cursor: &mut JsonCursor<'a>,
        slots: &mut [Datum<'a>],
    ) -> Result<(), DecodeError> {
        cursor.expect(b'{')?;
        if cursor.eat(b'}') {
            return Ok(());
        }
        let mut place = 0;
        loop {
            let (raw, escaped) = cursor.raw_string()?;
            cursor.expect(b':')?;
            let slot = self.slot(place, raw, escaped);
            place += 1;
            match slot {
                Some(index) => {
                    let value = read_value(cursor, &self.types[index], 0).map_err(|error| {
                        DecodeError::new(format!("column `{}`: {error}", self.names[index]))
                    })?;
                    if let Some(slot) = slots.get_mut(index) {
                        *slot = value;
                    }
                }
                None => {
                    cursor.skip_value()?;
                }
            }
            if cursor.eat(b'}') {
                return Ok(());
            }
            cursor.expect(b',')?;
        }
    }

    fn slot(&mut self, place: usize, raw: &[u8], escaped: bool) -> Option<usize> {
        if let Some((name, slot)) = self.expected.get(place)
            && name == raw
        {
            return *slot;
        }
        let slot = self.look_up(raw, escaped);
        if place < MAX_EXPECTED {
            self.expected.truncate(place);
            if self.expected.len() == place {
                self.expected.push((raw.to_vec(), slot));
            }
        }
        slot
    }

    fn look_up(&self, raw: &[u8], escaped: bool) -> Option<usize> {
        let folded = if escaped {
            let quoted = [b"\"", raw, b"\""].concat();
            JsonCursor::new(&quoted).string().ok()?.to_lowercase()
        } else {
            std::str::from_utf8(raw).ok()?.to_lowercase()
        };
        self.slots.get(&folded).copied()
    }
}

/// Reads one value as a type.
///
/// As tolerant as ksqlDB: numbers in quotes are numbers, and anything is a VARCHAR.
fn read_value<'a>(
    cursor: &mut JsonCursor<'a>,
    sql_type: &SqlType,
    depth: usize,
) -> Result<Datum<'a>, DecodeError> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    match (cursor.peek(), sql_type) {
        (None, _) => Err(cursor.unexpected("a value")),
        (Some(b'n'), _) if cursor.eat_literal(b"null") => Ok(Datum::Null),
        (Some(b'['), SqlType::Array(item)) => read_array(cursor, item, depth),
        (Some(b'{'), SqlType::Map(_, value)) => read_map(cursor, value, depth),
        (Some(b'{'), SqlType::Struct(fields)) => read_struct(cursor, fields, depth),
        (Some(b't'), SqlType::Boolean) if cursor.eat_literal(b"true") => Ok(Datum::Boolean(true)),
        (Some(b'f'), SqlType::Boolean) if cursor.eat_literal(b"false") => Ok(Datum::Boolean(false)),
        (Some(b'"'), SqlType::Boolean) => Err(mismatch(cursor, sql_type)),
        (Some(b'"'), _) => text::parse(cursor.string()?, sql_type),
        (Some(b'-' | b'0'..=b'9'), SqlType::Varchar) => {
            Ok(Datum::Text(Cow::Borrowed(cursor.number()?)))
        }
        (Some(b'-' | b'0'..=b'9'), _) => read_number(cursor, sql_type),
        (Some(_), SqlType::Varchar) => {
            let raw = cursor.skip_value()?;
            match std::str::from_utf8(raw) {
                Ok(text) => Ok(Datum::Text(Cow::Borrowed(text))),
                Err(_) => Err(DecodeError::new("a value is not UTF-8")),
            }
        }
        _ => Err(mismatch(cursor, sql_type)),
    }
}

fn mismatch(cursor: &mut JsonCursor<'_>, sql_type: &SqlType) -> DecodeError {
    match cursor.skip_value() {
        Ok(raw) => text::mismatch(&String::from_utf8_lossy(raw), sql_type),
        Err(error) => error,
    }
}

fn read_number<'a>(
    cursor: &mut JsonCursor<'a>,
    sql_type: &SqlType,
) -> Result<Datum<'a>, DecodeError> {
    let number = cursor.number()?;
    let parsed = match sql_type {
        SqlType::BigInt | SqlType::Timestamp => text::integer(number).map(Datum::Integer),
        SqlType::Int | SqlType::Date | SqlType::Time => text::integer(number)
            .filter(|value| i32::try_from(*value).is_ok())
            .map(Datum::Integer),
        SqlType::Double => number.parse().ok().map(Datum::Double),
        SqlType::Decimal { precision, scale } => {
            text::decimal(number, *precision, *scale).map(Datum::Decimal)
        }
        _ => None,
    };
    parsed.ok_or_else(|| text::mismatch(number, sql_type))
}

fn read_array<'a>(
    cursor: &mut JsonCursor<'a>,
    item: &SqlType,
    depth: usize,
) -> Result<Datum<'a>, DecodeError> {
    let mut items = Vec::new();
    cursor.expect(b'[')?;
    if cursor.eat(b']') {
        return Ok(Datum::List(items));
    }
    loop {
        items.push(read_value(cursor, item, depth + 1)?);
        if cursor.eat(b']') {
            return Ok(Datum::List(items));
        }
        cursor.expect(b',')?;
    }
}

fn read_map<'a>(
    cursor: &mut JsonCursor<'a>,
    value: &SqlType,
    depth: usize,
) -> Result<Datum<'a>, DecodeError> {
    let mut entries = Vec::new();
    cursor.expect(b'{')?;
    if cursor.eat(b'}') {
        return Ok(Datum::Map(entries));
    }
    loop {
        let name = cursor.string()?;
        cursor.expect(b':')?;
        entries.push((name, read_value(cursor, value, depth + 1)?));
        if cursor.eat(b'}') {
            return Ok(Datum::Map(entries));
        }
        cursor.expect(b',')?;
    }
}

fn read_struct<'a>(
    cursor: &mut JsonCursor<'a>,
    fields: &[(String, SqlType)],
    depth: usize,
) -> Result<Datum<'a>, DecodeError> {
    let mut values = vec![Datum::Null; fields.len()];
    cursor.expect(b'{')?;
    if cursor.eat(b'}') {
        return Ok(Datum::Struct(values));
    }
    loop {
        let name = cursor.string()?;
        cursor.expect(b':')?;
        let index = fields.iter().position(|(field, _)| {
            field.eq_ignore_ascii_case(&name) || field.to_lowercase() == name.to_lowercase()
        });
        match index {
            Some(index) => values[index] = read_value(cursor, &fields[index].1, depth + 1)?,
            None => {
                cursor.skip_value()?;
            }
        }
        if cursor.eat(b'}') {
            return Ok(Datum::Struct(values));
        }
        cursor.expect(b',')?;
    }
}
