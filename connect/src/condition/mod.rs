//! Conditions over records, as `filter` and `when` take them.
//!
//! ```text
//! condition  = conjunction { OR conjunction }
//! conjunction = negation { AND negation }
//! negation   = [ NOT ] predicate
//! predicate  = "(" condition ")"
//!            | operand ( = | <> | != | < | <= | > | >= ) operand
//!            | operand IS [ NOT ] NULL
//!            | operand [ NOT ] IN "(" literal { "," literal } ")"
//!            | operand [ NOT ] LIKE 'pattern'          -- % any text, _ one character
//!            | operand                                 -- a field that is true or false
//! operand    = value[.FIELD] | key[.FIELD] | headers.NAME | topic | partition | offset
//!            | timestamp | literal
//! literal    = 'text' | number | TRUE | FALSE | NULL
//! ```
//!
//! Words are case-insensitive except for field names. As in SQL, a comparison with a missing
//! field or null is neither true nor false, and a record passes only when the condition is true.

mod evaluate;
mod lexer;
mod parser;

use crate::field_path::FieldPath;
use crate::record::ConnectRecord;

/// A parsed condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    root: Expression,
}

/// What is wrong with a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConditionError {
    pub(crate) message: String,
    /// Characters before the mistake.
    pub(crate) column: usize,
}

impl Condition {
    /// # Errors
    /// What is wrong and where in `text`.
    pub(crate) fn parse(text: &str) -> Result<Self, ConditionError> {
        let tokens = lexer::tokens(text)?;
        parser::parse(&tokens, text.chars().count()).map(|root| Self { root })
    }

    /// Whether the condition is true for `record`.
    pub(crate) fn holds(&self, record: &ConnectRecord) -> bool {
        evaluate::truth(&self.root, record) == Some(true)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Or(Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Compare(Operand, Comparison, Operand),
    IsNull(Operand),
    In(Operand, Vec<Literal>),
    Like(Operand, Vec<LikePart>),
    IsTrue(Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Value(Option<FieldPath>),
    Key(Option<FieldPath>),
    Header(String),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Literal(Literal),
}

#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LikePart {
    AnyText,
    AnyChar,
    Char(char),
}

#[cfg(test)]
mod tests;
