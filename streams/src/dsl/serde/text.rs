//! Strings in UTF-8.

use bytes::{BufMut, Bytes, BytesMut};
use moldau_client::KString;

use super::{Serde, SerdeContext, SerdeError};

impl Serde for KString {
    fn encode(&self, _: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        out.put_slice(self.as_bytes());
        Ok(())
    }

    fn decode(_: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        Self::from_utf8(bytes.clone()).map_err(|error| not_utf8(bytes, error))
    }
}

impl Serde for String {
    fn encode(&self, _: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        out.put_slice(self.as_bytes());
        Ok(())
    }

    fn decode(_: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error))?;
        Ok(text.to_owned())
    }
}

fn not_utf8(bytes: &Bytes, error: std::str::Utf8Error) -> SerdeError {
    let from = error.valid_up_to();
    let byte = bytes.get(from).copied().unwrap_or(0);
    SerdeError::new(format!(
        "no UTF-8 text: byte {byte:#04x} at position {from}"
    ))
}
