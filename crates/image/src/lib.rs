//! Images: references, registry pull, verification, unpacking, import and collection.
