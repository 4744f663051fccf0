//! Images: references, registry pull, verification, unpacking, import and collection. Owns the
//! content below one directory; it never mounts anything and never runs a container.

mod config;
mod errors;
mod name;
mod store;
mod types;
pub mod users;

pub use config::{Auth, Credential, Mirror, RegistryConfig, Secret};
pub use errors::{ConfigError, ImportError, LayerError, PullError, StoreError, UserError};
pub use name::{ImageName, NameError};
pub use store::ImageStore;
pub use types::{Collected, Image, ImageConfig, ImageId, Progress};
