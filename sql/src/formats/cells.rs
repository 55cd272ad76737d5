//! The cells of an Arrow array of any of our types, downcast once for a whole batch.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    Int32Array, Int64Array, ListArray, MapArray, StringArray, StructArray, Time32MillisecondArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimeUnit, TimestampMillisecondType,
};

use crate::error::SqlError;

/// An array by its type.
#[derive(Debug)]
pub enum Cells<'a> {
    /// BOOLEAN.
    Boolean(&'a BooleanArray),
    /// INT.
    Int(&'a Int32Array),
    /// BIGINT.
    BigInt(&'a Int64Array),
    /// DOUBLE.
    Double(&'a Float64Array),
    /// DECIMAL.
    Decimal(&'a Decimal128Array),
    /// VARCHAR.
    Varchar(&'a StringArray),
    /// BYTES.
    Bytes(&'a BinaryArray),
    /// TIMESTAMP.
    Timestamp(&'a TimestampMillisecondArray),
    /// DATE.
    Date(&'a Date32Array),
    /// TIME.
    Time(&'a Time32MillisecondArray),
    /// ARRAY with its items.
    Array(&'a ListArray, Box<Self>),
    /// MAP with its keys and values.
    Map(&'a MapArray, Box<Self>, Box<Self>),
    /// STRUCT with its fields by name; names are JSON strings with their quotes.
    Struct(&'a StructArray, Vec<(Vec<u8>, Self)>),
}

impl<'a> Cells<'a> {
    /// The cells of an array.
    ///
    /// # Errors
    /// If the array's type is not that of a column.
    pub fn new(array: &'a dyn Array) -> Result<Self, SqlError> {
        Ok(match array.data_type() {
            DataType::Boolean => Self::Boolean(array.as_boolean()),
            DataType::Int32 => Self::Int(array.as_primitive::<Int32Type>()),
            DataType::Int64 => Self::BigInt(array.as_primitive::<Int64Type>()),
            DataType::Float64 => Self::Double(array.as_primitive::<Float64Type>()),
            DataType::Decimal128(_, _) => Self::Decimal(array.as_primitive::<Decimal128Type>()),
            DataType::Utf8 => Self::Varchar(array.as_string::<i32>()),
            DataType::Binary => Self::Bytes(array.as_binary::<i32>()),
            DataType::Timestamp(TimeUnit::Millisecond, None) => {
                Self::Timestamp(array.as_primitive::<TimestampMillisecondType>())
            }
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>()),
            DataType::Time32(TimeUnit::Millisecond) => {
                Self::Time(array.as_primitive::<Time32MillisecondType>())
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Self::Array(list, Box::new(Self::new(list.values().as_ref())?))
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                let keys = Self::new(map.keys().as_ref())?;
                let values = Self::new(map.values().as_ref())?;
                Self::Map(map, Box::new(keys), Box::new(values))
            }
            DataType::Struct(fields) => {
                let structure = array.as_struct();
                let cells = fields
                    .iter()
                    .zip(structure.columns())
                    .map(|(field, column)| {
                        Ok((
                            super::json::quoted(field.name()),
                            Self::new(column.as_ref())?,
                        ))
                    });
                let cells = cells.collect::<Result<_, SqlError>>()?;
                Self::Struct(structure, cells)
            }
            other => {
                return Err(SqlError::internal(format!(
                    "a column of Arrow type {other} was not cast to a column type"
                )));
            }
        })
    }

    /// Whether the cell is null.
    pub fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Boolean(array) => array.is_null(row),
            Self::Int(array) => array.is_null(row),
            Self::BigInt(array) => array.is_null(row),
            Self::Double(array) => array.is_null(row),
            Self::Decimal(array) => array.is_null(row),
            Self::Varchar(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::Timestamp(array) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Time(array) => array.is_null(row),
            Self::Array(array, _) => array.is_null(row),
            Self::Map(array, _, _) => array.is_null(row),
            Self::Struct(array, _) => array.is_null(row),
        }
    }
}
