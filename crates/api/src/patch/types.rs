//! What strategic merge must know of a type: per field, how lists and maps merge and by which key.

/// How a patch of a list or map field is combined with the live value (the `patchStrategy` tag).
///
/// `retainKeys` is not told apart: the server honours the `$retainKeys` directive in any map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListStrategy {
    /// Lists replace, maps merge: what an untagged field does.
    #[default]
    Untagged,
    /// Lists merge by key, or as sets when their elements are scalars.
    Merge,
    /// The patch takes the place of the live value, also for maps.
    Replace,
}

/// One field of a type.
#[derive(Clone, Copy, Debug)]
pub struct PatchField<T> {
    /// The type of the field's value; for lists, of their elements.
    pub ty: T,
    /// How the field merges.
    pub strategy: ListStrategy,
    /// The key that tells elements apart, for lists of objects that merge.
    pub merge_key: Option<&'static str>,
}

/// The types strategic merge walks along.
pub trait PatchTypes: Sized {
    /// The type's short name, e.g. `PodSpec`; it appears in error texts.
    fn name(&self) -> String;

    /// The field of that name. For a type without declared fields (a map, a free-form value) the
    /// implementation returns an untagged field for every name.
    fn field(&self, name: &str) -> Option<PatchField<Self>>;
}
