//! The field numbers of the API types, read from their table when the first protobuf body comes. Knows no bytes.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The facts; the head of the file says what its columns are.
const TABLE: &str = include_str!("../../data/proto-fields.tsv");

/// The field name that stands for "this message's fields are the holder's own".
const INLINE: &str = "-";

/// A message: its place among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MessageId(u16);

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    number: u32,
    /// Its JSON name.
    pub(super) name: &'static str,
    /// How many there are.
    pub(super) holds: Holds,
    /// What each is.
    pub(super) what: What,
}

/// How many values a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// One. A scalar that is zero is the same as none.
    One,
    /// None or one, which may be zero.
    Pointer,
    /// Any number, in order.
    List,
    /// Any number by name.
    Map,
}

/// What a value is, on the wire and in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Text.
    Text,
    /// A whole number of 32 or 64 bits.
    Integer,
    /// A truth value.
    Boolean,
    /// Bytes; base64 in JSON.
    Bytes,
    /// Text in a message of its own.
    Quantity,
    /// Seconds and nanoseconds; RFC 3339 in JSON, nothing when the message is empty.
    Time,
    /// A number or a text with a mark which.
    IntOrString,
    /// JSON in bytes in a message of its own.
    Json,
    /// A list of texts in a message of its own.
    Texts,
    /// An object.
    Message(MessageId),
    /// A message whose fields JSON has among those of the holder.
    Inline(MessageId),
}

struct Table {
    ids: HashMap<&'static str, MessageId>,
    /// By [`MessageId`].
    fields: Vec<Box<[Field]>>,
}

// Read once and kept: about 100 KiB, only in servers that get protobuf at all.
static PARSED: LazyLock<Table> =
    LazyLock::new(|| parse(TABLE).expect("invariant: the table is well formed, a test reads it"));

/// The message of a kind.
pub(super) fn find(api_version: &str, kind: &str) -> Option<MessageId> {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or_default();
    match kind {
        // Registered in every group.
        "DeleteOptions" => id("meta.v1.DeleteOptions"),
        _ => id(&format!("{group}.{version}.{kind}")),
    }
}

/// The field of that number.
pub(super) fn field(message: MessageId, number: u32) -> Option<&'static Field> {
    fields(message).iter().find(|field| field.number == number)
}

pub(super) fn fields(message: MessageId) -> &'static [Field] {
    &PARSED.fields[usize::from(message.0)]
}

pub(super) fn id(name: &str) -> Option<MessageId> {
    PARSED.ids.get(name).copied()
}

fn parse(text: &'static str) -> Option<Table> {
    let lines = || text.lines().filter(|line| !line.starts_with('#'));
    let names = lines().filter(|line| !line.contains('\t'));
    let ids: HashMap<_, _> = names.zip(0..).map(|(name, at)| (name, MessageId(at))).collect();
    let mut fields: Vec<Vec<Field>> = Vec::with_capacity(ids.len());
    for line in lines() {
        if line.contains('\t') {
            fields.last_mut()?.push(parse_field(line, &ids)?);
        } else {
            fields.push(Vec::new());
        }
    }
    Some(Table { ids, fields: fields.into_iter().map(Vec::into_boxed_slice).collect() })
}

fn parse_field(line: &'static str, ids: &HashMap<&str, MessageId>) -> Option<Field> {
    let mut columns = line.split('\t');
    let (number, name, shape) = (columns.next()?.parse().ok()?, columns.next()?, columns.next()?);
    let (holds, what) = match (shape.strip_prefix("[]"), shape.strip_prefix("map "), shape.strip_suffix('?')) {
        (Some(what), _, _) => (Holds::List, what),
        (_, Some(what), _) => (Holds::Map, what),
        (_, _, Some(what)) => (Holds::Pointer, what),
        _ => (Holds::One, shape),
    };
    let what = match what {
        "string" => What::Text,
        "int" => What::Integer,
        "bool" => What::Boolean,
        "bytes" => What::Bytes,
        "Quantity" => What::Quantity,
        "Time" | "MicroTime" => What::Time,
        "IntOrString" => What::IntOrString,
        "Raw" => What::Json,
        "Strings" => What::Texts,
        message if name == INLINE => What::Inline(*ids.get(message)?),
        message => What::Message(*ids.get(message)?),
    };
    Some(Field { number, name, holds, what })
}

#[cfg(test)]
mod tests;
