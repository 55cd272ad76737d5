//! The indexes over all APIs and records: modules, keys, and the enums of all messages.

use std::fmt::Write;

use crate::files::{Api, GENERATED};
use crate::names::snake_case;

/// Writes `messages/mod.rs`.
#[must_use]
pub(crate) fn messages(apis: &[Api], others: &[String]) -> String {
    let mut modules: Vec<String> = apis.iter().map(|api| snake_case(&api.name)).collect();
    modules.extend(others.iter().map(|name| snake_case(name)));
    let mut text = format!(
        "//! All requests and responses, and messages beside them.\n{GENERATED}\n{EXEMPT}\n"
    );
    text += "mod api_key;\nmod request_kind;\nmod response_kind;\n\n";
    text += &declared(modules);
    text += "\npub use api_key::ApiKey;\n";
    let mut uses: Vec<_> = apis
        .iter()
        .map(|api| {
            (
                snake_case(&api.name),
                format!("{{{0}Request, {0}Response}}", api.name),
            )
        })
        .collect();
    uses.extend(others.iter().map(|name| (snake_case(name), name.clone())));
    uses.sort();
    for (module, names) in uses {
        let _ = writeln!(text, "pub use {module}::{names};");
    }
    text + "pub use request_kind::RequestKind;\npub use response_kind::ResponseKind;\n"
}

/// Writes `records/mod.rs`.
#[must_use]
pub(crate) fn records(names: &[&str]) -> String {
    let mut text = format!("//! Records of internal topics and files.\n{GENERATED}\n{EXEMPT}\n");
    text += &declared(names.iter().map(|name| snake_case(name)).collect());
    text.push('\n');
    for name in names {
        let _ = writeln!(text, "pub use {}::{name};", snake_case(name));
    }
    text
}

fn declared(mut modules: Vec<String>) -> String {
    modules.sort();
    modules
        .into_iter()
        .map(|module| format!("pub mod {module};\n"))
        .collect()
}

/// Writes the enum of API keys with its tables.
#[must_use]
pub(crate) fn api_key(apis: &[Api]) -> String {
    let mut text = format!(
        "//! The APIs and their versions.\n{GENERATED}\nuse crate::api_key::VersionRange;\n"
    );
    text += "\n/// An API of the protocol.\n#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\npub enum ApiKey {\n";
    for Api { name, key, .. } in apis {
        let _ = write!(text, "/// {name}.\n{name} = {key},\n");
    }
    text += "}\n\nimpl ApiKey {\n/// All APIs, by ascending key.\n";
    let _ = writeln!(text, "pub const ALL: [Self; {}] = [", apis.len());
    for Api { name, .. } in apis {
        let _ = writeln!(text, "Self::{name},");
    }
    text += "];\n\n/// The API of a number; `None` if there is none.\n#[must_use]\npub const fn from_i16(key: i16) -> Option<Self> {\nSome(match key {\n";
    for Api { name, key, .. } in apis {
        let _ = writeln!(text, "{key} => Self::{name},");
    }
    text += "_ => return None,\n})\n}\n\n";
    text += &table(
        apis,
        "The API's name in Kafka.",
        "name",
        "&'static str",
        |api| format!("\"{}\"", api.name),
    );
    let versions = |api: &Api| {
        format!(
            "VersionRange::new({}, {})",
            api.versions.min, api.versions.max
        )
    };
    text += &table(
        apis,
        "Versions that the schemas define.",
        "valid_versions",
        "VersionRange",
        versions,
    );
    let doc = "The first version with compact lengths and tagged fields; `None` if there is none.";
    text += &table(apis, doc, "first_flexible_version", "Option<i16>", |api| {
        if api.flexible.is_empty() {
            "None".to_owned()
        } else {
            format!("Some({})", api.flexible.min)
        }
    });
    text + "}\n"
}

fn table(
    apis: &[Api],
    doc: &str,
    function: &str,
    result: &str,
    value: impl Fn(&Api) -> String,
) -> String {
    let mut text = format!(
        "/// {doc}\n#[must_use]\npub const fn {function}(self) -> {result} {{\nmatch self {{\n"
    );
    // One arm for all APIs of the same value.
    let mut arms: Vec<(String, Vec<&str>)> = Vec::new();
    for api in apis {
        let value = value(api);
        match arms.iter_mut().find(|(known, _)| *known == value) {
            Some((_, names)) => names.push(&api.name),
            None => arms.push((value, vec![&api.name])),
        }
    }
    for (value, names) in arms {
        let names: Vec<_> = names.iter().map(|name| format!("Self::{name}")).collect();
        let _ = writeln!(text, "{} => {value},", names.join(" | "));
    }
    text + "}\n}\n\n"
}

/// Writes the enum of all requests.
#[must_use]
pub(crate) fn request_kind(apis: &[Api]) -> String {
    kind(apis, "Request", "request")
}

/// Writes the enum of all responses.
#[must_use]
pub(crate) fn response_kind(apis: &[Api]) -> String {
    kind(apis, "Response", "response")
}

fn kind(apis: &[Api], side: &str, noun: &str) -> String {
    let names: Vec<_> = apis
        .iter()
        .map(|api| format!("{}{side}", api.name))
        .collect();
    let mut text = format!(
        "//! One {noun} of any API.\n{GENERATED}\n\
         use crate::error::{{DecodeError, EncodeError}};\n\
         use crate::message::Message;\n\
         use crate::primitives::{{Decoder, Encoder}};\n\n\
         use super::{{ApiKey, {}}};\n\n\
         /// One {noun} of any API.\n#[derive(Clone, Debug, PartialEq)]\n\
         pub enum {side}Kind {{\n",
        names.join(", ")
    );
    for Api { name, .. } in apis {
        let _ = write!(text, "/// A [`{name}{side}`].\n{name}({name}{side}),\n");
    }
    let _ = write!(
        text,
        "}}\n\nimpl {side}Kind {{\n/// Reads the {noun} of an API.\n///\n/// # Errors\n\
         /// The bytes are malformed, or the API has no such version.\n\
         pub fn decode(key: ApiKey, version: i16, input: &mut Decoder) -> Result<Self, DecodeError> {{\nOk(match key {{\n"
    );
    for Api { name, .. } in apis {
        let _ = writeln!(
            text,
            "ApiKey::{name} => Self::{name}({name}{side}::decode(input, version)?),"
        );
    }
    let _ = write!(
        text,
        "}})\n}}\n\n/// Writes the {noun}.\n///\n/// # Errors\n\
         /// The version does not exist, or cannot carry a field that is set.\n\
         pub fn encode(&self, output: &mut Encoder, version: i16) -> Result<(), EncodeError> {{\nmatch self {{\n"
    );
    for Api { name, .. } in apis {
        let _ = writeln!(
            text,
            "Self::{name}({noun}) => {noun}.encode(output, version),"
        );
    }
    text += "}\n}\n\n/// The API it belongs to.\n#[must_use]\npub const fn api_key(&self) -> ApiKey {\nmatch self {\n";
    for Api { name, .. } in apis {
        let _ = writeln!(text, "Self::{name}(_) => ApiKey::{name},");
    }
    text + "}\n}\n}\n"
}

const EXEMPT: &str =
    "#![allow(clippy::too_many_lines, reason = \"generated code is as long as its schema\")]\n";
