//! Reads the `Debug` text of a message back into a tree, so that every value of a decoded structure
//! can be compared by its field's name without code for each message.

use serde_json::{Map, Value};

/// Parses `Debug` text. Structures become objects, `None` null, `Some(x)` and tuples of one their
/// content, bytes a list of numbers; anything else that is bare a string.
pub(crate) fn parse(text: &str) -> Value {
    let mut parser = Parser { rest: text };
    let value = parser.value();
    assert_eq!(parser.rest, "", "all of the text is parsed");
    value
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn value(&mut self) -> Value {
        if self.eat("[") {
            return Value::Array(self.items("]"));
        }
        if self.rest.starts_with("b\"") {
            self.eat("b");
            return Value::Array(self.quoted_bytes().into_iter().map(Value::from).collect());
        }
        if self.rest.starts_with('"') {
            let bytes = self.quoted_bytes();
            return Value::String(String::from_utf8(bytes).expect("UTF-8"));
        }
        let word = self.word();
        if self.eat(" { ") {
            return Value::Object(self.fields());
        }
        if self.eat("(") {
            let mut items = self.items(")");
            assert_eq!(items.len(), 1, "{word} holds one value");
            return items.remove(0);
        }
        if word == "None" {
            Value::Null
        } else {
            Value::String(word.to_owned())
        }
    }

    fn fields(&mut self) -> Map<String, Value> {
        let mut fields = Map::new();
        while !self.eat(" }") {
            self.eat(", ");
            let name = self.word();
            assert!(self.eat(": "), "a value follows {name}");
            fields.insert(name.replace('_', ""), self.value());
        }
        fields
    }

    fn items(&mut self, end: &str) -> Vec<Value> {
        let mut items = Vec::new();
        while !self.eat(end) {
            self.eat(", ");
            items.push(self.value());
        }
        items
    }

    /// A quoted text's bytes, with escapes resolved.
    fn quoted_bytes(&mut self) -> Vec<u8> {
        assert!(self.eat("\""));
        let mut bytes = Vec::new();
        loop {
            let letter = self.letter();
            match letter {
                '"' => return bytes,
                '\\' => self.escape(&mut bytes),
                letter => bytes.extend(letter.to_string().bytes()),
            }
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) {
        match self.letter() {
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            '0' => bytes.push(0),
            'x' => {
                let digits = self.take(2);
                bytes.push(u8::from_str_radix(digits, 16).expect("hex digits"));
            }
            'u' => {
                let end = self.rest.find('}').expect("end of the escape");
                let digits = self.take(end + 1);
                let code = u32::from_str_radix(&digits[1..end], 16).expect("hex digits");
                bytes.extend(char::from_u32(code).expect("a letter").to_string().bytes());
            }
            letter => bytes.extend(letter.to_string().bytes()),
        }
    }

    fn word(&mut self) -> &'a str {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
        let end = self
            .rest
            .find(|letter| !is_part(letter))
            .unwrap_or(self.rest.len());
        assert!(end > 0, "a word begins at {:.40}", self.rest);
        self.take(end)
    }

    fn letter(&mut self) -> char {
        let letter = self.rest.chars().next().expect("the text goes on");
        self.rest = &self.rest[letter.len_utf8()..];
        letter
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}
