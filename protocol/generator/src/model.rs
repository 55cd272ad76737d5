//! Schemas resolved into the structures and types of the Rust code.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::names::{field_name, type_name};
use crate::schema::{Field, Kind, Schema, Versions};

/// One message, ready to be written as Rust.
#[derive(Debug)]
pub(crate) struct Message {
    /// The schema's name, which is also the Rust type's.
    pub name: String,
    /// What kind of message it is.
    pub kind: Kind,
    /// Number of the API, or the type of an internal record.
    pub api_key: Option<i16>,
    /// Versions that exist.
    pub valid: Versions,
    /// Versions with compact lengths and tagged fields.
    pub flexible: Versions,
    /// The message itself, then the structures in it.
    pub(crate) structs: Vec<StructModel>,
}

/// One structure of a message.
#[derive(Debug)]
pub(crate) struct StructModel {
    /// The Rust type's name.
    pub name: String,
    /// The sentence that documents it.
    pub doc: String,
    /// Versions in which it can occur.
    pub versions: Versions,
    /// Fields in the order of the wire.
    pub fields: Vec<FieldModel>,
}

/// One field of a structure.
#[derive(Debug)]
pub(crate) struct FieldModel {
    /// The schema's name, which errors tell.
    pub schema_name: String,
    /// The Rust field's name.
    pub name: String,
    /// The sentence that documents it.
    pub doc: String,
    /// Its type.
    pub kind: Type,
    /// Versions that have it, among those in which the structure can occur.
    pub versions: Versions,
    /// Versions in which it may be null, among those that have it.
    pub nullable: Versions,
    /// Versions and number of its tag.
    pub tag: Option<(u32, Versions)>,
    /// Whether a version without the field may drop it.
    pub ignorable: bool,
    /// Versions with compact lengths for this field.
    pub flexible: Versions,
    /// Its default.
    pub default: Default,
}

/// A field's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// One of `bool i8 i16 u16 i32 u32 i64 f64`, by its Rust name.
    Number(&'static str),
    /// A 128-bit id.
    Uuid,
    /// A string.
    String,
    /// Bytes.
    Bytes,
    /// Record batches.
    Records,
    /// A structure, by its Rust name.
    Struct(String),
    /// A list.
    Array(Box<Self>),
}

/// A field's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    /// What Rust takes as the type's default: zero, false, empty.
    Zero,
    /// No value at all.
    Null,
    /// A number or truth value, as Rust writes it.
    Literal(String),
}

impl Message {
    /// Resolves a schema. `renamed` gives other names to structures whose names are taken.
    ///
    /// # Errors
    /// The schema uses something that the generator does not know.
    pub(crate) fn resolve(schema: &Schema, renamed: &BTreeMap<String, String>) -> Result<Self> {
        let mut resolver = Resolver {
            schema,
            renamed,
            structs: Vec::new(),
            open: Vec::new(),
            done: BTreeSet::new(),
        };
        let doc = format!("`{}` as Kafka defines it.", schema.name);
        resolver.add(&schema.name, doc, &schema.fields, schema.valid_versions)?;
        Ok(Self {
            name: schema.name.clone(),
            kind: schema.kind,
            api_key: schema.api_key,
            valid: schema.valid_versions,
            flexible: schema.flexible_versions.and(schema.valid_versions),
            structs: resolver.structs,
        })
    }

    /// Fewest bytes that a value of the type takes in any of `versions`.
    #[must_use]
    pub(crate) fn min_size(&self, kind: &Type, versions: Versions) -> usize {
        (versions.min..=versions.max)
            .map(|version| self.size_in(kind, false, self.flexible, version))
            .min()
            .unwrap_or(1)
    }

    fn size_in(&self, kind: &Type, nullable: bool, flexible: Versions, version: i16) -> usize {
        let in_version = Versions {
            min: version,
            max: version,
        };
        let flexible = flexible.covers(in_version);
        match kind {
            Type::Number("bool" | "i8") => 1,
            Type::Number("i16" | "u16") => 2,
            Type::Number("i32" | "u32") => 4,
            Type::Number(_) => 8,
            Type::Uuid => 16,
            Type::String if !flexible => 2,
            Type::Bytes | Type::Records | Type::Array(_) if !flexible => 4,
            Type::String | Type::Bytes | Type::Records | Type::Array(_) => 1,
            Type::Struct(_) if nullable => 1,
            Type::Struct(name) => {
                let fields = self
                    .structs
                    .iter()
                    .find(|model| model.name == *name)
                    .map(|model| model.fields.as_slice());
                let present = fields.unwrap_or_default().iter().filter(|field| {
                    field.versions.covers(in_version)
                        && !field
                            .tag
                            .is_some_and(|(_, tagged)| tagged.covers(in_version))
                });
                let sizes = present.map(|field| {
                    self.size_in(&field.kind, field.is_option(), field.flexible, version)
                });
                sizes.sum::<usize>() + usize::from(flexible)
            }
        }
    }
}

impl FieldModel {
    /// Whether the Rust type is an `Option`.
    #[must_use]
    pub(crate) fn is_option(&self) -> bool {
        self.kind == Type::Records || !self.nullable.is_empty()
    }
}

struct Resolver<'a> {
    schema: &'a Schema,
    renamed: &'a BTreeMap<String, String>,
    structs: Vec<StructModel>,
    /// Structures that contain the one being resolved, to notice recursion.
    open: Vec<String>,
    done: BTreeSet<String>,
}

impl Resolver<'_> {
    fn add(&mut self, name: &str, doc: String, fields: &[Field], versions: Versions) -> Result<()> {
        if self.open.iter().any(|open| open == name) {
            bail!("{}: structure {name} contains itself", self.schema.name);
        }
        if !self.done.insert(name.to_owned()) {
            return Ok(());
        }
        self.open.push(name.to_owned());
        let place = self.structs.len();
        let name = self.rust_name(name);
        self.structs.push(StructModel {
            name,
            doc,
            versions,
            fields: Vec::new(),
        });
        let fields: Result<Vec<_>> = fields
            .iter()
            .map(|field| self.field(field, versions))
            .collect();
        self.structs[place].fields = fields?;
        self.open.pop();
        Ok(())
    }

    fn field(&mut self, field: &Field, possible: Versions) -> Result<FieldModel> {
        let versions = field.versions().and(possible);
        let kind = self.kind(&field.kind, field, versions)?;
        let nullable = field.nullable_versions.and(versions);
        let tag = field
            .tag
            .map(|tag| (tag, field.tagged_versions.and(versions)));
        let message_flexible = self.schema.flexible_versions;
        if tag.is_some_and(|(_, tagged)| !message_flexible.covers(tagged)) {
            bail!(
                "{}: field {} is tagged in a version without tags",
                self.schema.name,
                field.name
            );
        }
        if tag.is_some() && kind == Type::Records {
            bail!(
                "{}: records in a tagged field are not supported",
                self.schema.name
            );
        }
        let default = default(field, &kind, !nullable.is_empty())
            .with_context(|| format!("{}: default of {}", self.schema.name, field.name))?;
        Ok(FieldModel {
            schema_name: field.name.clone(),
            name: field_name(&field.name),
            doc: field
                .about
                .clone()
                .unwrap_or_else(|| self.doc(field, versions, possible, nullable)),
            kind,
            versions,
            nullable,
            tag,
            ignorable: field.ignorable,
            flexible: field
                .flexible_versions
                .unwrap_or(message_flexible)
                .and(self.schema.valid_versions),
            default,
        })
    }

    fn doc(
        &self,
        field: &Field,
        versions: Versions,
        possible: Versions,
        nullable: Versions,
    ) -> String {
        let mut notes = Vec::new();
        if versions != possible {
            notes.push(versions.describe(self.schema.valid_versions));
        }
        if nullable == versions && !nullable.is_empty() {
            notes.push("may be null".to_owned());
        } else if !nullable.is_empty() {
            notes.push(format!(
                "may be null in {}",
                nullable.describe(self.schema.valid_versions)
            ));
        }
        if field.tag.is_some() {
            notes.push("tagged".to_owned());
        }
        let words = crate::names::words(&field.name).join(" ");
        if notes.is_empty() {
            format!("The {words}.")
        } else {
            format!("The {words}: {}.", notes.join(", "))
        }
    }

    fn kind(&mut self, text: &str, field: &Field, versions: Versions) -> Result<Type> {
        if let Some(element) = text.strip_prefix("[]") {
            return Ok(Type::Array(Box::new(self.kind(element, field, versions)?)));
        }
        Ok(match text {
            "bool" => Type::Number("bool"),
            "int8" => Type::Number("i8"),
            "int16" => Type::Number("i16"),
            "uint16" => Type::Number("u16"),
            "int32" => Type::Number("i32"),
            "uint32" => Type::Number("u32"),
            "int64" => Type::Number("i64"),
            "float64" => Type::Number("f64"),
            "uuid" => Type::Uuid,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "records" => Type::Records,
            name => {
                let common = self
                    .schema
                    .common_structs
                    .iter()
                    .find(|shared| shared.name == name);
                match common {
                    Some(shared) => {
                        let doc = format!(
                            "A structure that several fields of [`{}`] share.",
                            self.schema.name
                        );
                        self.add(name, doc, &shared.fields, self.schema.valid_versions)?;
                    }
                    None if field.fields.is_empty() => {
                        bail!("{}: type {name} is unknown", self.schema.name)
                    }
                    None => {
                        let doc = format!(
                            "In [`{}`]: the type of `{}`.",
                            self.schema.name,
                            field_name(&field.name)
                        );
                        self.add(name, doc, &field.fields, versions)?;
                    }
                }
                Type::Struct(self.rust_name(name))
            }
        })
    }

    fn rust_name(&self, name: &str) -> String {
        self.renamed
            .get(name)
            .cloned()
            .unwrap_or_else(|| type_name(name))
    }
}

fn default(field: &Field, kind: &Type, nullable: bool) -> Result<Default> {
    let text = match &field.default {
        None if *kind == Type::Records && nullable => return Ok(Default::Null),
        None => return Ok(Default::Zero),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    if text == "null" {
        // A field that may only be null in versions that are gone has no null any more.
        return Ok(if nullable {
            Default::Null
        } else {
            Default::Zero
        });
    }
    match kind {
        Type::Number("bool") if text == "true" => Ok(Default::Literal(text)),
        Type::Number("bool") if text == "false" => Ok(Default::Zero),
        Type::Number("f64") => bail!("a default of a floating-point number is not supported"),
        Type::Number(_) => {
            let value = match text.strip_prefix("0x") {
                Some(digits) => i64::from_str_radix(digits, 16)?,
                None => text.parse()?,
            };
            Ok(if value == 0 {
                Default::Zero
            } else {
                Default::Literal(value.to_string())
            })
        }
        _ if text.is_empty() => Ok(Default::Zero),
        _ => bail!("\"{text}\" is not supported"),
    }
}
