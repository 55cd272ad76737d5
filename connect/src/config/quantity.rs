//! Durations (`10s`, `5m`), sizes (`64MiB`) and rates (`50/s`).

use std::time::Duration;

/// Reads `500ms`, `10s`, `5m`, `1h`, `7d`; `0` alone is allowed.
///
/// # Errors
/// A sentence for the user when the text is none of these.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let milliseconds_per_unit = match unit {
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" | "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        "" if number == 0.0 => 1.0,
        "" => return Err(format!("`{text}` has no unit: write for example `{text}s`")),
        _ => return Err(format!("`{unit}` is no unit of time: use ms, s, m, h or d")),
    };
    let milliseconds = number * milliseconds_per_unit;
    if milliseconds > MAX_MILLISECONDS {
        return Err(format!("`{text}` is longer than ten years"));
    }
    Ok(Duration::from_secs_f64(milliseconds / 1_000.0))
}

/// Reads `4096`, `64KiB`, `64MiB`, `1GiB` and the decimal `kB`, `MB`, `GB` into bytes.
///
/// # Errors
/// A sentence for the user when the text is none of these.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let bytes_per_unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        _ => {
            return Err(format!(
                "`{unit}` is no unit of size: use B, KiB, MiB or GiB"
            ));
        }
    };
    let bytes = number * bytes_per_unit;
    if bytes > MAX_BYTES {
        return Err(format!("`{text}` is more than one PiB"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is between 0 and MAX_BYTES"
    )]
    Ok(bytes as u64)
}

/// Reads `50`, `50/s`, `10/m` or `100/h` into events per second.
///
/// # Errors
/// A sentence for the user when the text is none of these.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let (number, rest) = split(number.trim())?;
    let seconds = match (rest, unit.trim()) {
        ("", "s") => 1.0,
        ("", "m" | "min") => 60.0,
        ("", "h") => 3_600.0,
        _ => return Err(format!("`{text}` is no rate: write for example `50/s`")),
    };
    if number <= 0.0 {
        return Err(format!("`{text}` is no rate: it must be above 0"));
    }
    Ok(number / seconds)
}

/// The number and the unit behind it; `_` may group digits.
fn split(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number
        .replace('_', "")
        .parse()
        .map_err(|_| format!("`{text}` does not begin with a number"))?;
    Ok((number, unit.trim()))
}

const MAX_MILLISECONDS: f64 = 10.0 * 366.0 * 86_400_000.0;
const MAX_BYTES: f64 = 1_125_899_906_842_624.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5 s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(
            duration("10"),
            Err("`10` has no unit: write for example `10s`".to_owned())
        );
        assert!(duration("ten").is_err());
        assert!(duration("10 fortnights").is_err());
        assert!(duration("-1s").is_err());
        assert!(duration("99999999d").is_err());
    }

    #[test]
    fn sizes_are_binary_or_decimal_by_their_unit() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1_000"), Ok(1000));
        assert_eq!(size("1 GB"), Ok(1_000_000_000));
        assert_eq!(size("1.5KiB"), Ok(1536));
        assert!(size("12 parsecs").is_err());
        assert!(size("9999999GiB").is_err());
    }

    #[test]
    fn rates_are_per_second_unless_they_say_otherwise() {
        assert_eq!(rate("50"), Ok(50.0));
        assert_eq!(rate("50/s"), Ok(50.0));
        assert_eq!(rate("120/m"), Ok(2.0));
        assert!(rate("0").is_err());
        assert!(rate("5/fortnight").is_err());
        assert!(rate("5s").is_err());
    }
}
