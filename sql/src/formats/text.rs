//! Text to values of a type, as DELIMITED fields and quoted JSON values hold them.

use std::borrow::Cow;

use arrow::array::types::{Date32Type, Time32MillisecondType};
use arrow::compute::kernels::cast_utils::{Parser, string_to_timestamp_nanos};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Datum, DecodeError};
use crate::types::SqlType;

/// Reads a text as a value of a scalar type.
pub(super) fn parse<'a>(text: Cow<'a, str>, sql_type: &SqlType) -> Result<Datum<'a>, DecodeError> {
    let parsed = match sql_type {
        SqlType::Varchar => return Ok(Datum::Text(text)),
        SqlType::Boolean => parse_boolean(&text).map(Datum::Boolean),
        SqlType::Int => integer(text.trim())
            .filter(|value| i32::try_from(*value).is_ok())
            .map(Datum::Integer),
        SqlType::BigInt => integer(text.trim()).map(Datum::Integer),
        SqlType::Double => text.trim().parse().ok().map(Datum::Double),
        SqlType::Decimal { precision, scale } => {
            decimal(text.trim(), *precision, *scale).map(Datum::Decimal)
        }
        SqlType::Bytes => STANDARD
            .decode(text.as_bytes())
            .ok()
            .map(|bytes| Datum::Bytes(Cow::Owned(bytes))),
        SqlType::Timestamp => timestamp(text.trim()).map(Datum::Integer),
        SqlType::Date => text
            .trim()
            .parse::<i32>()
            .ok()
            .or_else(|| Date32Type::parse(text.trim()))
            .map(|days| Datum::Integer(i64::from(days))),
        SqlType::Time => text
            .trim()
            .parse::<i32>()
            .ok()
            .or_else(|| Time32MillisecondType::parse(text.trim()))
            .map(|ms| Datum::Integer(i64::from(ms))),
        SqlType::Array(_) | SqlType::Map(_, _) | SqlType::Struct(_) => None,
    };
    parsed.ok_or_else(|| mismatch(&text, sql_type))
}

/// `.. is not of type ..`, with a long text cut.
pub(super) fn mismatch(text: &str, sql_type: &SqlType) -> DecodeError {
    let shown: String = text.chars().take(40).collect();
    let dots = if shown.len() < text.len() { ".." } else { "" };
    DecodeError::new(format!("`{shown}{dots}` is not of type {sql_type}"))
}

/// A whole number; `1.0` and `1e3` are whole, `1.5` is not.
pub(super) fn integer(text: &str) -> Option<i64> {
    if let Ok(value) = text.parse() {
        return Some(value);
    }
    i64::try_from(decimal(text, 38, 0)?).ok()
}

/// Milliseconds since 1970: a whole number or a date and time in ISO 8601.
fn timestamp(text: &str) -> Option<i64> {
    if let Ok(ms) = text.parse() {
        return Some(ms);
    }
    let nanos = string_to_timestamp_nanos(text).ok()?;
    Some(nanos.div_euclid(1_000_000))
}

fn parse_boolean(text: &str) -> Option<bool> {
    match text.trim() {
        t if t.eq_ignore_ascii_case("true") => Some(true),
        t if t.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Reads a decimal number exactly. `None` if digits would be lost or there are too many.
pub(super) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value: i128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value
            .checked_mul(10)?
            .checked_add(i128::from(byte - b'0'))?;
    }
    let shift = i32::from(scale)
        .checked_add(exponent)?
        .checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let shifted = shift_decimal(value, shift)?;
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    (shifted < limit).then_some(if negative { -shifted } else { shifted })
}

/// `value * 10^shift`, if that is exact.
fn shift_decimal(value: i128, shift: i32) -> Option<i128> {
    if value == 0 {
        return Some(0);
    }
    let power = 10_i128.checked_pow(shift.unsigned_abs());
    if shift >= 0 {
        value.checked_mul(power?)
    } else {
        let power = power?;
        (value % power == 0).then_some(value / power)
    }
}
