//! Source `generator`: made-up records, the same ones for the same seed.

mod spec;

pub(crate) use spec::GeneratorSpec;
