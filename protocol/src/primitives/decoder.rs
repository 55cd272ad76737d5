//! Reads protocol values from a frame.

use bytes::Bytes;

use super::varint;
use crate::error::DecodeError;
use crate::types::{KString, RawTaggedField, Records, Uuid};

/// A cursor over the bytes of one message.
///
/// Strings, byte fields and records come out as slices of the frame. Every length is checked
/// against the bytes left before anything is allocated, and the decoded form as a whole is bounded
/// by a budget in proportion to the frame, so hostile bytes can neither panic nor exhaust memory.
///
/// `flexible` tells whether the version of the message uses the compact forms (KIP-482).
#[derive(Clone, Debug)]
pub struct Decoder {
    bytes: Bytes,
    position: usize,
    /// Reading stops here; smaller than the bytes while a tagged field is read.
    end: usize,
    /// How many bytes of memory lists may still take.
    budget: usize,
}

impl Decoder {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        let end = bytes.len();
        let budget = BUDGET_BASE.saturating_add(end.saturating_mul(BUDGET_PER_BYTE));
        Self {
            bytes,
            position: 0,
            end,
            budget,
        }
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// How many bytes have been read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// The bytes that are left, which are thereby read.
    #[must_use]
    pub fn take_rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.position..self.end);
        self.position = self.end;
        rest
    }

    /// Reads a byte as a truth value: anything but zero is true.
    ///
    /// # Errors
    /// The bytes end before the value.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// Reads an 8-bit integer.
    ///
    /// # Errors
    /// The bytes end before the value.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.fixed().map(i8::from_be_bytes)
    }

    /// Reads a 16-bit integer.
    ///
    /// # Errors
    /// The bytes end before the value.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    /// Reads an unsigned 16-bit integer.
    ///
    /// # Errors
    /// The bytes end before the value.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// Reads a 32-bit integer.
    ///
    /// # Errors
    /// The bytes end before the value.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// Reads an unsigned 32-bit integer.
    ///
    /// # Errors
    /// The bytes end before the value.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Reads a 64-bit integer.
    ///
    /// # Errors
    /// The bytes end before the value.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// Reads a 64-bit floating-point number.
    ///
    /// # Errors
    /// The bytes end before the value.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.fixed().map(f64::from_be_bytes)
    }

    /// Reads a 128-bit id.
    ///
    /// # Errors
    /// The bytes end before the value.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.fixed().map(Uuid)
    }

    /// Reads an unsigned integer of variable length.
    ///
    /// # Errors
    /// The bytes end before the value, or it has more than 32 bits.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let rest = self.rest();
        match varint::read_u32(rest) {
            Some((value, size)) => {
                self.position += size;
                Ok(value)
            }
            None if varint::is_cut(rest, 5) => Err(DecodeError::UnexpectedEnd {
                needed: rest.len() + 1,
                remaining: rest.len(),
            }),
            None => Err(DecodeError::InvalidVarint),
        }
    }

    /// Reads a string that cannot be null.
    ///
    /// # Errors
    /// The bytes end inside it, it is null or not UTF-8.
    pub fn string(&mut self, flexible: bool) -> Result<KString, DecodeError> {
        self.nullable_string(flexible)?
            .ok_or(DecodeError::UnexpectedNull)
    }

    /// Reads a string.
    ///
    /// # Errors
    /// The bytes end inside it, or it is not UTF-8.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<KString>, DecodeError> {
        let length = if flexible {
            self.compact_length()?
        } else {
            Self::length(i64::from(self.i16()?))
        };
        let Some(length) = length else {
            return Ok(None);
        };
        let bytes = self.slice(length)?;
        Ok(Some(KString::from_utf8(bytes)?))
    }

    /// Reads bytes that cannot be null.
    ///
    /// # Errors
    /// The bytes end inside the value, or it is null.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        self.nullable_bytes(flexible)?
            .ok_or(DecodeError::UnexpectedNull)
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// The bytes end inside the value.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        self.list_length(flexible)?
            .map(|length| self.slice(length))
            .transpose()
    }

    /// Reads record batches without looking into them.
    ///
    /// # Errors
    /// The bytes end inside the value.
    pub fn records(&mut self, flexible: bool) -> Result<Option<Records>, DecodeError> {
        Ok(self.nullable_bytes(flexible)?.map(Records::from))
    }

    /// Reads whether a structure follows that may be null: 1 if so. In its place, -1 says that there is
    /// none, and in a tagged field 0 does.
    ///
    /// # Errors
    /// The bytes end before the value.
    pub fn is_present(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? > 0)
    }

    /// Reads a list that cannot be null; every element has at least `min_size` bytes.
    ///
    /// # Errors
    /// The length cannot be true, the list is null, or an element is wrong.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        min_size: usize,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(flexible, min_size, element)?
            .ok_or(DecodeError::UnexpectedNull)
    }

    /// Reads a list; every element has at least `min_size` bytes.
    ///
    /// # Errors
    /// The length cannot be true, or an element is wrong.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        min_size: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(length) = self.array_length(flexible, min_size, size_of::<T>())? else {
            return Ok(None);
        };
        let mut elements = Vec::with_capacity(length);
        for _ in 0..length {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// Reads the tagged fields at the end of a structure that has no known ones.
    ///
    /// # Errors
    /// The bytes end inside a field, or the fields are out of order.
    pub fn unknown_tags(&mut self, flexible: bool) -> Result<Vec<RawTaggedField>, DecodeError> {
        if flexible {
            self.tags(|_, _| Ok(false))
        } else {
            Ok(Vec::new())
        }
    }

    /// Reads the tagged fields at the end of a structure. `known` reads a field whose tag it knows
    /// and answers true, or leaves it; what it leaves is returned.
    ///
    /// # Errors
    /// The bytes end inside a field, the fields are out of order, or a known one is too long.
    pub fn tags(
        &mut self,
        mut known: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<Vec<RawTaggedField>, DecodeError> {
        let count = self.unsigned_varint()?;
        let mut unknown = Vec::new();
        let mut next_tag = 0;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            if u64::from(tag) < next_tag {
                return Err(DecodeError::TagOutOfOrder { tag });
            }
            next_tag = u64::from(tag) + 1;
            let length = self.unsigned_varint()? as usize;
            if length > self.remaining() {
                return Err(self.invalid_length(length as i64));
            }
            let outer_end = self.end;
            self.end = self.position + length;
            if known(self, tag)? {
                if self.remaining() != 0 {
                    return Err(DecodeError::TagTooLong {
                        tag,
                        remaining: self.remaining(),
                    });
                }
            } else {
                self.charge(size_of::<RawTaggedField>())?;
                unknown.push(RawTaggedField {
                    tag,
                    data: self.take_rest(),
                });
            }
            self.end = outer_end;
        }
        Ok(unknown)
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.position..self.end).unwrap_or_default()
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest().first_chunk() {
            Some(chunk) => {
                let chunk = *chunk;
                self.position += N;
                Ok(chunk)
            }
            None => Err(DecodeError::UnexpectedEnd {
                needed: N,
                remaining: self.remaining(),
            }),
        }
    }

    fn slice(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(self.invalid_length(length as i64));
        }
        let slice = self.bytes.slice(self.position..self.position + length);
        self.position += length;
        Ok(slice)
    }

    /// A negative length stands for null.
    fn length(length: i64) -> Option<usize> {
        usize::try_from(length).ok()
    }

    /// A compact length is one more than the length; zero stands for null.
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(self
            .unsigned_varint()?
            .checked_sub(1)
            .map(|length| length as usize))
    }

    fn list_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            self.compact_length()
        } else {
            Ok(Self::length(i64::from(self.i32()?)))
        }
    }

    fn array_length(
        &mut self,
        flexible: bool,
        min_size: usize,
        size_in_memory: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let Some(length) = self.list_length(flexible)? else {
            return Ok(None);
        };
        if length.saturating_mul(min_size.max(1)) > self.remaining() {
            return Err(self.invalid_length(length as i64));
        }
        self.charge(length.saturating_mul(size_in_memory))?;
        Ok(Some(length))
    }

    fn charge(&mut self, size: usize) -> Result<(), DecodeError> {
        let left = self.budget.checked_sub(size);
        self.budget = left.ok_or(DecodeError::TooManyElements {
            length: self.bytes.len(),
        })?;
        Ok(())
    }

    #[cold]
    fn invalid_length(&self, length: i64) -> DecodeError {
        DecodeError::InvalidLength {
            length,
            remaining: self.remaining(),
        }
    }
}

/// Memory that the lists of even the smallest message may take.
const BUDGET_BASE: usize = 1 << 20;

/// Memory that lists may take for every byte of the message. A list of structures with short names
/// takes about eight; only a made-up message takes more than sixteen on a whole megabyte.
const BUDGET_PER_BYTE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(bytes: &'static [u8]) -> Decoder {
        Decoder::new(Bytes::from_static(bytes))
    }

    #[test]
    fn strings_in_both_forms() {
        assert_eq!(decoder(b"\x00\x02ab").string(false).expect("string"), "ab");
        assert_eq!(decoder(b"\x03ab").string(true).expect("string"), "ab");
        assert_eq!(decoder(b"\xff\xff").nullable_string(false), Ok(None));
        assert_eq!(decoder(b"\x00").nullable_string(true), Ok(None));
        assert_eq!(
            decoder(b"\x00").string(true),
            Err(DecodeError::UnexpectedNull)
        );
        assert!(matches!(
            decoder(b"\x00\x01\xff").string(false),
            Err(DecodeError::InvalidUtf8(_))
        ));
    }

    #[test]
    fn a_length_beyond_the_bytes_left_is_refused_before_anything_is_allocated() {
        let error = DecodeError::InvalidLength {
            length: i64::from(i32::MAX),
            remaining: 1,
        };
        assert_eq!(
            decoder(b"\x7f\xff\xff\xff\x00").bytes(false),
            Err(error.clone())
        );
        assert_eq!(
            decoder(b"\x7f\xff\xff\xff\x00").array(false, 1, Decoder::i8),
            Err(error.clone())
        );
        assert_eq!(
            decoder(b"\x7f\xff\xff\xff\x00").array(false, 0, |_| Ok(())),
            Err(error)
        );
    }

    #[test]
    fn tagged_fields_must_ascend_and_fit() {
        assert_eq!(
            decoder(b"\x02\x01\x00\x01\x00").unknown_tags(true),
            Err(DecodeError::TagOutOfOrder { tag: 1 })
        );
        let read = decoder(b"\x01\x00\x02\x00\x00").tags(|input, _| input.i8().map(|_| true));
        assert_eq!(
            read,
            Err(DecodeError::TagTooLong {
                tag: 0,
                remaining: 1
            })
        );
        let short = decoder(b"\x01\x00\x01\x00\x00").tags(|input, _| input.i16().map(|_| true));
        assert_eq!(
            short,
            Err(DecodeError::UnexpectedEnd {
                needed: 2,
                remaining: 1
            })
        );
    }
}
