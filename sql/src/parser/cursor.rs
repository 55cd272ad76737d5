//! A position in the tokens of one statement.

use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::error::{Position, SqlError};

/// Reads the tokens of one statement from left to right. Spaces and comments are gone already.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    tokens: &'a [TokenWithSpan],
    next: usize,
    end: Position,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(tokens: &'a [TokenWithSpan], end: Position) -> Self {
        Self {
            tokens,
            next: 0,
            end,
        }
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.peek_nth(0)
    }

    pub(super) fn peek_nth(&self, n: usize) -> Option<&'a Token> {
        self.tokens.get(self.next + n).map(|token| &token.token)
    }

    /// The next token, if it is an unquoted word, in upper case.
    pub(super) fn peek_word(&self, n: usize) -> Option<String> {
        match self.peek_nth(n) {
            Some(Token::Word(word)) if word.quote_style.is_none() => {
                Some(word.value.to_ascii_uppercase())
            }
            _ => None,
        }
    }

    pub(super) fn advance(&mut self) -> Option<&'a TokenWithSpan> {
        let token = self.tokens.get(self.next)?;
        self.next += 1;
        Some(token)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.next >= self.tokens.len()
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [TokenWithSpan] {
        self.tokens.get(self.next..).unwrap_or_default()
    }

    pub(super) fn end(&self) -> Position {
        self.end
    }

    pub(super) fn position(&self) -> Position {
        self.tokens
            .get(self.next)
            .map_or(self.end, |token| position(token.span.start))
    }

    pub(super) fn at_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(token) if is_word(token, word))
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.next += 1;
        }
        found
    }

    /// Takes all of `words` or none.
    pub(super) fn eat_words(&mut self, words: &[&str]) -> bool {
        let found = words
            .iter()
            .enumerate()
            .all(|(n, word)| matches!(self.peek_nth(n), Some(token) if is_word(token, word)));
        if found {
            self.next += words.len();
        }
        found
    }

    pub(super) fn eat(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.next += 1;
        }
        found
    }

    pub(super) fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(self.expected(&format!("`{token}`")))
        }
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), SqlError> {
        if self.eat_word(word) {
            Ok(())
        } else {
            Err(self.expected(word))
        }
    }

    pub(super) fn expect_end(&self) -> Result<(), SqlError> {
        if self.is_at_end() {
            Ok(())
        } else {
            Err(self.expected("the end of the statement"))
        }
    }

    /// An identifier, folded to lower case unless quoted.
    pub(super) fn name(&mut self, what: &str) -> Result<String, SqlError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.next += 1;
                Ok(match word.quote_style {
                    Some(_) => word.value.clone(),
                    None => word.value.to_lowercase(),
                })
            }
            _ => Err(self.expected(what)),
        }
    }

    /// A word or a quoted string as it is written, for names that are case sensitive.
    pub(super) fn verbatim(&mut self, what: &str) -> Result<String, SqlError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.next += 1;
                Ok(word.value.clone())
            }
            Some(Token::SingleQuotedString(text)) => {
                self.next += 1;
                Ok(text.clone())
            }
            _ => Err(self.expected(what)),
        }
    }

    pub(super) fn integer(&mut self, what: &str) -> Result<u64, SqlError> {
        match self.peek() {
            Some(Token::Number(text, _)) => match text.parse() {
                Ok(number) => {
                    self.next += 1;
                    Ok(number)
                }
                Err(_) => Err(self.expected(what)),
            },
            _ => Err(self.expected(what)),
        }
    }

    /// `expected .., found ..` at the next token.
    pub(super) fn expected(&self, what: &str) -> SqlError {
        let found = match self.peek() {
            Some(token) => format!("`{token}`"),
            None => "the end of the statement".to_owned(),
        };
        SqlError::syntax(format!("expected {what}, found {found}")).at(self.position())
    }
}

pub(super) fn position(location: Location) -> Position {
    Position {
        line: location.line,
        column: location.column,
    }
}

pub(super) fn is_word(token: &Token, expected: &str) -> bool {
    matches!(token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
}
