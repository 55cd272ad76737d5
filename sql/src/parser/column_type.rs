//! Reads a column type: `BIGINT`, `DECIMAL(10, 2)`, `MAP<VARCHAR, ARRAY<INT>>`.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use crate::error::SqlError;
use crate::types::SqlType;

/// Nested types deeper than this are refused, so that no text can exhaust the stack.
const MAX_DEPTH: usize = 16;

/// Reads one type.
pub(super) fn parse_type(cursor: &mut Cursor<'_>) -> Result<SqlType, SqlError> {
    let mut reader = TypeReader {
        cursor,
        open_close: 0,
    };
    let sql_type = reader.read(0)?;
    if reader.open_close > 0 {
        return Err(reader.cursor.expected("no further `>`"));
    }
    Ok(sql_type)
}

struct TypeReader<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    /// `>>` closes two types at once; the second one is remembered here.
    open_close: usize,
}

impl TypeReader<'_, '_> {
    fn read(&mut self, depth: usize) -> Result<SqlType, SqlError> {
        let position = self.cursor.position();
        if depth > MAX_DEPTH {
            return Err(
                SqlError::syntax(format!("type is nested more than {MAX_DEPTH} deep")).at(position),
            );
        }
        let Some(word) = self.cursor.peek_word(0) else {
            return Err(self.cursor.expected("a type"));
        };
        self.cursor.advance();
        match word.as_str() {
            "BOOLEAN" | "BOOL" => Ok(SqlType::Boolean),
            "INT" | "INTEGER" | "INT4" => Ok(SqlType::Int),
            "BIGINT" | "INT8" => Ok(SqlType::BigInt),
            "DOUBLE" => {
                self.cursor.eat_word("PRECISION");
                Ok(SqlType::Double)
            }
            "FLOAT8" => Ok(SqlType::Double),
            "DECIMAL" | "NUMERIC" => self.decimal(),
            "VARCHAR" => {
                self.length()?;
                Ok(SqlType::Varchar)
            }
            "STRING" | "TEXT" => Ok(SqlType::Varchar),
            "BYTES" | "BYTEA" | "VARBINARY" => Ok(SqlType::Bytes),
            "TIMESTAMP" => {
                self.length()?;
                Ok(SqlType::Timestamp)
            }
            "DATE" => Ok(SqlType::Date),
            "TIME" => Ok(SqlType::Time),
            "ARRAY" => {
                self.cursor.expect(&Token::Lt)?;
                let item = self.read(depth + 1)?;
                self.close()?;
                Ok(SqlType::Array(Box::new(item)))
            }
            "MAP" => self.map(depth),
            "STRUCT" => self.structure(depth),
            other => Err(SqlError::syntax(format!("unknown type `{other}`"))
                .at(position)
                .with_hint(
                    "types are BOOLEAN, INT, BIGINT, DOUBLE, DECIMAL(p, s), VARCHAR, BYTES, \
                     TIMESTAMP, DATE, TIME, ARRAY<..>, MAP<VARCHAR, ..>, STRUCT<name type, ..>",
                )),
        }
    }

    /// An ignored `(n)`, as in `VARCHAR(20)`.
    fn length(&mut self) -> Result<(), SqlError> {
        if self.cursor.eat(&Token::LParen) {
            self.cursor.integer("a length")?;
            self.cursor.expect(&Token::RParen)?;
        }
        Ok(())
    }

    fn decimal(&mut self) -> Result<SqlType, SqlError> {
        let position = self.cursor.position();
        self.cursor.expect(&Token::LParen)?;
        let precision = self.cursor.integer("a precision")?;
        let scale = if self.cursor.eat(&Token::Comma) {
            self.cursor.integer("a scale")?
        } else {
            0
        };
        self.cursor.expect(&Token::RParen)?;
        if !(1..=38).contains(&precision) || scale > precision {
            return Err(SqlError::invalid(format!(
                "DECIMAL({precision}, {scale}) is out of range"
            ))
            .at(position)
            .with_hint("precision is 1 to 38, and scale is at most the precision"));
        }
        Ok(SqlType::Decimal {
            precision: precision as u8,
            scale: scale as i8,
        })
    }

    fn map(&mut self, depth: usize) -> Result<SqlType, SqlError> {
        self.cursor.expect(&Token::Lt)?;
        let position = self.cursor.position();
        let key = self.read(depth + 1)?;
        if key != SqlType::Varchar {
            return Err(
                SqlError::invalid(format!("keys of a MAP are VARCHAR, not {key}")).at(position),
            );
        }
        self.cursor.expect(&Token::Comma)?;
        let value = self.read(depth + 1)?;
        self.close()?;
        Ok(SqlType::Map(Box::new(key), Box::new(value)))
    }

    fn structure(&mut self, depth: usize) -> Result<SqlType, SqlError> {
        self.cursor.expect(&Token::Lt)?;
        let mut fields = Vec::new();
        loop {
            let name = self.cursor.name("the name of a field")?;
            fields.push((name, self.read(depth + 1)?));
            if self.open_close > 0 || !self.cursor.eat(&Token::Comma) {
                break;
            }
        }
        self.close()?;
        Ok(SqlType::Struct(fields))
    }

    fn close(&mut self) -> Result<(), SqlError> {
        if self.open_close > 0 {
            self.open_close -= 1;
            return Ok(());
        }
        if self.cursor.eat(&Token::ShiftRight) {
            self.open_close += 1;
            return Ok(());
        }
        self.cursor.expect(&Token::Gt)
    }
}
