//! Numbers, big-endian as Java's serdes write them, booleans and bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Serde, SerdeContext, SerdeError};

macro_rules! number {
    ($($number:ty: $put:ident),* $(,)?) => {$(
        impl Serde for $number {
            fn encode(&self, _: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
                out.$put(*self);
                Ok(())
            }

            fn decode(_: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
                let array = bytes.as_ref().try_into();
                array.map(Self::from_be_bytes).map_err(|_| {
                    SerdeError::new(format!(
                        concat!(stringify!($number), " takes {} bytes, but there are {}"),
                        size_of::<$number>(),
                        bytes.len()
                    ))
                })
            }
        }
    )*};
}

number! {
    i8: put_i8, i16: put_i16, i32: put_i32, i64: put_i64,
    u8: put_u8, u16: put_u16, u32: put_u32, u64: put_u64,
    f32: put_f32, f64: put_f64,
}

impl Serde for bool {
    fn encode(&self, _: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        out.put_u8(u8::from(*self));
        Ok(())
    }

    fn decode(_: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        match bytes.as_ref() {
            [0] => Ok(false),
            [1] => Ok(true),
            other => Err(SerdeError::new(format!(
                "bool is one byte, 0 or 1, but there are {} bytes",
                other.len()
            ))),
        }
    }
}

/// Nothing: always written as no bytes, and anything is read as nothing.
impl Serde for () {
    fn encode(&self, _: &SerdeContext<'_>, _: &mut BytesMut) -> Result<(), SerdeError> {
        Ok(())
    }

    fn decode(_: &SerdeContext<'_>, _: &Bytes) -> Result<Self, SerdeError> {
        Ok(())
    }

    fn decode_null() -> Result<Self, SerdeError> {
        Ok(())
    }

    fn is_null(&self) -> bool {
        true
    }
}

impl Serde for Bytes {
    fn encode(&self, _: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        out.put_slice(self);
        Ok(())
    }

    fn decode(_: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        Ok(bytes.clone())
    }
}

impl Serde for Vec<u8> {
    fn encode(&self, _: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        out.put_slice(self);
        Ok(())
    }

    fn decode(_: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;

    fn round_trip<T: Serde + PartialEq + std::fmt::Debug>(value: &T, expected: &[u8]) {
        let context = SerdeContext::value("t");
        let bytes = encode(value, &context, &mut BytesMut::new()).expect("encode");
        assert_eq!(bytes.as_deref(), Some(expected));
        assert_eq!(
            &decode::<T>(&context, bytes.as_ref()).expect("decode"),
            value
        );
    }

    #[test]
    fn numbers_are_big_endian_as_in_java() {
        round_trip(&1_i64, &[0, 0, 0, 0, 0, 0, 0, 1]);
        round_trip(&-2_i32, &[255, 255, 255, 254]);
        round_trip(&1.5_f64, &[0x3f, 0xf8, 0, 0, 0, 0, 0, 0]);
        round_trip(&true, &[1]);
        round_trip(&Some(7_u16), &[0, 7]);
    }

    #[test]
    fn a_number_of_the_wrong_size_is_refused_with_both_sizes() {
        let error = decode::<i64>(&SerdeContext::value("t"), Some(&Bytes::from_static(b"abc")));
        let text = error.expect_err("too short").to_string();
        assert_eq!(text, "i64 takes 8 bytes, but there are 3");
    }

    #[test]
    fn null_is_only_read_by_types_that_have_one() {
        let context = SerdeContext::value("t");
        assert_eq!(decode::<Option<i64>>(&context, None), Ok(None));
        assert!(decode::<i64>(&context, None).is_err());
        assert_eq!(
            encode(&None::<i64>, &context, &mut BytesMut::new()),
            Ok(None)
        );
    }
}
