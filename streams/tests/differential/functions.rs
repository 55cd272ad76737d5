//! The functions that a described topology uses, by name: `name` or `name:argument`.
//!
//! Keys and values are strings or null. The same functions are in
//! `tests/clients/java/streams/Functions.java`; both sides must do the same with every input.

use moldau_streams::Str;

/// A key or value that may be null.
pub(crate) type Text = Option<Str>;

pub(crate) fn test(function: &str, key: &Text, value: &Text) -> bool {
    let (name, argument) = split(function);
    match name {
        "value_has" => value.as_ref().is_some_and(|value| value.contains(argument)),
        "key_is" => key.as_deref() == Some(argument),
        "has_value" => value.is_some(),
        "even" => value.as_ref().is_none_or(|value| value.len() % 2 == 0),
        _ => panic!("no predicate {function}"),
    }
}

/// A new key, which may be null.
pub(crate) fn key(function: &str, key: &Text, value: &Text) -> Text {
    let (name, argument) = split(function);
    let first = |value: &Str| value.chars().next().map(String::from);
    let last = |value: &Str| value.chars().last().map(String::from);
    let new = match name {
        "first" => value.as_ref().and_then(first),
        "last" => value.as_ref().and_then(last),
        "suffix" => Some(format!("{}{argument}", shown(key))),
        "const" => Some(argument.to_owned()),
        "same" => return key.clone(),
        _ => panic!("no function of keys {function}"),
    };
    new.map(Str::from)
}

/// A new value; only `nullify` makes null of what is not.
pub(crate) fn value(function: &str, key: &Text, value: &Text) -> Text {
    let (name, argument) = split(function);
    let new = match name {
        "append" => cut(format!("{}{argument}", shown(value))),
        "nullify" if test("value_has:", &None, value) && shown(value).contains(argument) => {
            return None;
        }
        "nullify" | "same" => return value.clone(),
        "with_key" => cut(format!("{}:{}", shown(key), shown(value))),
        "length" => shown(value).len().to_string(),
        _ => panic!("no function of values {function}"),
    };
    Some(Str::from(new))
}

pub(crate) fn join(left: &Text, right: &Text) -> Text {
    Some(Str::from(cut(format!(
        "({},{})",
        shown(left),
        shown(right)
    ))))
}

/// A new aggregate; `clear` makes null of values that hold its argument.
pub(crate) fn add(function: &str, value: &Text, aggregate: &Text) -> Text {
    let (name, argument) = split(function);
    let cleared = match name {
        "concat" => false,
        "clear" => value.as_ref().is_some_and(|value| value.contains(argument)),
        _ => panic!("no aggregator {function}"),
    };
    let added = || Str::from(cut(format!("{}{}", shown(aggregate), shown(value))));
    (!cleared).then(added)
}

/// Notes that a value was taken out of an aggregate.
pub(crate) fn subtract(value: &Text, aggregate: &Text) -> Text {
    let subtracted = format!("{}-{}", shown(aggregate), shown(value));
    Some(Str::from(cut(subtracted)))
}

pub(crate) fn reduce(function: &str, before: &Text, value: &Text) -> Text {
    match function {
        "concat" => Some(Str::from(cut(format!(
            "{}|{}",
            shown(before),
            shown(value)
        )))),
        "last" => value.clone(),
        "max" if shown(before) >= shown(value) => before.clone(),
        "max" => value.clone(),
        _ => panic!("no reducer {function}"),
    }
}

/// Each character of a value.
pub(crate) fn characters(value: &Text, characters: &mut Vec<Text>) {
    let text = value.iter().flat_map(|value| value.chars());
    characters.extend(text.map(|character| Some(Str::from(character.to_string()))));
}

pub(crate) fn shown(text: &Text) -> &str {
    text.as_deref().unwrap_or("~")
}

/// What aggregates begin as.
pub(crate) fn start() -> Text {
    Some(Str::from("0"))
}

/// The end of a text, so that aggregates of aggregates stay small.
fn cut(text: String) -> String {
    let from = text.len().saturating_sub(LONGEST);
    text[from..].to_owned()
}

fn split(function: &str) -> (&str, &str) {
    function.split_once(':').unwrap_or((function, function))
}

const LONGEST: usize = 40;
