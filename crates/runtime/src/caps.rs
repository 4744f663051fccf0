//! Which capabilities a container's processes hold. Pure: names in, a set out.

use rustix::thread::CapabilitySet;

use crate::types::ContainerSpec;

/// A capability name no kernel knows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability {0:?}")]
pub(crate) struct UnknownCapability(pub String);

/// What an unprivileged container holds unless told otherwise (contract `pods.md` 6.6).
pub(crate) const DEFAULT: CapabilitySet = CapabilitySet::AUDIT_WRITE
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// The bounding set of a container: defaults, additions and drops applied in the order the field's
/// convention has them (`ALL` first, then names; drops last), never more than `available`, which is
/// what this node itself holds.
pub(crate) fn of(spec: &ContainerSpec, available: CapabilitySet) -> Result<CapabilitySet, UnknownCapability> {
    if spec.privileged {
        return Ok(available);
    }
    let (add_all, add) = parse(&spec.capabilities_add)?;
    let (drop_all, drop) = parse(&spec.capabilities_drop)?;
    let mut set = if add_all { available } else { DEFAULT };
    if drop_all {
        set = CapabilitySet::empty();
    }
    Ok(set.union(add).difference(drop).intersection(available))
}

/// Splits a list into whether it says `ALL` and the names it has.
fn parse(names: &[String]) -> Result<(bool, CapabilitySet), UnknownCapability> {
    let mut all = false;
    let mut set = CapabilitySet::empty();
    for name in names {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if bare == "ALL" {
            all = true;
        } else {
            set |= CapabilitySet::from_name(bare).ok_or_else(|| UnknownCapability(name.clone()))?;
        }
    }
    Ok((all, set))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::container_spec;

    fn check(add: &[&str], drop: &[&str], expected: CapabilitySet) {
        let mut spec = container_spec("c");
        spec.capabilities_add = add.iter().map(ToString::to_string).collect();
        spec.capabilities_drop = drop.iter().map(ToString::to_string).collect();
        assert_eq!(of(&spec, CapabilitySet::all()), Ok(expected));
    }

    #[test]
    fn names_and_all_combine_like_everywhere_else() {
        check(&[], &[], DEFAULT);
        check(&["NET_ADMIN"], &[], DEFAULT | CapabilitySet::NET_ADMIN);
        check(&[], &["NET_RAW", "CAP_MKNOD"], DEFAULT - CapabilitySet::NET_RAW - CapabilitySet::MKNOD);
        check(&["CHOWN"], &["ALL"], CapabilitySet::CHOWN);
        check(&["ALL"], &["SYS_ADMIN"], CapabilitySet::all() - CapabilitySet::SYS_ADMIN);
    }

    #[test]
    fn nothing_exceeds_what_the_node_holds() {
        let mut spec = container_spec("c");
        spec.privileged = true;
        assert_eq!(of(&spec, CapabilitySet::CHOWN), Ok(CapabilitySet::CHOWN));
        spec.privileged = false;
        spec.capabilities_add = vec!["SYS_ADMIN".into()];
        assert_eq!(of(&spec, CapabilitySet::CHOWN), Ok(CapabilitySet::CHOWN));
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let mut spec = container_spec("c");
        spec.capabilities_add = vec!["FLY".into()];
        assert_eq!(of(&spec, CapabilitySet::all()), Err(UnknownCapability("FLY".into())));
    }
}
