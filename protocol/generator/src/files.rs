//! The files of generated code: one for each API or record, and the indexes over them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::{Context, Result};

use crate::code::structure;
use crate::model::Message;
use crate::names::snake_case;
use crate::schema::{Kind, Schema, Versions};

/// One API: a request and its response.
#[derive(Debug)]
pub(crate) struct Api {
    /// The API's name.
    pub name: String,
    /// Its number.
    pub key: i16,
    /// The request's versions.
    pub versions: Versions,
    /// Versions with compact lengths and tagged fields.
    pub flexible: Versions,
}

/// Writes `messages/`: one file for each API, one for each message beside them, and the index.
///
/// # Errors
/// A request has no response, or a schema uses something that the generator does not know.
pub(crate) fn messages(schemas: &[Schema]) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut apis = Vec::new();
    let mut others = Vec::new();
    for schema in schemas {
        match schema.kind {
            Kind::Request => {
                let (api, text) = api(schema, schemas)?;
                files.insert(format!("messages/{}.rs", snake_case(&api.name)), text);
                apis.push(api);
            }
            Kind::Response => {}
            _ => {
                let message = Message::resolve(schema, &BTreeMap::new())?;
                files.insert(
                    format!("messages/{}.rs", snake_case(&schema.name)),
                    single(&message),
                );
                others.push(schema.name.clone());
            }
        }
    }
    apis.sort_by_key(|api| api.key);
    files.insert(
        "messages/api_key.rs".to_owned(),
        crate::index::api_key(&apis),
    );
    files.insert(
        "messages/mod.rs".to_owned(),
        crate::index::messages(&apis, &others),
    );
    files.insert(
        "messages/request_kind.rs".to_owned(),
        crate::index::request_kind(&apis),
    );
    files.insert(
        "messages/response_kind.rs".to_owned(),
        crate::index::response_kind(&apis),
    );
    Ok(files)
}

/// Writes `records/`: one file for each internal record, and the index.
///
/// # Errors
/// A schema uses something that the generator does not know.
pub(crate) fn records(schemas: &[Schema]) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for schema in schemas {
        let message = Message::resolve(schema, &BTreeMap::new())?;
        files.insert(
            format!("records/{}.rs", snake_case(&schema.name)),
            single(&message),
        );
    }
    let names: Vec<_> = schemas.iter().map(|schema| schema.name.as_str()).collect();
    files.insert("records/mod.rs".to_owned(), crate::index::records(&names));
    Ok(files)
}

fn api(request: &Schema, schemas: &[Schema]) -> Result<(Api, String)> {
    let name = request
        .name
        .strip_suffix("Request")
        .context("a request's name ends in Request")?;
    let response = schemas
        .iter()
        .find(|schema| schema.name == format!("{name}Response"));
    let response = response.with_context(|| format!("{name} has no response"))?;
    let api = Api {
        name: name.to_owned(),
        key: request
            .api_key
            .with_context(|| format!("{name} has no key"))?,
        versions: request.valid_versions,
        flexible: request.flexible_versions.and(request.valid_versions),
    };
    let plain = BTreeMap::new();
    let shared = shared_names(
        &Message::resolve(request, &plain)?,
        &Message::resolve(response, &plain)?,
    );
    let rename = |side: &str| {
        shared
            .iter()
            .map(|name| (name.clone(), format!("{side}{name}")))
            .collect()
    };
    let request = Message::resolve(request, &rename("Request"))?;
    let response = Message::resolve(response, &rename("Response"))?;
    let head = format!(
        "//! {name} (key {}), versions {}.\n",
        api.key,
        range(api.versions)
    );
    let mut body = structures(&request);
    body += &conversions(name);
    body += &structures(&response);
    body += &response_conversions(name);
    Ok((api, file(&head, &body)))
}

fn single(message: &Message) -> String {
    let head = format!("//! {}, versions {}.\n", message.name, range(message.valid));
    let mut body = structures(message);
    if let (Kind::CoordinatorKey, Some(key)) = (message.kind, message.api_key) {
        let _ = write!(
            body,
            "\nimpl RecordKey for {} {{\nconst RECORD_TYPE: i16 = {key};\n}}\n",
            message.name
        );
    }
    file(&head, &body)
}

fn structures(message: &Message) -> String {
    message
        .structs
        .iter()
        .map(|model| structure(message, model))
        .collect()
}

/// Names of structures that a request and its response both define.
fn shared_names(request: &Message, response: &Message) -> BTreeSet<String> {
    let names = |message: &Message| {
        message
            .structs
            .iter()
            .map(|model| model.name.clone())
            .collect::<BTreeSet<_>>()
    };
    names(request)
        .intersection(&names(response))
        .cloned()
        .collect()
}

fn conversions(name: &str) -> String {
    format!(
        "\nimpl Request for {name}Request {{\n\
         const KEY: ApiKey = ApiKey::{name};\n\
         type Response = {name}Response;\n}}\n\n\
         impl From<{name}Request> for RequestKind {{\n\
         fn from(request: {name}Request) -> Self {{\nSelf::{name}(request)\n}}\n}}\n"
    )
}

fn response_conversions(name: &str) -> String {
    format!(
        "\nimpl From<{name}Response> for ResponseKind {{\n\
         fn from(response: {name}Response) -> Self {{\nSelf::{name}(response)\n}}\n}}\n\n\
         impl TryFrom<ResponseKind> for {name}Response {{\n\
         type Error = UnexpectedResponse;\n\n\
         fn try_from(response: ResponseKind) -> Result<Self, UnexpectedResponse> {{\n\
         match response {{\n\
         ResponseKind::{name}(response) => Ok(response),\n\
         other => Err(UnexpectedResponse::new(ApiKey::{name}, &other)),\n}}\n}}\n}}\n"
    )
}

/// A file with the imports that its body needs.
fn file(head: &str, body: &str) -> String {
    let mut text = format!("{head}{GENERATED}");
    if has_word(body, "Bytes") {
        text += "\nuse bytes::Bytes;\n";
    }
    text.push('\n');
    text += &import("api_key", &["VersionRange"], body);
    text += &import("error", &["DecodeError", "EncodeError"], body);
    let message = [
        "Message",
        "RecordKey",
        "Request",
        "UnexpectedResponse",
        "check_decode",
        "check_encode",
        "required",
        "unsupported",
    ];
    text += &import("message", &message, body);
    text += &import("messages", &["ApiKey", "RequestKind", "ResponseKind"], body);
    text += &import("primitives", &["Decoder", "Encoder", "TaggedFields"], body);
    text += &import(
        "types",
        &["KString", "RawTaggedField", "Records", "Uuid"],
        body,
    );
    text + body
}

fn import(module: &str, names: &[&str], body: &str) -> String {
    let used: Vec<_> = names
        .iter()
        .copied()
        .filter(|name| has_word(body, name))
        .collect();
    match used.as_slice() {
        [] => String::new(),
        [name] => format!("use crate::{module}::{name};\n"),
        names => format!("use crate::{module}::{{{}}};\n", names.join(", ")),
    }
}

fn has_word(body: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    body.match_indices(word).any(|(start, _)| {
        let before = body[..start].chars().next_back();
        let after = body[start + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

fn range(versions: Versions) -> String {
    if versions.min == versions.max {
        versions.min.to_string()
    } else {
        format!("{}-{}", versions.min, versions.max)
    }
}

/// What every generated file says about itself.
pub(crate) const GENERATED: &str = "//!\n//! Generated by `moldau-protocol-generator` from `protocol/schema`; not to be edited by hand.\n";
