//! Merge tags of the API types, which their JSON schemas lack: strategic-merge strategy and key,
//! list and map types for server-side apply.

/// The tags, one line per field (contract `patch-keys.tsv`, trimmed to the groups served).
const TABLE: &str = include_str!("../../data/patch-keys.tsv");

/// The tags of one field, or of a type as a whole. Empty where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tag {
    /// `merge`, `replace`, `retainKeys` or several joined by commas.
    pub(crate) strategy: &'static str,
    /// The key of elements under strategic merge.
    pub(crate) merge_key: &'static str,
    /// `atomic`, `set` or `map`.
    pub(crate) list_type: &'static str,
    /// The keys of a `map` list, joined by commas.
    pub(crate) list_keys: &'static str,
    /// `atomic` or `granular`.
    pub(crate) map_type: &'static str,
}

/// The tags of a field, `.` for the type itself.
pub(crate) fn tag_of(definition: &str, field: &str) -> Tag {
    let rest = |line: &'static str| line.strip_prefix(definition)?.strip_prefix('\t')?.strip_prefix(field);
    let found = TABLE.lines().filter_map(rest).find(|rest| rest.is_empty() || rest.starts_with('\t'));
    let Some(columns) = found else { return Tag::default() };
    let mut columns = columns.split('\t').skip(1);
    let mut next = || columns.next().unwrap_or_default();
    Tag { strategy: next(), merge_key: next(), list_type: next(), list_keys: next(), map_type: next() }
}

#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut columns = line.split('\t');
        Some((columns.next()?, columns.next()?))
    })
}
