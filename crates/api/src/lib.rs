//! The wire vocabulary: the registry of kinds, metadata, selectors, quantities, patches, defaults,
//! validation and table rows.
//!
//! Nothing here does I/O or reads a clock; time comes in as a parameter. HTTP statuses do not exist
//! here either: errors name the field and the rule, and the rim translates them.

pub mod amount;
pub mod annotations;
pub mod decode;
pub mod defaults;
pub mod errors;
pub mod kinds;
pub mod object;
pub mod openapi;
pub mod ordinals;
pub mod patch;
pub mod preparation;
pub mod protobuf;
pub mod registry;
pub mod schema;
pub mod selectors;
pub mod table;
pub mod validation;

pub use errors::{FieldError, FieldErrors};
pub use object::Object;
pub use registry::{Kind, Scope, Spec};
