//! The Rust code of one structure: its fields, default, and codec.

use crate::model::{Default, FieldModel, Message, StructModel, Type};
use crate::schema::Versions;

/// Writes a structure of a message; the message's own one implements `Message`.
#[must_use]
pub(crate) fn structure(message: &Message, model: &StructModel) -> String {
    let coder = Coder { message, model };
    let decode = coder.decode_body();
    let encode = coder.encode_body();
    let mut code = coder.definition();
    if coder
        .model
        .fields
        .iter()
        .any(|field| default_of(field) != "Default::default()")
    {
        code += &coder.default_impl();
    }
    code += &if message.name == model.name {
        coder.message_impl(&decode, &encode)
    } else {
        coder.plain_impl(&decode, &encode)
    };
    code
}

/// A condition on `version`, with `@v` for its name; `None` if it always holds.
fn condition(versions: Versions, possible: Versions) -> Option<String> {
    let above = (versions.min > possible.min).then(|| format!("@v >= {}", versions.min));
    let below = (versions.max < possible.max).then(|| format!("@v <= {}", versions.max));
    match (above, below) {
        (Some(_), Some(_)) if versions.min == versions.max => {
            Some(format!("@v == {}", versions.min))
        }
        (Some(_), Some(_)) => Some(format!(
            "({}..={}).contains(&@v)",
            versions.min, versions.max
        )),
        (above, below) => above.or(below),
    }
}

/// The opposite of a [`condition`].
fn negated(condition: &str) -> String {
    match condition.split_once(" >= ") {
        Some((version, min)) => format!("{version} < {min}"),
        None => match condition.split_once(" <= ") {
            Some((version, max)) => format!("{version} > {max}"),
            None => format!("!({condition})"),
        },
    }
}

struct Coder<'a> {
    message: &'a Message,
    model: &'a StructModel,
}

impl Coder<'_> {
    fn definition(&self) -> String {
        let plain = self
            .model
            .fields
            .iter()
            .all(|field| default_of(field) == "Default::default()");
        let derives = if plain {
            "Clone, Debug, Default, PartialEq"
        } else {
            "Clone, Debug, PartialEq"
        };
        let mut code = format!(
            "\n/// {}\n#[derive({derives})]\npub struct {} {{\n",
            self.model.doc, self.model.name
        );
        for field in &self.model.fields {
            code += &format!(
                "/// {}\npub {}: {},\n",
                field.doc,
                field.name,
                rust_type(field)
            );
        }
        if self.has_tags() {
            code += "/// Tagged fields that the schema does not know.\n";
            code += "pub unknown_tagged_fields: Vec<RawTaggedField>,\n";
        }
        code + "}\n"
    }

    fn default_impl(&self) -> String {
        let mut code = format!(
            "\nimpl Default for {} {{\nfn default() -> Self {{\nSelf {{\n",
            self.model.name
        );
        for field in &self.model.fields {
            code += &format!("{}: {},\n", field.name, default_of(field));
        }
        if self.has_tags() {
            code += "unknown_tagged_fields: Vec::new(),\n";
        }
        code + "}\n}\n}\n"
    }

    fn message_impl(&self, decode: &str, encode: &str) -> String {
        let Message { name, valid, .. } = self.message;
        let (input, output) = (used("input", decode), used("output", encode));
        format!(
            "\nimpl Message for {name} {{\n\
             const NAME: &'static str = \"{name}\";\n\
             const VERSIONS: VersionRange = VersionRange::new({}, {});\n\n\
             fn decode({input}: &mut Decoder, version: i16) -> Result<Self, DecodeError> {{\n\
             check_decode::<Self>(version)?;\n{}}}\n\n\
             fn encode(&self, {output}: &mut Encoder, version: i16) -> Result<(), EncodeError> {{\n\
             check_encode::<Self>(version)?;\n{}}}\n}}\n",
            valid.min,
            valid.max,
            decode.replace("@v", "version"),
            encode.replace("@v", "version"),
        )
    }

    fn plain_impl(&self, decode: &str, encode: &str) -> String {
        let version = |body: &str| {
            if body.contains("@v") {
                "version"
            } else {
                "_version"
            }
        };
        format!(
            "\nimpl {} {{\n\
             fn decode(input: &mut Decoder, {}: i16) -> Result<Self, DecodeError> {{\n{}}}\n\n\
             fn encode(&self, output: &mut Encoder, {}: i16) -> Result<(), EncodeError> {{\n{}}}\n}}\n",
            self.model.name,
            version(decode),
            decode.replace("@v", "version"),
            version(encode),
            encode.replace("@v", "version"),
        )
    }

    fn decode_body(&self) -> String {
        let mut code =
            self.flexible_binding(|field| self.decode_regular(field).contains("flexible"));
        for field in self
            .model
            .fields
            .iter()
            .filter(|field| !self.is_always_tagged(field))
        {
            code += &format!("let {} = {};\n", local(field), self.decode_regular(field));
        }
        let tagged = self.tagged();
        for field in &tagged {
            if self.is_always_tagged(field) {
                code += &format!(
                    "let mut {} = {};\n",
                    local(field),
                    default_of(field).replace("Default::default()", &zero(field))
                );
            }
        }
        if self.has_tags() {
            code += &self.decode_tags(&tagged);
        }
        code += "Ok(Self {\n";
        for field in &self.model.fields {
            code += &if field.name == local(field) {
                format!("{},\n", field.name)
            } else {
                format!("{}: {},\n", field.name, local(field))
            };
        }
        if self.has_tags() {
            code += "unknown_tagged_fields,\n";
        }
        code + "})\n"
    }

    fn decode_regular(&self, field: &FieldModel) -> String {
        let versions = field.versions;
        let value = match (field.is_option(), condition(field.nullable, versions)) {
            (true, Some(nullable)) if field.kind != Type::Records && field.nullable != versions => {
                format!(
                    "if {nullable} {{ {} }} else {{ Some({}) }}",
                    self.decode_value(field, &field.kind, true),
                    self.decode_value(field, &field.kind, false)
                )
            }
            (option, _) => self.decode_value(field, &field.kind, option),
        };
        if versions.is_empty() {
            return zero(field);
        }
        match condition(versions, self.model.versions) {
            None => value,
            Some(present) => {
                let absent = default_of(field).replace("Default::default()", &zero(field));
                format!("if {present} {{ {value} }} else {{ {absent} }}")
            }
        }
    }

    fn decode_value(&self, field: &FieldModel, kind: &Type, nullable: bool) -> String {
        let flexible = self.flexible(field);
        let prefix = if nullable { "nullable_" } else { "" };
        match kind {
            Type::Number(name) => format!("input.{name}()?"),
            Type::Uuid => "input.uuid()?".to_owned(),
            Type::String => format!("input.{prefix}string({flexible})?"),
            Type::Bytes => format!("input.{prefix}bytes({flexible})?"),
            Type::Records => format!("input.records({flexible})?"),
            Type::Struct(name) if nullable => {
                format!(
                    "if input.is_present()? {{ Some({name}::decode(input, @v)?) }} else {{ None }}"
                )
            }
            Type::Struct(name) => format!("{name}::decode(input, @v)?"),
            Type::Array(element) => {
                let size = self.message.min_size(element, field.versions).max(1);
                let element = match element.as_ref() {
                    Type::Number(name) => format!("Decoder::{name}"),
                    Type::Uuid => "Decoder::uuid".to_owned(),
                    element => {
                        let value = self.decode_value(field, element, false);
                        format!("|input| {}", value.strip_suffix('?').unwrap_or(&value))
                    }
                };
                format!("input.{prefix}array({flexible}, {size}, {element})?")
            }
        }
    }

    fn decode_tags(&self, tagged: &[&FieldModel]) -> String {
        let flexible = self.flexible_everywhere();
        if tagged.is_empty() {
            return format!("let unknown_tagged_fields = input.unknown_tags({flexible})?;\n");
        }
        let mut arms = String::new();
        for field in tagged {
            let Some((tag, versions)) = field.tag else {
                continue;
            };
            let guard = condition(versions, self.message.flexible.and(self.model.versions));
            let guard = guard.map_or(String::new(), |guard| format!(" if {guard}"));
            let value = self
                .decode_value(field, &field.kind, field.is_option())
                .replace("flexible", "true");
            arms += &format!("{tag}{guard} => {} = {value},\n", local(field));
        }
        let read = format!(
            "input.tags(|input, tag| {{\nmatch tag {{\n{arms}_ => return Ok(false),\n}}\nOk(true)\n}})?"
        );
        if flexible == "true" {
            format!("let unknown_tagged_fields = {read};\n")
        } else {
            format!(
                "let unknown_tagged_fields = if {flexible} {{ {read} }} else {{ Vec::new() }};\n"
            )
        }
    }

    fn encode_body(&self) -> String {
        let mut code =
            self.flexible_binding(|field| self.encode_regular(field).contains("flexible"));
        for field in &self.model.fields {
            code += &self.encode_regular(field);
        }
        if self.has_tags() {
            code += &self.encode_tags();
        }
        code + "Ok(())\n"
    }

    /// Writes the field in the versions that have it outside the tags, and refuses to lose it in
    /// the versions that do not have it at all.
    fn encode_regular(&self, field: &FieldModel) -> String {
        let lost = if field.ignorable || self.is_always_present(field) {
            String::new()
        } else {
            let version = "@v";
            format!(
                "return Err(unsupported(\"{}\", {version}));",
                field.schema_name
            )
        };
        let differs = differs(field);
        if self.is_always_tagged(field) || field.versions.is_empty() {
            return match condition(field.versions, self.model.versions) {
                Some(present) if !lost.is_empty() => {
                    format!("if {} && {differs} {{ {lost} }}\n", negated(&present))
                }
                _ => String::new(),
            };
        }
        let value = self.encode_nullable(field);
        match condition(field.versions, self.model.versions) {
            None => value,
            Some(present) if lost.is_empty() => format!("if {present} {{\n{value}}}\n"),
            Some(present) => {
                format!("if {present} {{\n{value}}} else if {differs} {{\n{lost}\n}}\n")
            }
        }
    }

    fn encode_nullable(&self, field: &FieldModel) -> String {
        let place = format!("self.{}", field.name);
        if !field.is_option() {
            return self.encode_value(field, &place, false);
        }
        let needed = format!("required({place}.as_ref(), \"{}\", @v)?", field.schema_name);
        let some = match &field.kind {
            Type::String => format!("output.string({}, {needed})?;\n", self.flexible(field)),
            Type::Bytes => format!("output.bytes({}, {needed})?;\n", self.flexible(field)),
            Type::Records => format!(
                "output.records({}, Some({needed}))?;\n",
                self.flexible(field)
            ),
            Type::Array(element) => {
                format!(
                    "output.array({}, {needed}, {})?;\n",
                    self.flexible(field),
                    self.encode_element(field, element)
                )
            }
            _ => format!("{needed}.encode(output, @v)?;\n"),
        };
        if field.nullable.is_empty() {
            return some;
        }
        match condition(field.nullable, field.versions) {
            None => self.encode_value(field, &place, true),
            Some(nullable) => format!(
                "if {nullable} {{\n{}}} else {{\n{some}}}\n",
                self.encode_value(field, &place, true)
            ),
        }
    }

    fn encode_value(&self, field: &FieldModel, place: &str, nullable: bool) -> String {
        let flexible = self.flexible(field);
        match (&field.kind, nullable) {
            (Type::Number(name), _) => format!("output.{name}({place});\n"),
            (Type::Uuid, _) => format!("output.uuid({place});\n"),
            (Type::String, false) => format!("output.string({flexible}, &{place})?;\n"),
            (Type::String, true) => {
                format!("output.nullable_string({flexible}, {place}.as_ref())?;\n")
            }
            (Type::Bytes, false) => format!("output.bytes({flexible}, &{place})?;\n"),
            (Type::Bytes, true) => {
                format!("output.nullable_bytes({flexible}, {place}.as_ref())?;\n")
            }
            (Type::Records, _) => format!("output.records({flexible}, {place}.as_ref())?;\n"),
            (Type::Struct(_), false) => format!("{place}.encode(output, @v)?;\n"),
            (Type::Struct(_), true) => format!(
                "output.present({place}.is_some());\nif let Some(value) = &{place} {{\nvalue.encode(output, @v)?;\n}}\n"
            ),
            (Type::Array(element), false) => {
                format!(
                    "output.array({flexible}, &{place}, {})?;\n",
                    self.encode_element(field, element)
                )
            }
            (Type::Array(element), true) => {
                format!(
                    "output.nullable_array({flexible}, {place}.as_deref(), {})?;\n",
                    self.encode_element(field, element)
                )
            }
        }
    }

    fn encode_element(&self, field: &FieldModel, element: &Type) -> String {
        let flexible = self.flexible(field);
        match element {
            Type::Number(name) => format!("|output, value| {{ output.{name}(*value); Ok(()) }}"),
            Type::Uuid => "|output, value| { output.uuid(*value); Ok(()) }".to_owned(),
            Type::String => format!("|output, value| output.string({flexible}, value)"),
            Type::Bytes => format!("|output, value| output.bytes({flexible}, value)"),
            Type::Records => format!("|output, value| output.records({flexible}, Some(value))"),
            Type::Struct(_) => "|output, value| value.encode(output, @v)".to_owned(),
            Type::Array(inner) => {
                format!(
                    "|output, value| output.array({flexible}, value, {})",
                    self.encode_element(field, inner)
                )
            }
        }
    }

    fn encode_tags(&self) -> String {
        let tagged = self.tagged();
        let flexible = self.flexible_everywhere();
        if tagged.is_empty() {
            return format!("output.unknown_tags({flexible}, &self.unknown_tagged_fields)?;\n");
        }
        let mut code = "let mut tags = TaggedFields::default();\n".to_owned();
        for field in tagged {
            let Some((tag, versions)) = field.tag else {
                continue;
            };
            let present = condition(versions, self.message.flexible.and(self.model.versions));
            let present = present.map_or(String::new(), |present| format!("{present} && "));
            let value = self
                .encode_value(field, &format!("self.{}", field.name), field.is_option())
                .replace("flexible", "true");
            let differs = differs(field);
            code += &format!(
                "if {present}{differs} {{\ntags.field({tag}, output, |output| {{\n{value}Ok(())\n}})?;\n}}\n"
            );
        }
        code += "tags.finish(&self.unknown_tagged_fields, output)?;\n";
        if flexible == "true" {
            return code;
        }
        format!(
            "if {flexible} {{\n{code}}} else {{\noutput.unknown_tags(false, &self.unknown_tagged_fields)?;\n}}\n"
        )
    }

    /// `let flexible = …`, if the structure's code needs it.
    fn flexible_binding(&self, uses: impl Fn(&FieldModel) -> bool) -> String {
        let needed = self.has_tags() || self.model.fields.iter().any(uses);
        match condition(self.message.flexible, self.model.versions) {
            Some(flexible) if needed && self.flexible_everywhere() == "flexible" => {
                format!("let flexible = {flexible};\n")
            }
            _ => String::new(),
        }
    }

    /// How the code tells whether the version is flexible.
    fn flexible_everywhere(&self) -> &'static str {
        spell(self.message.flexible, self.model.versions)
    }

    /// How the code tells whether the field has a compact length.
    fn flexible(&self, field: &FieldModel) -> &'static str {
        spell(field.flexible, self.model.versions)
    }

    fn has_tags(&self) -> bool {
        self.flexible_everywhere() != "false"
    }

    /// Fields that are tagged in some version, by ascending tag.
    fn tagged(&self) -> Vec<&FieldModel> {
        let mut tagged: Vec<_> = self
            .model
            .fields
            .iter()
            .filter(|field| field.tag.is_some())
            .collect();
        tagged.sort_by_key(|field| field.tag.map(|(tag, _)| tag));
        tagged
    }

    fn is_always_tagged(&self, field: &FieldModel) -> bool {
        field
            .tag
            .is_some_and(|(_, versions)| versions == field.versions)
    }

    fn is_always_present(&self, field: &FieldModel) -> bool {
        field.versions.covers(self.model.versions)
    }
}

/// The variable that holds a field while the structure is decoded.
fn local(field: &FieldModel) -> String {
    match field.name.as_str() {
        "input" | "version" | "flexible" | "tag" => format!("{}_value", field.name),
        name => name.to_owned(),
    }
}

fn spell(flexible: Versions, possible: Versions) -> &'static str {
    if flexible.covers(possible) {
        "true"
    } else if flexible.and(possible).is_empty() {
        "false"
    } else {
        "flexible"
    }
}

fn used(name: &str, body: &str) -> String {
    if body.contains(name) {
        name.to_owned()
    } else {
        format!("_{name}")
    }
}

fn rust_type(field: &FieldModel) -> String {
    let plain = plain_type(&field.kind);
    if field.is_option() {
        format!("Option<{plain}>")
    } else {
        plain
    }
}

fn plain_type(kind: &Type) -> String {
    match kind {
        Type::Number(name) => (*name).to_owned(),
        Type::Uuid => "Uuid".to_owned(),
        Type::String => "KString".to_owned(),
        Type::Bytes => "Bytes".to_owned(),
        Type::Records => "Records".to_owned(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", plain_type(element)),
    }
}

/// The default as the `Default` implementation writes it.
fn default_of(field: &FieldModel) -> String {
    match &field.default {
        Default::Literal(literal) => literal.clone(),
        Default::Zero if field.is_option() => format!(
            "Some({}::default())",
            plain_type(&field.kind).replace('<', "::<")
        ),
        Default::Zero | Default::Null => "Default::default()".to_owned(),
    }
}

/// The default of a field whose default is Rust's, spelled so that its type is seen.
fn zero(field: &FieldModel) -> String {
    if field.is_option() {
        return "None".to_owned();
    }
    match &field.kind {
        Type::Number("bool") => "false".to_owned(),
        Type::Number("f64") => "0.0".to_owned(),
        Type::Number(_) => "0".to_owned(),
        Type::Uuid => "Uuid::ZERO".to_owned(),
        Type::String => "KString::EMPTY".to_owned(),
        Type::Bytes => "Bytes::new()".to_owned(),
        Type::Array(_) => "Vec::new()".to_owned(),
        Type::Records => "None".to_owned(),
        Type::Struct(name) => format!("{name}::default()"),
    }
}

/// The condition that a field is not its default.
fn differs(field: &FieldModel) -> String {
    let place = format!("self.{}", field.name);
    match (&field.default, &field.kind) {
        (Default::Literal(literal), Type::Number("bool")) if literal == "true" => {
            format!("!{place}")
        }
        (Default::Literal(literal), _) => format!("{place} != {literal}"),
        (Default::Null, _) => format!("{place}.is_some()"),
        (Default::Zero, _) if field.is_option() => {
            format!("{place}.as_ref().is_none_or(|value| !value.is_empty())")
        }
        (Default::Zero, Type::Number("bool")) => place,
        (Default::Zero, Type::Number("f64")) => format!("{place} != 0.0"),
        (Default::Zero, Type::Number(_)) => format!("{place} != 0"),
        (Default::Zero, Type::Uuid) => format!("!{place}.is_zero()"),
        (Default::Zero, Type::Struct(name)) => format!("{place} != {name}::default()"),
        (Default::Zero, _) => format!("!{place}.is_empty()"),
    }
}
