//! Avro with the schema's id before each value.

use std::any::TypeId;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use ::serde::Serialize;
use ::serde::de::DeserializeOwned;
use apache_avro::{AvroSchema, Schema, from_avro_datum, from_value, to_avro_datum, to_value};
use bytes::{Bytes, BytesMut};

use super::registry::{SchemaText, schema_text, split_id, write_id};
use super::{Serde, SerdeContext, SerdeError};

/// A value that is Avro on its topic, in the schema registry's format: `00 | schema id (4 bytes) |
/// datum`. Dereferences to the value itself.
///
/// It is written with its type's schema. It is read with the schema it was written with, resolved
/// to its type's, so schemas may evolve. The schemas come from what
/// [`use_schema_registry`](crate::use_schema_registry) has set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Avro<T>(
    /// The value.
    pub T,
);

impl<T> Deref for Avro<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Avro<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Avro<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> Serde for Avro<T>
where
    T: AvroSchema + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    fn encode(&self, context: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        let own = own_schema::<T>();
        let schema = SchemaText {
            kind: "AVRO",
            text: &own.text,
        };
        let datum = to_value(&self.0)
            .and_then(|value| value.resolve(&own.schema))
            .and_then(|value| to_avro_datum(&own.schema, value))
            .map_err(|error| SerdeError::new(format!("no Avro: {error}")))?;
        write_id::<T>(context, &schema, out)?;
        out.extend_from_slice(&datum);
        Ok(())
    }

    fn decode(_: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        let (id, datum) = split_id(bytes)?;
        let (written, own) = (writer_schema(id)?, own_schema::<T>());
        let value = from_avro_datum(&written, &mut datum.as_ref(), Some(&own.schema));
        let value = value.and_then(|value| from_value::<T>(&value));
        value
            .map(Self)
            .map_err(|error| SerdeError::new(format!("no fitting Avro of schema {id}: {error}")))
    }
}

/// A type's schema, and its text.
struct Own {
    schema: Schema,
    text: String,
}

fn own_schema<T: AvroSchema + 'static>() -> Arc<Own> {
    let kept = OWN.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(own) = kept.get(&TypeId::of::<T>()) {
        return Arc::clone(own);
    }
    drop(kept);
    let schema = T::get_schema();
    // A schema is JSON, so it has a text.
    let text = serde_json::to_string(&schema).unwrap_or_default();
    let own = Arc::new(Own { schema, text });
    let mut kept = OWN.write().unwrap_or_else(PoisonError::into_inner);
    kept.insert(TypeId::of::<T>(), Arc::clone(&own));
    own
}

fn writer_schema(id: i32) -> Result<Arc<Schema>, SerdeError> {
    let kept = WRITTEN.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(schema) = kept.get(&id) {
        return Ok(Arc::clone(schema));
    }
    drop(kept);
    let schema = Schema::parse_str(&schema_text(id)?);
    let schema = schema.map_err(|error| {
        SerdeError::new(format!("schema {id} is not one that can be read: {error}"))
    })?;
    let schema = Arc::new(schema);
    let mut kept = WRITTEN.write().unwrap_or_else(PoisonError::into_inner);
    kept.insert(id, Arc::clone(&schema));
    Ok(schema)
}

static OWN: LazyLock<RwLock<HashMap<TypeId, Arc<Own>>>> = LazyLock::new(RwLock::default);
static WRITTEN: LazyLock<RwLock<HashMap<i32, Arc<Schema>>>> = LazyLock::new(RwLock::default);
