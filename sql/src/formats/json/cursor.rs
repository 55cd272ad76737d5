//! A position in the bytes of a JSON text.

use std::borrow::Cow;

use crate::formats::DecodeError;

/// Nesting deeper than this is refused, so that no record can exhaust the stack.
const MAX_DEPTH: usize = 64;

/// Reads JSON (RFC 8259) from left to right, without building a tree.
#[derive(Debug)]
pub(super) struct JsonCursor<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> JsonCursor<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    /// The next byte that is not white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.input.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), DecodeError> {
        if self.eat(byte) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{}`", char::from(byte))))
        }
    }

    pub(super) fn expect_end(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end")),
        }
    }

    pub(super) fn eat_literal(&mut self, literal: &[u8]) -> bool {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let found = rest.starts_with(literal);
        if found {
            self.at += literal.len();
        }
        found
    }

    /// The bytes between the quotes, and whether they hold escapes.
    pub(super) fn raw_string(&mut self) -> Result<(&'a [u8], bool), DecodeError> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.input.get(self.at) {
                Some(b'"') => {
                    let raw = &self.input[start..self.at];
                    self.at += 1;
                    return Ok((raw, escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(0..0x20) => return Err(self.unexpected("no control character")),
                Some(_) => self.at += 1,
                None => return Err(DecodeError::new("a string has no end")),
            }
        }
    }

    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let (raw, escaped) = self.raw_string()?;
        let text =
            std::str::from_utf8(raw).map_err(|_| DecodeError::new("a string is not UTF-8"))?;
        if escaped {
            unescape(text).map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(text))
        }
    }

    /// A number as it is written.
    pub(super) fn number(&mut self) -> Result<&'a str, DecodeError> {
        self.peek();
        let start = self.at;
        while let Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') = self.input.get(self.at) {
            self.at += 1;
        }
        let text = std::str::from_utf8(&self.input[start..self.at]).unwrap_or_default();
        if text.is_empty() {
            Err(self.unexpected("a value"))
        } else {
            Ok(text)
        }
    }

    /// Passes over one value and gives its text.
    pub(super) fn skip_value(&mut self) -> Result<&'a [u8], DecodeError> {
        self.peek();
        let start = self.at;
        self.skip_nested(0)?;
        Ok(&self.input[start..self.at])
    }

    fn skip_nested(&mut self, depth: usize) -> Result<(), DecodeError> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        match self.peek() {
            Some(b'"') => self.raw_string().map(|_| ()),
            Some(b'{') => {
                self.at += 1;
                self.skip_members(b'}', depth, true)
            }
            Some(b'[') => {
                self.at += 1;
                self.skip_members(b']', depth, false)
            }
            Some(b't') if self.eat_literal(b"true") => Ok(()),
            Some(b'f') if self.eat_literal(b"false") => Ok(()),
            Some(b'n') if self.eat_literal(b"null") => Ok(()),
            Some(_) => self.number().map(|_| ()),
            None => Err(self.unexpected("a value")),
        }
    }

    fn skip_members(&mut self, close: u8, depth: usize, named: bool) -> Result<(), DecodeError> {
        if self.eat(close) {
            return Ok(());
        }
        loop {
            if named {
                self.raw_string()?;
                self.expect(b':')?;
            }
            self.skip_nested(depth + 1)?;
            if self.eat(close) {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    pub(super) fn unexpected(&self, wanted: &str) -> DecodeError {
        let found = match self.input.get(self.at) {
            Some(byte) if byte.is_ascii_graphic() => format!("`{}`", char::from(*byte)),
            Some(byte) => format!("byte {byte:#04x}"),
            None => "the end".to_owned(),
        };
        DecodeError::new(format!(
            "not JSON at byte {}: expected {wanted}, found {found}",
            self.at
        ))
    }
}

pub(super) fn too_deep() -> DecodeError {
    DecodeError::new(format!("nested more than {MAX_DEPTH} deep"))
}

fn unescape(text: &str) -> Result<String, DecodeError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let mut chars = rest[at + 1..].chars();
        let escape = chars.next();
        let plain = match escape {
            Some('"') => '"',
            Some('\\') => '\\',
            Some('/') => '/',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let (unescaped, after) = unescape_unicode(chars.as_str())?;
                out.push(unescaped);
                rest = after;
                continue;
            }
            _ => return Err(DecodeError::new("a string has an unknown escape")),
        };
        out.push(plain);
        rest = chars.as_str();
    }
    out.push_str(rest);
    Ok(out)
}

/// Reads what follows `\u`; two halves of a surrogate pair make one character.
fn unescape_unicode(text: &str) -> Result<(char, &str), DecodeError> {
    let (high, rest) = hex4(text)?;
    if !(0xD800..0xDC00).contains(&high) {
        return Ok((
            char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER),
            rest,
        ));
    }
    let Some(low_text) = rest.strip_prefix("\\u") else {
        return Ok((char::REPLACEMENT_CHARACTER, rest));
    };
    let (low, after) = hex4(low_text)?;
    if !(0xDC00..0xE000).contains(&low) {
        return Ok((char::REPLACEMENT_CHARACTER, rest));
    }
    let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    Ok((
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
        after,
    ))
}

fn hex4(text: &str) -> Result<(u32, &str), DecodeError> {
    let digits = text
        .get(..4)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .ok_or_else(|| DecodeError::new("\\u wants four hexadecimal digits"))?;
    let code = u32::from_str_radix(digits, 16)
        .map_err(|_| DecodeError::new("\\u wants four hexadecimal digits"))?;
    Ok((code, &text[4..]))
}
