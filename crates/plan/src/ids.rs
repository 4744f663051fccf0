//! The identifiers that decisions carry: UIDs, resource versions and exact targets. They only wrap
//! strings, so that one cannot be taken for another.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// An object's UID: who it is, whatever its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub String);

/// An object's resourceVersion, opaque.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceVersion(pub String);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The very object a decision was made about, in the state it was seen in. Executors pass both
/// identifiers as preconditions, so that a decision never hits a namesake or a changed object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Name within the namespace of the owner.
    pub name: String,
    /// Identity.
    pub uid: Uid,
    /// The state decided on.
    pub resource_version: ResourceVersion,
}

impl Target {
    /// The object with this metadata, as it is now.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: Uid(meta.uid.clone().unwrap_or_default()),
            resource_version: ResourceVersion(meta.resource_version.clone().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_shown_as_they_are() {
        assert_eq!(format!("{} {}", Uid("u-1".to_owned()), ResourceVersion("7".to_owned())), "u-1 7");
    }
}
