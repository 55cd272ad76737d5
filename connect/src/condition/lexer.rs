//! Cuts a condition into words, literals and signs.

use super::{Comparison, ConditionError};

/// One token and the number of characters before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) column: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    /// A keyword or a dotted name, as written.
    Word(String),
    Number(f64),
    Text(String),
    Comparison(Comparison),
    Open,
    Close,
    Comma,
}

/// # Errors
/// When a character or literal makes no sense.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ConditionError> {
    let mut lexer = Lexer {
        characters: text.chars().collect(),
        at: 0,
    };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer {
    characters: Vec<char>,
    at: usize,
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        self.characters[start..self.at].iter().collect()
    }

    fn take_if(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn next_token(&mut self) -> Result<Option<Token>, ConditionError> {
        self.take_while(char::is_whitespace);
        let column = self.at;
        let Some(first) = self.peek() else {
            return Ok(None);
        };
        let kind = match first {
            '\'' => self.quoted('\'', column).map(TokenKind::Text)?,
            '0'..='9' | '-' | '+' => self.number(column)?,
            c if c.is_alphabetic() || c == '_' || c == '`' => self.word(column)?,
            _ => self.sign(column)?,
        };
        Ok(Some(Token { kind, column }))
    }

    /// A quoted piece; a doubled quote stands for itself.
    fn quoted(&mut self, quote: char, column: usize) -> Result<String, ConditionError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                None => {
                    let message = format!("the closing {quote} is missing");
                    return Err(ConditionError { message, column });
                }
                Some(c) => {
                    self.at += 1;
                    if c != quote {
                        text.push(c);
                    } else if self.take_if(quote) {
                        text.push(quote);
                    } else {
                        return Ok(text);
                    }
                }
            }
        }
    }

    fn number(&mut self, column: usize) -> Result<TokenKind, ConditionError> {
        let sign = self.take_while(|c| c == '-' || c == '+');
        let mut digits = self.take_while(|c| c.is_ascii_digit() || c == '.' || c == '_');
        if self.take_if('e') || self.take_if('E') {
            digits.push('e');
            digits.push_str(&self.take_while(|c| c.is_ascii_digit() || c == '-' || c == '+'));
        }
        let written = format!("{sign}{}", digits.replace('_', ""));
        written
            .parse()
            .map(TokenKind::Number)
            .map_err(|_| ConditionError {
                message: format!("`{written}` is no number"),
                column,
            })
    }

    /// A name such as `value.a.b`; parts in backquotes may hold any character but a dot.
    fn word(&mut self, column: usize) -> Result<TokenKind, ConditionError> {
        let mut word = String::new();
        loop {
            if self.peek() == Some('`') {
                word.push_str(&self.quoted('`', column)?);
            } else {
                word.push_str(&self.take_while(|c| c.is_alphanumeric() || "_-@".contains(c)));
            }
            if !self.take_if('.') {
                return Ok(TokenKind::Word(word));
            }
            word.push('.');
        }
    }

    fn sign(&mut self, column: usize) -> Result<TokenKind, ConditionError> {
        let first = self.peek().unwrap_or_default();
        self.at += 1;
        Ok(match first {
            '(' => TokenKind::Open,
            ')' => TokenKind::Close,
            ',' => TokenKind::Comma,
            '=' => {
                self.take_if('=');
                TokenKind::Comparison(Comparison::Equal)
            }
            '!' if self.take_if('=') => TokenKind::Comparison(Comparison::NotEqual),
            '<' if self.take_if('>') => TokenKind::Comparison(Comparison::NotEqual),
            '<' if self.take_if('=') => TokenKind::Comparison(Comparison::LessOrEqual),
            '<' => TokenKind::Comparison(Comparison::Less),
            '>' if self.take_if('=') => TokenKind::Comparison(Comparison::GreaterOrEqual),
            '>' => TokenKind::Comparison(Comparison::Greater),
            '"' => {
                let message = "texts stand in single quotes: 'text'".to_owned();
                return Err(ConditionError { message, column });
            }
            other => {
                let message = format!("`{other}` has no meaning here");
                return Err(ConditionError { message, column });
            }
        })
    }
}
