//! 128-bit ids of topics, directories and clusters in Kafka's text form.

use std::fmt;
use std::str::FromStr;

/// A 128-bit id. Its text form is 22 characters of unpadded base64url, as Kafka prints topic ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

/// The text is not 22 characters of base64url.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not an id of 22 base64url characters")]
pub struct ParseUuidError {
    text: String,
}

impl Uuid {
    /// The id that stands for "none".
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this is the id that stands for "none".
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The 16 bytes, most significant first.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(TEXT_LEN);
        let mut bits = u128::from_be_bytes(self.0);
        // 128 bits are 21 groups of six and one of two, which is padded with zero bits below.
        for _ in 0..TEXT_LEN {
            let group = (bits >> 122) as usize;
            text.push(char::from(ALPHABET[group]));
            bits <<= 6;
        }
        formatter.pad(&text)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        let wrong = || ParseUuidError {
            text: text.to_owned(),
        };
        if text.len() != TEXT_LEN {
            return Err(wrong());
        }
        let mut bits: u128 = 0;
        for (index, byte) in text.bytes().enumerate() {
            let group = ALPHABET
                .iter()
                .position(|letter| *letter == byte)
                .ok_or_else(wrong)? as u128;
            if index < TEXT_LEN - 1 {
                bits = bits << 6 | group;
            } else if group & 0b1111 == 0 {
                bits = bits << 2 | group >> 4;
            } else {
                return Err(wrong());
            }
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

const TEXT_LEN: usize = 22;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_kafkas() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        let one = Uuid(1u128.to_be_bytes());
        assert_eq!(one.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        let id = Uuid([
            0xf3, 0xc1, 0x42, 0x1a, 0x9e, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0xfe, 0xff,
        ]);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn wrong_text_is_refused() {
        for text in [
            "",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAA+",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }
}
