//! One decoded value, and the builders that collect values into Arrow arrays.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::NullBufferBuilder;
use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder,
    Float64Builder, Int32Builder, Int64Builder, ListArray, MapArray, StringBuilder, StructArray,
    Time32MillisecondBuilder, TimestampMillisecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};

use crate::types::SqlType;

/// One value, borrowed from the record where it can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum<'a> {
    /// No value.
    Null,
    /// BOOLEAN.
    Boolean(bool),
    /// INT, BIGINT, TIMESTAMP, DATE and TIME, in the range of the type.
    Integer(i64),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL, in units of its scale.
    Decimal(i128),
    /// VARCHAR.
    Text(Cow<'a, str>),
    /// BYTES.
    Bytes(Cow<'a, [u8]>),
    /// ARRAY.
    List(Vec<Self>),
    /// MAP.
    Map(Vec<(Cow<'a, str>, Self)>),
    /// STRUCT, a value for each field.
    Struct(Vec<Self>),
}

/// Collects the values of one column.
#[derive(Debug)]
pub enum ColumnBuilder {
    /// BOOLEAN.
    Boolean(BooleanBuilder),
    /// INT.
    Int(Int32Builder),
    /// BIGINT.
    BigInt(Int64Builder),
    /// DOUBLE.
    Double(Float64Builder),
    /// DECIMAL.
    Decimal(Decimal128Builder),
    /// VARCHAR.
    Varchar(StringBuilder),
    /// BYTES.
    Bytes(BinaryBuilder),
    /// TIMESTAMP.
    Timestamp(TimestampMillisecondBuilder),
    /// DATE.
    Date(Date32Builder),
    /// TIME.
    Time(Time32MillisecondBuilder),
    /// ARRAY.
    Array(NestedBuilder),
    /// MAP.
    Map(NestedBuilder),
    /// STRUCT.
    Struct(NestedBuilder),
}

/// Offsets, validity and children of a nested column.
#[derive(Debug)]
pub struct NestedBuilder {
    data_type: DataType,
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
    children: Vec<ColumnBuilder>,
}

impl ColumnBuilder {
    /// An empty builder for `rows` values of a type.
    pub fn new(sql_type: &SqlType, rows: usize) -> Self {
        match sql_type {
            SqlType::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            SqlType::Int => Self::Int(Int32Builder::with_capacity(rows)),
            SqlType::BigInt => Self::BigInt(Int64Builder::with_capacity(rows)),
            SqlType::Double => Self::Double(Float64Builder::with_capacity(rows)),
            SqlType::Decimal { .. } => Self::Decimal(
                Decimal128Builder::with_capacity(rows).with_data_type(sql_type.to_arrow()),
            ),
            SqlType::Varchar => Self::Varchar(StringBuilder::with_capacity(rows, rows * 16)),
            SqlType::Bytes => Self::Bytes(BinaryBuilder::with_capacity(rows, rows * 16)),
            SqlType::Timestamp => Self::Timestamp(TimestampMillisecondBuilder::with_capacity(rows)),
            SqlType::Date => Self::Date(Date32Builder::with_capacity(rows)),
            SqlType::Time => Self::Time(Time32MillisecondBuilder::with_capacity(rows)),
            SqlType::Array(item) => {
                Self::Array(NestedBuilder::new(sql_type, vec![Self::new(item, rows)]))
            }
            SqlType::Map(key, value) => Self::Map(NestedBuilder::new(
                sql_type,
                vec![Self::new(key, rows), Self::new(value, rows)],
            )),
            SqlType::Struct(fields) => {
                let children = fields.iter().map(|(_, field)| Self::new(field, rows));
                Self::Struct(NestedBuilder::new(sql_type, children.collect()))
            }
        }
    }

    /// Appends a value of the builder's type; one of another type becomes null.
    pub fn append(&mut self, datum: Datum<'_>) {
        match (self, datum) {
            (Self::Boolean(builder), Datum::Boolean(value)) => builder.append_value(value),
            (Self::Int(builder), Datum::Integer(value)) => builder.append_value(value as i32),
            (Self::BigInt(builder), Datum::Integer(value)) => builder.append_value(value),
            (Self::Double(builder), Datum::Double(value)) => builder.append_value(value),
            (Self::Decimal(builder), Datum::Decimal(value)) => builder.append_value(value),
            (Self::Varchar(builder), Datum::Text(value)) => builder.append_value(value),
            (Self::Bytes(builder), Datum::Bytes(value)) => builder.append_value(value),
            (Self::Timestamp(builder), Datum::Integer(value)) => builder.append_value(value),
            (Self::Date(builder), Datum::Integer(value)) => builder.append_value(value as i32),
            (Self::Time(builder), Datum::Integer(value)) => builder.append_value(value as i32),
            (Self::Array(builder), Datum::List(items)) => builder.append_list(items),
            (Self::Map(builder), Datum::Map(entries)) => builder.append_map(entries),
            (Self::Struct(builder), Datum::Struct(fields)) => builder.append_struct(fields),
            (builder, datum) => {
                debug_assert!(datum == Datum::Null, "{datum:?} does not fit its column");
                builder.append_null();
            }
        }
    }

    /// Appends a null.
    pub fn append_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::BigInt(builder) => builder.append_null(),
            Self::Double(builder) => builder.append_null(),
            Self::Decimal(builder) => builder.append_null(),
            Self::Varchar(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Array(builder) | Self::Map(builder) => builder.append_null_list(),
            Self::Struct(builder) => builder.append_null_struct(),
        }
    }

    /// Takes what was collected.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(builder) => ArrayBuilder::finish(builder),
            Self::Int(builder) => ArrayBuilder::finish(builder),
            Self::BigInt(builder) => ArrayBuilder::finish(builder),
            Self::Double(builder) => ArrayBuilder::finish(builder),
            Self::Decimal(builder) => ArrayBuilder::finish(builder),
            Self::Varchar(builder) => ArrayBuilder::finish(builder),
            Self::Bytes(builder) => ArrayBuilder::finish(builder),
            Self::Timestamp(builder) => ArrayBuilder::finish(builder),
            Self::Date(builder) => ArrayBuilder::finish(builder),
            Self::Time(builder) => ArrayBuilder::finish(builder),
            Self::Array(builder) => builder.finish_list(),
            Self::Map(builder) => builder.finish_map(),
            Self::Struct(builder) => builder.finish_struct(),
        }
    }
}

impl NestedBuilder {
    fn new(sql_type: &SqlType, children: Vec<ColumnBuilder>) -> Self {
        Self {
            data_type: sql_type.to_arrow(),
            offsets: vec![0],
            validity: NullBufferBuilder::new(0),
            children,
        }
    }

    fn append_list(&mut self, items: Vec<Datum<'_>>) {
        let count = items.len();
        if let [child] = self.children.as_mut_slice() {
            for item in items {
                child.append(item);
            }
        }
        self.end_list(count);
    }

    fn append_map(&mut self, entries: Vec<(Cow<'_, str>, Datum<'_>)>) {
        let count = entries.len();
        if let [keys, values] = self.children.as_mut_slice() {
            for (key, value) in entries {
                keys.append(Datum::Text(key));
                values.append(value);
            }
        }
        self.end_list(count);
    }

    fn append_struct(&mut self, fields: Vec<Datum<'_>>) {
        let mut fields = fields.into_iter();
        for child in &mut self.children {
            child.append(fields.next().unwrap_or(Datum::Null));
        }
        self.validity.append_non_null();
    }

    fn end_list(&mut self, count: usize) {
        let end = self.offsets.last().copied().unwrap_or(0) + count as i32;
        self.offsets.push(end);
        self.validity.append_non_null();
    }

    fn append_null_list(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.validity.append_null();
    }

    fn append_null_struct(&mut self) {
        for child in &mut self.children {
            child.append_null();
        }
        self.validity.append_null();
    }

    fn take_offsets(&mut self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(std::mem::replace(&mut self.offsets, vec![0]).into())
    }

    fn finish_list(&mut self) -> ArrayRef {
        let offsets = self.take_offsets();
        let items = self.children[0].finish();
        let field = match &self.data_type {
            DataType::List(field) => Arc::clone(field),
            other => Arc::new(Field::new_list_field(other.clone(), true)),
        };
        Arc::new(ListArray::new(
            field,
            offsets,
            items,
            self.validity.finish(),
        ))
    }

    fn finish_map(&mut self) -> ArrayRef {
        let offsets = self.take_offsets();
        let children: Vec<ArrayRef> = self
            .children
            .iter_mut()
            .map(ColumnBuilder::finish)
            .collect();
        let field = match &self.data_type {
            DataType::Map(field, _) => Arc::clone(field),
            other => Arc::new(Field::new("entries", other.clone(), false)),
        };
        let entries = StructArray::new(struct_fields(field.data_type()), children, None);
        Arc::new(MapArray::new(
            field,
            offsets,
            entries,
            self.validity.finish(),
            false,
        ))
    }

    fn finish_struct(&mut self) -> ArrayRef {
        let children = self
            .children
            .iter_mut()
            .map(ColumnBuilder::finish)
            .collect();
        Arc::new(StructArray::new(
            struct_fields(&self.data_type),
            children,
            self.validity.finish(),
        ))
    }
}

fn struct_fields(data_type: &DataType) -> Fields {
    match data_type {
        DataType::Struct(fields) => fields.clone(),
        _ => Fields::empty(),
    }
}
