//! The identity of a schema, as it travels with records.
//!
//! ```text
//! version 0    00 | id: int32, big-endian | payload
//! version 1    01 | guid: 16 bytes        | payload
//! header       __key_schema_id or __value_schema_id: one of the two prefixes; the payload is plain
//! ```
//!
//! Nothing marks plain data as plain: any payload that begins with 00 or 01 may look like a
//! prefix. Whoever reads a topic must know whether it is written with schemas.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use moldau_client::RecordHeader;

/// Which schema a key or value was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SchemaId {
    /// The number that a registry gave it.
    Id(i32),
    /// Its GUID, the same in every registry.
    Guid([u8; 16]),
}

/// The part of a record that a schema is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// The bytes do not begin with the identity of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The first byte is neither 0 nor 1.
    #[error(
        "the payload does not begin with a schema id: its first byte is {0:#04x}, not 0x00 or 0x01"
    )]
    Magic(u8),
    /// The bytes end within the identity.
    #[error("the payload is too short for a schema id: {0} bytes")]
    TooShort(usize),
    /// A header holds more than the identity.
    #[error("the schema header has {0} bytes too many")]
    Trailing(usize),
}

impl SchemaId {
    /// Takes the prefix off `payload`; what follows it is the second value, without copy.
    ///
    /// # Errors
    /// When `payload` does not begin with one.
    pub fn split(mut payload: Bytes) -> Result<(Self, Bytes), WireError> {
        let length = payload.len();
        let magic = *payload.first().ok_or(WireError::TooShort(0))?;
        let id = match magic {
            0 if length >= 5 => {
                payload.advance(1);
                Self::Id(payload.get_i32())
            }
            1 if length >= 17 => {
                payload.advance(1);
                let mut guid = [0; 16];
                payload.copy_to_slice(&mut guid);
                Self::Guid(guid)
            }
            0 | 1 => return Err(WireError::TooShort(length)),
            other => return Err(WireError::Magic(other)),
        };
        Ok((id, payload))
    }

    /// The identity in the headers of a record; of several, the last one counts.
    ///
    /// # Errors
    /// When the header is there and is none.
    pub fn from_headers(headers: &[RecordHeader], part: Part) -> Result<Option<Self>, WireError> {
        let header = headers
            .iter()
            .rev()
            .find(|header| &*header.key == part.header_name());
        let Some(value) = header.and_then(|header| header.value.clone()) else {
            return Ok(None);
        };
        let (id, rest) = Self::split(value)?;
        if rest.is_empty() {
            Ok(Some(id))
        } else {
            Err(WireError::Trailing(rest.len()))
        }
    }

    /// The identity and the plain payload of a key or value, whether it stands in a header or before
    /// the payload.
    ///
    /// # Errors
    /// When it stands in neither place.
    pub fn of(
        payload: Bytes,
        headers: &[RecordHeader],
        part: Part,
    ) -> Result<(Self, Bytes), WireError> {
        match Self::from_headers(headers, part)? {
            Some(id) => Ok((id, payload)),
            None => Self::split(payload),
        }
    }

    /// Writes the prefix; the payload follows it.
    pub fn write(self, out: &mut BytesMut) {
        match self {
            Self::Id(id) => {
                out.put_u8(0);
                out.put_i32(id);
            }
            Self::Guid(guid) => {
                out.put_u8(1);
                out.put_slice(&guid);
            }
        }
    }

    /// The header that carries the identity, for a payload without prefix.
    #[must_use]
    pub fn to_header(self, part: Part) -> RecordHeader {
        let mut value = BytesMut::with_capacity(17);
        self.write(&mut value);
        RecordHeader {
            key: part.header_name().into(),
            value: Some(value.freeze()),
        }
    }
}

impl Part {
    /// Name of the header for the identity of this part's schema.
    #[must_use]
    pub const fn header_name(self) -> &'static str {
        match self {
            Self::Key => "__key_schema_id",
            Self::Value => "__value_schema_id",
        }
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Guid(guid) => {
                for (index, byte) in guid.iter().enumerate() {
                    let dash = if matches!(index, 4 | 6 | 8 | 10) {
                        "-"
                    } else {
                        ""
                    };
                    write!(f, "{dash}{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: [u8; 16] = [
        0x12, 0x34, 0x56, 0x78, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255,
    ];

    #[test]
    fn both_prefixes_are_read_as_they_are_written() {
        for id in [SchemaId::Id(258), SchemaId::Id(-1), SchemaId::Guid(GUID)] {
            let mut bytes = BytesMut::new();
            id.write(&mut bytes);
            bytes.extend_from_slice(b"payload");
            assert_eq!(
                SchemaId::split(bytes.freeze()),
                Ok((id, Bytes::from_static(b"payload")))
            );
        }
        let mut bytes = BytesMut::new();
        SchemaId::Id(258).write(&mut bytes);
        assert_eq!(&bytes[..], [0, 0, 0, 1, 2]);
    }

    #[test]
    fn the_header_form_leaves_the_payload_plain() {
        let plain = Bytes::from_static(b"{\"a\":1}");
        let headers = [
            SchemaId::Id(1).to_header(Part::Value),
            SchemaId::Guid(GUID).to_header(Part::Value),
        ];
        let found = SchemaId::of(plain.clone(), &headers, Part::Value);
        assert_eq!(found, Ok((SchemaId::Guid(GUID), plain.clone())));
        assert_eq!(&*headers[0].key, "__value_schema_id");
        assert_eq!(SchemaId::from_headers(&headers, Part::Key), Ok(None));
        assert_eq!(
            SchemaId::of(plain, &headers, Part::Key),
            Err(WireError::Magic(b'{'))
        );
    }

    #[test]
    fn what_is_cut_or_something_else_is_an_error() {
        let split =
            |bytes: &'static [u8]| SchemaId::split(Bytes::from_static(bytes)).map(|found| found.0);
        assert_eq!(split(b""), Err(WireError::TooShort(0)));
        assert_eq!(split(&[0, 0, 0, 1]), Err(WireError::TooShort(4)));
        assert_eq!(split(&[1; 16]), Err(WireError::TooShort(16)));
        assert_eq!(split(&[2; 20]), Err(WireError::Magic(2)));
        let mut header = SchemaId::Id(1).to_header(Part::Key);
        header.value = Some(Bytes::from_static(&[0, 0, 0, 0, 1, 9]));
        assert_eq!(
            SchemaId::from_headers(&[header], Part::Key),
            Err(WireError::Trailing(1))
        );
    }

    #[test]
    fn identities_are_shown_as_people_know_them() {
        assert_eq!(SchemaId::Id(7).to_string(), "7");
        assert_eq!(
            SchemaId::Guid(GUID).to_string(),
            "12345678-0102-0304-0506-0708090a0bff"
        );
    }
}
