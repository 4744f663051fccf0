//! Images: references, registry pull, verification, unpacking, import and collection. Owns the
//! content below one directory; it never mounts anything and never runs a container.

mod builtin;
mod collection;
mod config;
mod digest;
mod errors;
mod import;
mod layers;
mod layout;
mod manifest;
mod name;
mod pull;
mod registry;
mod store;
mod tree;
mod types;
mod unpack;
pub mod users;

pub use collection::Collection;
pub use config::{Auth, Credential, Mirror, RegistryConfig, Secret};
pub use errors::{ConfigError, ImportError, LayerError, PullError, StoreError, UserError};
pub use name::{ImageName, NameError};
pub use store::{ImageStore, Using};
pub use types::{Collected, Image, ImageConfig, ImageId, Progress};
