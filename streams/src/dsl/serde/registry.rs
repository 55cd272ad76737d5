//! The schemas of keys and values that carry a schema's id: where ids come from and lead to.

use std::any::TypeId;
use std::collections::HashMap;
#[cfg(feature = "avro")]
use std::sync::Arc;
use std::sync::{OnceLock, PoisonError, RwLock};

use bytes::{Bytes, BytesMut};
use moldau_schema::SchemaId;

use super::{RecordPart, SerdeContext, SerdeError};

/// What knows the schemas of a job: a schema registry, or a list of them.
///
/// Answers are kept, so each is asked for once. It is asked from within tasks and may block.
pub trait SchemaRegistry: Send + Sync + 'static {
    /// The id of a schema under a subject, which is registered there if it is not yet.
    ///
    /// # Errors
    /// The registry cannot be asked, or refuses the schema.
    fn id_of(&self, subject: &str, schema: &SchemaText<'_>) -> Result<i32, SerdeError>;

    /// The text of the schema with this id.
    ///
    /// # Errors
    /// The registry cannot be asked, or has no such schema.
    fn schema(&self, id: i32) -> Result<String, SerdeError>;
}

/// A schema as a registry keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaText<'a> {
    /// `AVRO` or `PROTOBUF`.
    pub kind: &'static str,
    /// The schema in its own language.
    pub text: &'a str,
}

/// Sets the registry of this process; there is one, as there is one logger.
///
/// # Errors
/// There is one already.
pub fn use_schema_registry(registry: impl SchemaRegistry) -> Result<(), SerdeError> {
    let used = Used {
        registry: Box::new(registry),
        ids: RwLock::default(),
        #[cfg(feature = "avro")]
        texts: RwLock::default(),
    };
    USED.set(used)
        .map_err(|_| SerdeError::new("this process has a schema registry already"))
}

/// Schemas with ids that are known beforehand; no others are registered.
#[derive(Clone, Debug, Default)]
pub struct FixedSchemas {
    schemas: HashMap<i32, String>,
}

impl FixedSchemas {
    /// No schemas.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more schema.
    #[must_use]
    pub fn with(mut self, id: i32, schema: impl Into<String>) -> Self {
        self.schemas.insert(id, schema.into());
        self
    }
}

impl SchemaRegistry for FixedSchemas {
    fn id_of(&self, subject: &str, schema: &SchemaText<'_>) -> Result<i32, SerdeError> {
        let ids = self.schemas.iter();
        let same = ids.filter(|(_, text)| text.as_str() == schema.text);
        same.map(|(id, _)| *id).min().ok_or_else(|| {
            SerdeError::new(format!(
                "no fixed schema is that of subject \"{subject}\": {}",
                schema.text
            ))
        })
    }

    fn schema(&self, id: i32) -> Result<String, SerdeError> {
        let found = self.schemas.get(&id).cloned();
        found.ok_or_else(|| SerdeError::new(format!("no fixed schema has the id {id}")))
    }
}

/// The registry, and what it has answered.
struct Used {
    registry: Box<dyn SchemaRegistry>,
    ids: RwLock<HashMap<TypeId, HashMap<String, i32>>>,
    #[cfg(feature = "avro")]
    texts: RwLock<HashMap<i32, Arc<str>>>,
}

static USED: OnceLock<Used> = OnceLock::new();

fn used() -> Result<&'static Used, SerdeError> {
    USED.get().ok_or_else(|| {
        SerdeError::new(
            "there is no schema registry\n  hint: call `use_schema_registry` before the job starts",
        )
    })
}

/// Writes the id of a type's schema under the subject of the topic: `<topic>-key` or
/// `<topic>-value`, as registries' serializers do.
pub(super) fn write_id<T: 'static>(
    context: &SerdeContext<'_>,
    schema: &SchemaText<'_>,
    out: &mut BytesMut,
) -> Result<(), SerdeError> {
    let part = match context.part {
        RecordPart::Key => "key",
        RecordPart::Value => "value",
    };
    let subject = format!("{}-{part}", context.topic);
    let used = used()?;
    let ids = used.ids.read().unwrap_or_else(PoisonError::into_inner);
    let known = ids.get(&TypeId::of::<T>());
    let known = known.and_then(|subjects| subjects.get(&subject)).copied();
    drop(ids);
    let id = match known {
        Some(id) => id,
        None => {
            let id = used.registry.id_of(&subject, schema)?;
            let mut ids = used.ids.write().unwrap_or_else(PoisonError::into_inner);
            ids.entry(TypeId::of::<T>())
                .or_default()
                .insert(subject, id);
            id
        }
    };
    SchemaId::Id(id).write(out);
    Ok(())
}

/// Takes the id off; the payload follows it.
pub(super) fn split_id(bytes: &Bytes) -> Result<(i32, Bytes), SerdeError> {
    match SchemaId::split(bytes.clone()) {
        Ok((SchemaId::Id(id), payload)) => Ok((id, payload)),
        Ok((guid @ SchemaId::Guid(_), _)) => Err(SerdeError::new(format!(
            "its schema is named by the GUID {guid}, which is not supported, only ids are"
        ))),
        Err(error) => Err(SerdeError::new(error.to_string())),
    }
}

/// The text of a schema.
#[cfg(feature = "avro")]
pub(super) fn schema_text(id: i32) -> Result<Arc<str>, SerdeError> {
    let used = used()?;
    let texts = used.texts.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = texts.get(&id) {
        return Ok(Arc::clone(text));
    }
    drop(texts);
    let text: Arc<str> = used.registry.schema(id)?.into();
    let mut texts = used.texts.write().unwrap_or_else(PoisonError::into_inner);
    texts.insert(id, Arc::clone(&text));
    Ok(text)
}
