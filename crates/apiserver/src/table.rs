//! Tables: the server-side printing that `kubectl get` asks for (contract `tables-notes.md`,
//! "Envelope"). The cells come from the registry.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use stead_api::registry::{Cell, Column};
use stead_api::{Kind, Object};
use stead_store::Entry;

use crate::encode::raw_metadata;
use crate::negotiate::MetaVersion;
use crate::query::Query;
use crate::status::StatusError;

/// What a row carries besides its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    /// The object's metadata.
    Metadata,
    /// The object.
    Object,
    /// Nothing.
    None,
}

impl Include {
    /// Reads `includeObject`.
    pub(crate) fn read(query: &Query) -> Result<Self, StatusError> {
        match query.get("includeObject").unwrap_or_default() {
            "" | "Metadata" => Ok(Self::Metadata),
            "Object" => Ok(Self::Object),
            "None" => Ok(Self::None),
            other => Err(StatusError::bad_request(format!(
                "Unable to convert to Table as requested: unrecognized includeObject value: {}",
                crate::status::quoted(other)
            ))),
        }
    }
}

/// A table under construction.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    /// The kind of the rows.
    pub kind: &'static Kind,
    /// The version of the Table and of the metadata in it.
    pub version: MetaVersion,
    /// What each row carries.
    pub include: Include,
    /// The instant ages are counted to.
    pub now: Timestamp,
}

/// What closes a table.
pub(crate) const TABLE_TAIL: &[u8] = b"]}\n";

impl Table {
    /// Everything before the first row; `metadata` is the list's, as JSON.
    pub(crate) fn head(&self, metadata: &str, with_columns: bool) -> Vec<u8> {
        let api_version = self.version.api_version();
        let columns = if with_columns { column_definitions(self.kind.columns) } else { "null".to_owned() };
        format!(
            "{{\"kind\":\"Table\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\
             \"columnDefinitions\":{columns},\"rows\":["
        )
        .into_bytes()
    }

    /// Writes one row. An entry that cannot be decoded shows its name and empty cells: one damaged
    /// object must not hide the others.
    pub(crate) fn row(&self, entry: &Entry, object: Result<Object, StatusError>, buffer: &mut Vec<u8>) {
        let (cells, conditions) = match &object {
            Ok(object) => ((self.kind.row)(object, self.now), row_conditions(object)),
            Err(error) => {
                tracing::warn!(key = %entry.key, %error, "an object cannot be printed");
                (broken_row(self.kind, &entry.key.name), Vec::new())
            }
        };
        let embedded = match self.include {
            Include::None => None,
            Include::Metadata => self.partial(&entry.bytes),
            Include::Object => object.ok().and_then(|object| raw(object.to_json())),
        };
        let row = Row { cells, conditions, object: embedded };
        serde_json::to_writer(buffer, &row).expect("cells always serialise into memory");
    }

    fn partial(&self, bytes: &[u8]) -> Option<Box<RawValue>> {
        let json = partial_metadata(bytes, self.version).ok()?;
        raw(json)
    }
}

/// An encoded object as PartialObjectMetadata.
pub(crate) fn partial_metadata(bytes: &[u8], version: MetaVersion) -> Result<Vec<u8>, StatusError> {
    let metadata = raw_metadata(bytes).map_err(StatusError::internal)?;
    let api_version = version.api_version();
    Ok(format!("{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata}}}")
        .into_bytes())
}

#[derive(Serialize)]
struct Row {
    cells: Vec<Cell>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<RowCondition>,
    object: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct RowCondition {
    #[serde(rename = "type")]
    type_: &'static str,
    status: &'static str,
    reason: &'static str,
    message: &'static str,
}

#[derive(Serialize)]
struct ColumnDefinition<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    type_: &'a str,
    format: &'a str,
    description: &'a str,
    priority: i32,
}

fn column_definitions(columns: &[Column]) -> String {
    let definitions: Vec<_> = columns
        .iter()
        .map(|column| ColumnDefinition {
            name: column.name,
            type_: column.type_,
            format: column.format,
            description: "",
            priority: column.priority,
        })
        .collect();
    serde_json::to_string(&definitions).expect("columns always serialise")
}

fn row_conditions(object: &Object) -> Vec<RowCondition> {
    let condition = (object.kind().row_condition)(object);
    let row = |stead_api::registry::RowCondition { type_, reason, message }| RowCondition {
        type_,
        status: "True",
        reason,
        message,
    };
    condition.into_iter().map(row).collect()
}

fn broken_row(kind: &Kind, name: &str) -> Vec<Cell> {
    let cell = |column: &Column| if column.format == "name" { Cell::from(name) } else { Cell::Null };
    kind.columns.iter().map(cell).collect()
}

fn raw(json: Vec<u8>) -> Option<Box<RawValue>> {
    String::from_utf8(json).ok().and_then(|text| RawValue::from_string(text).ok())
}
