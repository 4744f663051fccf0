//! What several crates need of file systems beyond the standard library: files that are replaced as a
//! whole, trees that are removed without leaving their mount, and the table of mounts. Knows nothing of
//! what the files are about.

pub mod mounts;
mod remove;
mod replace;

pub use remove::remove_tree;
pub use replace::{Durability, draft_of, replace};
