//! Taking layers away that nobody needs any more. Decides nothing about what is in use outside the store.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::layout::{Guard, Layout};
use crate::{Collected, StoreError};

/// The store, with everybody else kept out until this is dropped.
pub struct Collection {
    layout: Arc<Layout>,
    _alone: Guard,
}

impl Collection {
    /// Waits until nobody else is at work. Blocks.
    pub(crate) fn begin(layout: &Arc<Layout>) -> Result<Self, StoreError> {
        Ok(Self { _alone: layout.exclusive()?, layout: Arc::clone(layout) })
    }

    /// Removes layers that no name and none of `in_use` (layer directories of containers that
    /// exist, [`Image::layers`](crate::Image::layers)) refers to, and half-done work that nobody is doing. Blocks.
    ///
    /// # Errors
    /// The store cannot be read or a layer not removed.
    pub fn collect(self, in_use: &HashSet<PathBuf>) -> Result<Collected, StoreError> {
        let layout = &self.layout;
        layout.clear_drafts()?;
        let mut kept: HashSet<PathBuf> = in_use.clone();
        kept.extend(layout.records()?.iter().flat_map(|record| &record.layers).map(|diff_id| layout.layer_fs(diff_id)));
        let mut collected = Collected::default();
        for layer in layout.layers()? {
            let files = layer.join("fs");
            if !kept.contains(&files) {
                collected.bytes += layout.remove_layer(&layer)?;
                collected.layers.push(files);
            }
        }
        collected.layers.sort();
        Ok(collected)
    }
}
