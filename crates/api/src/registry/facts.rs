//! What is known of a kind without looking at an object: names, verbs, subresources, what DELETE does.

/// Whether objects of a kind live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One set of names for the cluster.
    Cluster,
    /// One set of names per namespace.
    Namespaced,
}

/// What a successful DELETE answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteAnswer {
    /// `{kind: Status, status: Success, details: …}`
    Status,
    /// The object as it was.
    Object,
}

/// What happens to dependents when the client does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// The object goes at once, the collector removes dependents.
    Background,
    /// The object stays until blocking dependents are gone.
    Foreground,
    /// Dependents lose their reference and stay.
    Orphan,
}

/// A subresource served under the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Path segment, e.g. `status`.
    pub name: &'static str,
    /// Group of the body's kind, when it differs from the parent.
    pub group: &'static str,
    /// Version of the body's kind, when it differs from the parent.
    pub version: &'static str,
    /// The body's kind, e.g. `Scale`; the parent's kind for `status`.
    pub kind: &'static str,
    /// Verbs shown in discovery.
    pub verbs: &'static [&'static str],
}

impl Subresource {
    /// `status` of a kind: same body, read and replaced on its own.
    pub const fn status(kind: &'static str) -> Self {
        Self { name: "status", group: "", version: "", kind, verbs: &["get", "patch", "update"] }
    }

    /// `scale`: the replica count alone, as an autoscaling/v1 Scale.
    pub const fn scale() -> Self {
        let verbs = &["get", "patch", "update"];
        Self { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs }
    }

    /// Anything else, with a body of the parent's group and version.
    pub const fn of(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Self {
        Self { name, group: "", version: "", kind, verbs }
    }
}

/// What is known of a kind without looking at an object.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Lower-case plural, the path segment.
    pub plural: &'static str,
    /// Lower-case singular.
    pub singular: &'static str,
    /// Short names, e.g. `sts`.
    pub short_names: &'static [&'static str],
    /// Categories, e.g. `all`.
    pub categories: &'static [&'static str],
    /// Cluster or namespace.
    pub scope: Scope,
    /// Subresources in discovery order.
    pub subresources: &'static [Subresource],
    /// Verbs of the main resource; [`Facts::VERBS`] for nearly all.
    pub verbs: &'static [&'static str],
    /// What DELETE answers.
    pub delete_answer: DeleteAnswer,
    /// What happens to dependents by default.
    pub default_propagation: Propagation,
    /// PUT to a missing name creates it.
    pub put_may_create: bool,
    /// PUT without resourceVersion overwrites.
    pub unconditional_update: bool,
    /// Whether `metadata.generation` is 1 at creation (and follows [`Spec::spec_changed`]).
    pub has_generation: bool,
    /// Name of the store's table; kinds that share storage (v1 and events.k8s.io/v1 Event) share it.
    pub storage: &'static str,
    /// Field selectors beyond `metadata.name` and `metadata.namespace`.
    pub field_selectors: &'static [&'static str],
}

impl Facts {
    /// The verbs of an ordinary resource, in discovery order.
    pub const VERBS: &'static [&'static str] =
        &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

    /// What most namespaced kinds share; rows name only what differs. Names and storage are empty.
    pub const NAMESPACED: Self = Self {
        plural: "",
        singular: "",
        short_names: &[],
        categories: &[],
        scope: Scope::Namespaced,
        subresources: &[],
        verbs: Self::VERBS,
        delete_answer: DeleteAnswer::Status,
        default_propagation: Propagation::Background,
        put_may_create: false,
        unconditional_update: true,
        has_generation: false,
        storage: "",
        field_selectors: &[],
    };

    /// The same for kinds outside namespaces.
    pub const CLUSTER: Self = Self { scope: Scope::Cluster, ..Self::NAMESPACED };
}
