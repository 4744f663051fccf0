//! One API object whose type is known only at run time: a typed k8s-openapi value behind a box, so
//! that a single set of handlers serves every kind without raw JSON.

use std::any::Any;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::registry::{self, Kind, Spec};

/// Room made for the wire form of an object before it is known; most pods take less.
const JSON_BYTES_USUAL: usize = 4096;

/// A typed API object behind one box.
pub struct Object(Box<dyn Erased>);

trait Erased: Any + Send + Sync {
    fn kind(&self) -> &'static Kind;
    fn metadata(&self) -> &ObjectMeta;
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
    fn to_json(&self) -> Vec<u8>;
    fn clone_box(&self) -> Box<dyn Erased>;
    fn equals(&self, other: &dyn Any) -> bool;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Spec> Erased for T {
    fn kind(&self) -> &'static Kind {
        registry::kind_of::<T>()
    }
    fn metadata(&self) -> &ObjectMeta {
        k8s_openapi::Metadata::metadata(self)
    }
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        k8s_openapi::Metadata::metadata_mut(self)
    }
    fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(JSON_BYTES_USUAL);
        // k8s-openapi types hold only strings, numbers, maps with string keys and JSON values.
        serde_json::to_writer(&mut json, self).expect("API types always serialise");
        json
    }
    fn clone_box(&self) -> Box<dyn Erased> {
        Box::new(self.clone())
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>().is_some_and(|other| other == self)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Object {
    /// Wraps a typed object.
    pub fn new<T: Spec>(value: T) -> Self {
        Self(Box::new(value))
    }

    /// The registry row of this object's type.
    pub fn kind(&self) -> &'static Kind {
        self.0.kind()
    }

    /// The object's metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        self.0.metadata()
    }

    /// The object's metadata, to change.
    pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
        self.0.metadata_mut()
    }

    /// The wire form, with `apiVersion` and `kind`.
    pub fn to_json(&self) -> Vec<u8> {
        self.0.to_json()
    }

    /// The wire form as a dynamic value, for patching.
    pub fn to_value(&self) -> serde_json::Value {
        from_wire(&self.to_json())
    }

    /// The typed object, if it is a `T`.
    pub fn get<T: Spec>(&self) -> Option<&T> {
        self.0.as_any().downcast_ref()
    }

    /// The typed object to change, if it is a `T`.
    pub fn get_mut<T: Spec>(&mut self) -> Option<&mut T> {
        self.0.as_any_mut().downcast_mut()
    }

    /// Unwraps into a `T`; gives the object back when it is something else.
    pub fn into<T: Spec>(self) -> Result<T, Self> {
        if self.0.as_any().is::<T>() {
            match self.0.into_any().downcast::<T>() {
                Ok(value) => Ok(*value),
                Err(_) => unreachable!("checked just above"),
            }
        } else {
            Err(self)
        }
    }
}

/// Whether two values mean the same: equal, or different only in absent against empty lists.
pub fn semantically_equal<T: PartialEq + serde::Serialize>(a: &T, b: &T) -> bool {
    fn bare<T: serde::Serialize>(value: &T) -> serde_json::Value {
        let mut value = to_value(value);
        drop_empty_lists(&mut value);
        value
    }
    a == b || bare(a) == bare(b)
}

/// By way of the wire form: code for one way of writing every type is enough.
fn to_value<T: serde::Serialize>(value: &T) -> serde_json::Value {
    from_wire(&serde_json::to_vec(value).expect("API types always serialise"))
}

fn from_wire(json: &[u8]) -> serde_json::Value {
    serde_json::from_slice(json).expect("API types serialise as JSON")
}

fn drop_empty_lists(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !matches!(field, Value::Array(items) if items.is_empty()) && !field.is_null());
            fields.values_mut().for_each(drop_empty_lists);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty_lists),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Clone for Object {
    fn clone(&self) -> Self {
        Self(self.0.clone_box())
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(other.0.as_any())
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_json()))
    }
}
