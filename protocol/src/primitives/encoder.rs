//! Writes protocol values into a frame.

use bytes::{BufMut, Bytes, BytesMut};

use super::varint;
use crate::error::EncodeError;
use crate::types::{KString, RawTaggedField, Records, RecordsPiece, Uuid, records};

/// Appends protocol values to a buffer; `records` are kept aside, so they are never copied.
///
/// `flexible` tells whether the version of the message uses the compact forms (KIP-482).
#[derive(Debug, Default)]
pub struct Encoder {
    /// Runs that are complete, in order.
    done: Vec<Run>,
    done_len: usize,
    buffer: BytesMut,
}

/// Encoded bytes as pieces that are to be written one after another.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedFrame {
    pieces: Vec<RecordsPiece>,
    len: usize,
}

/// The known tagged fields of one structure, gathered until the unknown ones can be merged in.
#[derive(Debug, Default)]
pub struct TaggedFields {
    fields: Vec<(u32, Bytes)>,
}

#[derive(Debug)]
enum Run {
    Written(BytesMut),
    Piece(RecordsPiece),
}

impl Encoder {
    /// An empty encoder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty encoder with room for `capacity` bytes beside records.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            buffer: BytesMut::with_capacity(capacity),
            ..Self::default()
        }
    }

    /// How many bytes are written, records included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.done_len + self.buffer.len()
    }

    /// Whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that was written.
    #[must_use]
    pub fn finish(mut self) -> EncodedFrame {
        let len = self.len();
        if !self.buffer.is_empty() {
            self.done.push(Run::Written(self.buffer));
        }
        let pieces = self.done.into_iter().map(Run::into_piece).collect();
        EncodedFrame { pieces, len }
    }

    /// All that was written, with the first four bytes, which the caller wrote as a place holder,
    /// set to the number of bytes that follow them.
    ///
    /// # Errors
    /// The frame is larger than its length field can say.
    pub fn finish_with_length(mut self) -> Result<EncodedFrame, EncodeError> {
        let total = self.len();
        let length = total
            .checked_sub(4)
            .and_then(|length| i32::try_from(length).ok());
        let length = length.ok_or(EncodeError::TooLong { length: total })?;
        let first = match self.done.first_mut() {
            Some(Run::Written(first)) => first,
            _ => &mut self.buffer,
        };
        if let Some(slot) = first.first_chunk_mut() {
            *slot = length.to_be_bytes();
        }
        Ok(self.finish())
    }

    /// Writes a truth value.
    pub fn bool(&mut self, value: bool) {
        self.buffer.put_u8(u8::from(value));
    }

    /// Writes an 8-bit integer.
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// Writes a 16-bit integer.
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// Writes an unsigned 16-bit integer.
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// Writes a 32-bit integer.
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// Writes an unsigned 32-bit integer.
    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32(value);
    }

    /// Writes a 64-bit integer.
    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// Writes a 64-bit floating-point number.
    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// Writes a 128-bit id.
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.put_slice(&value.0);
    }

    /// Writes an unsigned integer of variable length.
    pub fn unsigned_varint(&mut self, value: u32) {
        let mut bytes = [0; 10];
        let size = varint::write_u64(u64::from(value), &mut bytes);
        self.buffer.put_slice(bytes.get(..size).unwrap_or_default());
    }

    /// Writes bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// Writes a string.
    ///
    /// # Errors
    /// The string is too long for its length field.
    pub fn string(&mut self, flexible: bool, value: &KString) -> Result<(), EncodeError> {
        self.nullable_string(flexible, Some(value))
    }

    /// Writes a string that may be null.
    ///
    /// # Errors
    /// The string is too long for its length field.
    pub fn nullable_string(
        &mut self,
        flexible: bool,
        value: Option<&KString>,
    ) -> Result<(), EncodeError> {
        let length = value.map(|value| value.len());
        if length.is_some_and(|length| length > MAX_STRING_LEN) {
            return Err(EncodeError::TooLong {
                length: length.unwrap_or_default(),
            });
        }
        if flexible {
            self.compact_length(length)?;
        } else {
            self.i16(length.map_or(-1, |length| length as i16));
        }
        self.raw(value.map_or(&[], |value| value.as_bytes()));
        Ok(())
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// There are too many bytes for the length field.
    pub fn bytes(&mut self, flexible: bool, value: &Bytes) -> Result<(), EncodeError> {
        self.nullable_bytes(flexible, Some(value))
    }

    /// Writes bytes that may be null.
    ///
    /// # Errors
    /// There are too many bytes for the length field.
    pub fn nullable_bytes(
        &mut self,
        flexible: bool,
        value: Option<&Bytes>,
    ) -> Result<(), EncodeError> {
        self.length(flexible, value.map(Bytes::len))?;
        self.raw(value.map_or(&[], |value| value));
        Ok(())
    }

    /// Writes the length of record batches and keeps the batches aside without copy.
    ///
    /// # Errors
    /// There are too many bytes for the length field.
    pub fn records(&mut self, flexible: bool, value: Option<&Records>) -> Result<(), EncodeError> {
        self.length(flexible, value.map(Records::len))?;
        for piece in value.map_or(&[][..], Records::pieces) {
            match piece {
                RecordsPiece::Bytes(bytes) if bytes.len() <= MAX_COPIED_PIECE => self.raw(bytes),
                RecordsPiece::Bytes(_) | RecordsPiece::File(_) => self.piece(piece.clone()),
            }
        }
        Ok(())
    }

    /// Writes whether a structure follows that may be null.
    pub fn present(&mut self, present: bool) {
        self.i8(if present { 1 } else { -1 });
    }

    /// Writes a list.
    ///
    /// # Errors
    /// The list is too long, or `element` fails.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        values: &[T],
        element: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.nullable_array(flexible, Some(values), element)
    }

    /// Writes a list that may be null.
    ///
    /// # Errors
    /// The list is too long, or `element` fails.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        values: Option<&[T]>,
        mut element: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.length(flexible, values.map(<[T]>::len))?;
        for value in values.unwrap_or_default() {
            element(self, value)?;
        }
        Ok(())
    }

    /// Writes the end of a structure that has no known tagged fields.
    ///
    /// # Errors
    /// Unknown tagged fields are set although the version has none, or one comes twice.
    pub fn unknown_tags(
        &mut self,
        flexible: bool,
        unknown: &[RawTaggedField],
    ) -> Result<(), EncodeError> {
        if flexible {
            return TaggedFields::default().finish(unknown, self);
        }
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(EncodeError::UnsupportedTaggedFields)
        }
    }

    fn piece(&mut self, piece: RecordsPiece) {
        let written = self.buffer.split();
        self.done_len += written.len() + piece.len();
        if !written.is_empty() {
            self.done.push(Run::Written(written));
        }
        self.done.push(Run::Piece(piece));
    }

    fn length(&mut self, flexible: bool, length: Option<usize>) -> Result<(), EncodeError> {
        if flexible {
            return self.compact_length(length);
        }
        let length = length.map_or(Ok(-1), |length| {
            i32::try_from(length).map_err(|_| EncodeError::TooLong { length })
        });
        self.i32(length?);
        Ok(())
    }

    fn compact_length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        let value = match length {
            None => 0,
            Some(length) if length < i32::MAX as usize => length as u32 + 1,
            Some(length) => return Err(EncodeError::TooLong { length }),
        };
        self.unsigned_varint(value);
        Ok(())
    }
}

impl TaggedFields {
    /// Adds a known field, which `value` writes. Fields come in ascending order of their tags.
    ///
    /// # Errors
    /// Those of `value`.
    pub fn field(
        &mut self,
        tag: u32,
        output: &mut Encoder,
        value: impl FnOnce(&mut Encoder) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = output.buffer.len();
        value(output)?;
        self.fields
            .push((tag, output.buffer.split_off(start).freeze()));
        Ok(())
    }

    /// Writes all fields, known and unknown, in ascending order.
    ///
    /// # Errors
    /// A tag comes twice.
    pub fn finish(
        mut self,
        unknown: &[RawTaggedField],
        output: &mut Encoder,
    ) -> Result<(), EncodeError> {
        if !unknown.is_empty() {
            self.fields
                .extend(unknown.iter().map(|field| (field.tag, field.data.clone())));
            self.fields.sort_by_key(|(tag, _)| *tag);
            let twice = self
                .fields
                .windows(2)
                .find(|pair| pair.first().map(|f| f.0) == pair.last().map(|f| f.0));
            if let Some((tag, _)) = twice.and_then(<[_]>::first) {
                return Err(EncodeError::DuplicateTag { tag: *tag });
            }
        }
        output.unsigned_varint(self.fields.len() as u32);
        for (tag, data) in &self.fields {
            output.unsigned_varint(*tag);
            output.unsigned_varint(data.len() as u32);
            output.raw(data);
        }
        Ok(())
    }
}

impl EncodedFrame {
    /// How many bytes all pieces have together.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in order; none of them is empty.
    #[must_use]
    pub fn pieces(&self) -> &[RecordsPiece] {
        &self.pieces
    }

    /// The pieces in order; none of them is empty.
    #[must_use]
    pub fn into_pieces(self) -> Vec<RecordsPiece> {
        self.pieces
    }

    /// All pieces as one; copies if there are several. `None` if one of them is in a file.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Bytes> {
        match self.pieces.as_slice() {
            [] => Some(Bytes::new()),
            [RecordsPiece::Bytes(bytes)] => Some(bytes.clone()),
            pieces => records::join(pieces, self.len),
        }
    }
}

impl Run {
    fn into_piece(self) -> RecordsPiece {
        match self {
            Self::Written(bytes) => RecordsPiece::Bytes(bytes.freeze()),
            Self::Piece(piece) => piece,
        }
    }
}

/// The longest string that Kafka accepts, in either form.
const MAX_STRING_LEN: usize = i16::MAX as usize;

/// Records up to this size are copied: that is cheaper than one more buffer in a vectored write.
const MAX_COPIED_PIECE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_records_are_kept_aside_and_small_ones_are_copied() {
        let large = Bytes::from(vec![7; MAX_COPIED_PIECE + 1]);
        let mut output = Encoder::new();
        output.i32(0);
        output
            .records(false, Some(&Records::from(Bytes::from_static(b"small"))))
            .expect("short");
        output
            .records(false, Some(&Records::from(large.clone())))
            .expect("short");
        output.i8(1);
        let frame = output.finish_with_length().expect("short");
        assert_eq!(frame.pieces().len(), 3);
        let RecordsPiece::Bytes(middle) = &frame.pieces()[1] else {
            panic!("no file was given")
        };
        assert_eq!(middle.as_ptr(), large.as_ptr());
        let joined = frame.to_bytes().expect("no file was given");
        assert_eq!(joined.len(), frame.len());
        assert_eq!(joined[..4], (frame.len() as i32 - 4).to_be_bytes());
    }

    #[test]
    fn unknown_tags_are_merged_in_order() {
        let unknown = [RawTaggedField {
            tag: 1,
            data: Bytes::from_static(b"x"),
        }];
        let mut output = Encoder::new();
        let mut tags = TaggedFields::default();
        tags.field(0, &mut output, |output| {
            output.i8(5);
            Ok(())
        })
        .expect("fits");
        tags.field(2, &mut output, |output| {
            output.i8(6);
            Ok(())
        })
        .expect("fits");
        tags.finish(&unknown, &mut output).expect("distinct tags");
        assert_eq!(
            output.finish().to_bytes().expect("bytes"),
            &b"\x03\x00\x01\x05\x01\x01x\x02\x01\x06"[..]
        );
    }
}
