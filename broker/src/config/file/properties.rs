//! Java's properties: `name=value` lines.
//!
//! A line that begins with `#` or `!` is a comment; `=`, `:` or a blank ends the name; a backslash at the end of a line
//! joins it with the next; `\t`, `\n`, `\r`, `\f` and `\u0041` stand for characters.

use super::Entry;

/// The settings of the text, in its order. Every text is valid.
pub(super) fn parse(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((line, first)) = lines.next() {
        let first = first.trim_start_matches(BLANKS);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while ends_in_backslash(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else {
                break;
            };
            logical.push_str(next.trim_start_matches(BLANKS));
        }
        let (name, value) = split(&logical);
        entries.push(Entry {
            name: unescape(name),
            value: unescape(value).trim().to_owned(),
            line,
        });
    }
    entries
}

/// An even number of them stands for backslashes.
fn ends_in_backslash(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The name, and the value behind the separator with the blanks around it.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, letter)| {
        let ends = !escaped && (BLANKS.contains(letter) || matches!(letter, '=' | ':'));
        escaped = !escaped && *letter == '\\';
        ends
    });
    let (name, rest) = line.split_at(end.map_or(line.len(), |(index, _)| index));
    let rest = rest.trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (name, value.trim_start_matches(BLANKS))
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = letters.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok();
                plain.push(
                    code.and_then(char::from_u32)
                        .unwrap_or(char::REPLACEMENT_CHARACTER),
                );
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, &str, &str)]) {
        let entries = parse(text);
        let found: Vec<_> = entries
            .iter()
            .map(|entry| (entry.line, &*entry.name, &*entry.value))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn names_end_at_an_equals_sign_a_colon_or_a_blank() {
        check(
            "a=1\n b : 2 \nc 3\nd=\ne\nf = x=y:z\n",
            &[
                (1, "a", "1"),
                (2, "b", "2"),
                (3, "c", "3"),
                (4, "d", ""),
                (5, "e", ""),
                (6, "f", "x=y:z"),
            ],
        );
    }

    #[test]
    fn comments_and_empty_lines_do_not_count() {
        check(
            "# a=1\n\n  ! b=2\r\nc=3 # no comment\r\n",
            &[(4, "c", "3 # no comment")],
        );
    }

    #[test]
    fn a_backslash_joins_lines() {
        check(
            "a=1,\\\n   2,\\\n   3\nb=c:\\\\dir\\\\\nd=4\\",
            &[(1, "a", "1,2,3"), (4, "b", "c:\\dir\\"), (5, "d", "4")],
        );
    }

    #[test]
    fn escapes_stand_for_characters() {
        check(
            "a\\=b\\:c=\\u0041\\tB\\q\nx=\\uZZZZ",
            &[(1, "a=b:c", "A\tBq"), (2, "x", "\u{fffd}")],
        );
    }
}
