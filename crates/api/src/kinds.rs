//! The kinds Stead serves, one file per kind or per close family.

use crate::registry::Kind;

/// Every kind, in discovery order.
pub static ALL: &[Kind] = &[];
