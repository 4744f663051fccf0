//! `stead image`: images of a node, with or without a running server.

use std::path::Path;

use anyhow::bail;
use stead_image::{ImageStore, RegistryConfig};

use crate::options::ImageCommand;

/// Runs one image command on the store of a data directory.
pub(crate) fn run(data_dir: &Path, command: &ImageCommand) -> anyhow::Result<()> {
    let store = ImageStore::open(&data_dir.join("images"), RegistryConfig::default())?;
    match command {
        ImageCommand::Import { file } => {
            for name in store.import(file)? {
                println!("{name}");
            }
        }
        ImageCommand::Ls => {
            println!("{:<60} {:<19} SIZE", "IMAGE", "ID");
            for image in store.list()? {
                let id: String = image.id.0.chars().take(19).collect();
                println!("{:<60} {id:<19} {}", image.name.to_string(), size(image.size_bytes));
            }
        }
        ImageCommand::Rm { name } => {
            if !store.remove(name)? {
                bail!("there is no image {name}: see `stead image ls`");
            }
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
