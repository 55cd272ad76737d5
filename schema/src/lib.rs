//! What records say about their schema.
//!
//! Serializers of the schema registry's world put the identity of a schema before the payload of a
//! key or value, or into a header. [`SchemaId`] reads and writes all three forms, so that tools
//! know registry-encoded data from plain data.
//!
//! Not here yet: the registry itself and its compatibility rules, and serdes for JSON Schema. Those
//! for Avro and Protobuf are types of `moldau-streams`, which is also where they ask a registry.

mod schema_id;

pub use schema_id::{Part, SchemaId, WireError};
