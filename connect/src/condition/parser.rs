//! Builds the expression of a condition from its tokens.

use super::lexer::{Token, TokenKind};
use super::{ConditionError, Expression, LikePart, Literal, Operand};
use crate::field_path::FieldPath;

/// Parentheses and NOTs within each other, so that no input overflows the stack.
const MAX_DEPTH: usize = 64;

/// # Errors
/// When the tokens are no condition; `end` is the column behind the last one.
pub(super) fn parse(tokens: &[Token], end: usize) -> Result<Expression, ConditionError> {
    let mut parser = Parser {
        tokens,
        at: 0,
        end,
        depth: 0,
    };
    let root = parser.condition()?;
    match parser.peek() {
        None => Ok(root),
        Some(_) => Err(parser.error("expected AND, OR or the end")),
    }
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    end: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t TokenKind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn error(&self, message: impl Into<String>) -> ConditionError {
        let column = self
            .tokens
            .get(self.at)
            .map_or(self.end, |token| token.column);
        ConditionError {
            message: message.into(),
            column,
        }
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let found =
            matches!(self.peek(), Some(TokenKind::Word(w)) if w.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    fn take(&mut self, kind: &TokenKind) -> bool {
        let found = self.peek() == Some(kind);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, kind: &TokenKind, what: &str) -> Result<(), ConditionError> {
        if self.take(kind) {
            Ok(())
        } else {
            Err(self.error(format!("expected {what}")))
        }
    }

    fn condition(&mut self) -> Result<Expression, ConditionError> {
        let mut left = self.conjunction()?;
        while self.take_keyword("or") {
            left = Expression::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expression, ConditionError> {
        let mut left = self.negation()?;
        while self.take_keyword("and") {
            left = Expression::And(Box::new(left), Box::new(self.negation()?));
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Expression, ConditionError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(format!("more than {MAX_DEPTH} levels within each other")));
        }
        let expression = if self.take_keyword("not") {
            Expression::Not(Box::new(self.negation()?))
        } else if self.take(&TokenKind::Open) {
            let inner = self.condition()?;
            self.expect(&TokenKind::Close, "`)`")?;
            inner
        } else {
            self.predicate()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn predicate(&mut self) -> Result<Expression, ConditionError> {
        let left = self.operand()?;
        if let Some(TokenKind::Comparison(comparison)) = self.peek() {
            self.at += 1;
            return Ok(Expression::Compare(left, *comparison, self.operand()?));
        }
        if self.take_keyword("is") {
            let negated = self.take_keyword("not");
            if !self.take_keyword("null") {
                return Err(self.error("expected NULL or NOT NULL"));
            }
            return Ok(negate(negated, Expression::IsNull(left)));
        }
        let negated = self.take_keyword("not");
        if self.take_keyword("in") {
            return Ok(negate(negated, Expression::In(left, self.literals()?)));
        }
        if self.take_keyword("like") {
            return Ok(negate(negated, Expression::Like(left, self.pattern()?)));
        }
        if negated {
            return Err(self.error("expected IN or LIKE"));
        }
        Ok(Expression::IsTrue(left))
    }

    fn operand(&mut self) -> Result<Operand, ConditionError> {
        let operand = match self.peek() {
            Some(TokenKind::Word(word)) => named(word).map_err(|message| self.error(message))?,
            Some(TokenKind::Number(number)) => Operand::Literal(Literal::Number(*number)),
            Some(TokenKind::Text(text)) => Operand::Literal(Literal::Text(text.clone())),
            _ => return Err(self.error("expected a field, a text or a number")),
        };
        self.at += 1;
        Ok(operand)
    }

    fn literals(&mut self) -> Result<Vec<Literal>, ConditionError> {
        self.expect(&TokenKind::Open, "`(`")?;
        let mut literals = Vec::new();
        loop {
            match self.operand()? {
                Operand::Literal(literal) => literals.push(literal),
                _ => {
                    self.at -= 1;
                    return Err(self.error("expected a text or a number"));
                }
            }
            if !self.take(&TokenKind::Comma) {
                break;
            }
        }
        self.expect(&TokenKind::Close, "`)`")?;
        Ok(literals)
    }

    fn pattern(&mut self) -> Result<Vec<LikePart>, ConditionError> {
        let Some(TokenKind::Text(text)) = self.peek() else {
            return Err(self.error("expected a pattern in single quotes"));
        };
        self.at += 1;
        let part = |c| match c {
            '%' => LikePart::AnyText,
            '_' => LikePart::AnyChar,
            c => LikePart::Char(c),
        };
        Ok(text.chars().map(part).collect())
    }
}

fn negate(negated: bool, expression: Expression) -> Expression {
    if negated {
        Expression::Not(Box::new(expression))
    } else {
        expression
    }
}

fn named(word: &str) -> Result<Operand, String> {
    let (root, field) = match word.split_once('.') {
        Some((root, field)) => (root, Some(field)),
        None => (word, None),
    };
    let path = field.map(FieldPath::parse).transpose()?;
    Ok(match (root.to_ascii_lowercase().as_str(), path) {
        ("value", path) => Operand::Value(path),
        ("key", path) => Operand::Key(path),
        ("headers", Some(_)) => Operand::Header(field.unwrap_or_default().to_owned()),
        ("topic", None) => Operand::Topic,
        ("partition", None) => Operand::Partition,
        ("offset", None) => Operand::Offset,
        ("timestamp", None) => Operand::Timestamp,
        ("true", None) => Operand::Literal(Literal::Bool(true)),
        ("false", None) => Operand::Literal(Literal::Bool(false)),
        ("null", None) => Operand::Literal(Literal::Null),
        _ => {
            return Err(format!(
                "unknown name `{word}`, did you mean `value.{word}`?"
            ));
        }
    })
}
