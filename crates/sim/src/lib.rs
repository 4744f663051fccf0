//! Development only: checks what Stead decides against every world it may meet.
//!
//! [`model`] explores the StatefulSet planner exhaustively in small worlds.

pub mod model;
