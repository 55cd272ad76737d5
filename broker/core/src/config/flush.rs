//! When written records are on disk: the topic setting `flush`.

/// When records count as safe where a partition has only one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    /// On disk before `acks=all` is answered and before consumers see them (group commit).
    Commit,
    /// In the page cache; the operating system writes them out.
    Os,
    /// In the page cache when answered, on disk within `ms` milliseconds.
    Interval {
        /// The longest time that a written record stays unsynced.
        ms: i64,
    },
}

/// The value of the topic setting `flush`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushSetting {
    /// `commit` where a partition has one replica, `os` where others hold a copy.
    #[default]
    Auto,
    /// The same mode whatever the number of replicas.
    Fixed(FlushMode),
}

impl FlushSetting {
    /// Reads `auto`, `commit`, `os` or an interval such as `100ms`, `2s`, `1m`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "commit" => Some(Self::Fixed(FlushMode::Commit)),
            "os" => Some(Self::Fixed(FlushMode::Os)),
            interval => Some(Self::Fixed(FlushMode::Interval {
                ms: parse_interval_ms(interval)?,
            })),
        }
    }

    /// The mode for a partition with this many replicas.
    #[must_use]
    pub const fn mode(self, replicas: usize) -> FlushMode {
        match self {
            Self::Fixed(mode) => mode,
            Self::Auto if replicas > 1 => FlushMode::Os,
            Self::Auto => FlushMode::Commit,
        }
    }
}

/// A positive whole number with `ms`, `s` or `m`; without a unit it counts milliseconds.
fn parse_interval_ms(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    number
        .parse::<i64>()
        .ok()?
        .checked_mul(factor)
        .filter(|ms| *ms > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_flush_setting() {
        let interval = |ms| Some(FlushSetting::Fixed(FlushMode::Interval { ms }));
        for (text, expected) in [
            ("auto", Some(FlushSetting::Auto)),
            ("commit", Some(FlushSetting::Fixed(FlushMode::Commit))),
            ("os", Some(FlushSetting::Fixed(FlushMode::Os))),
            ("100ms", interval(100)),
            ("250", interval(250)),
            ("2s", interval(2_000)),
            ("1m", interval(60_000)),
            ("0ms", None),
            ("-5ms", None),
            ("ms", None),
            ("", None),
            ("1h", None),
            ("99999999999999999999", None),
            ("9223372036854775807s", None),
        ] {
            assert_eq!(FlushSetting::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_single_copy_is_synced_before_it_is_acknowledged_unless_told_otherwise() {
        assert_eq!(FlushSetting::Auto.mode(1), FlushMode::Commit);
        assert_eq!(FlushSetting::Auto.mode(3), FlushMode::Os);
        assert_eq!(FlushSetting::Fixed(FlushMode::Os).mode(1), FlushMode::Os);
    }
}
