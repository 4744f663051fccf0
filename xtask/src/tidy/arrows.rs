//! Which crate may use which: the map of the house. Whatever is not listed is forbidden; above all,
//! nothing but `apiserver` (and the binary that wires it) reaches the store, or admission could be bypassed.

use super::Finding;

/// What one crate may use.
struct Room {
    /// Directory below `crates`.
    name: &'static str,
    /// Crates of this workspace that the product may use.
    uses: &'static [&'static str],
    /// Crates that only its tests may use besides; `testkit` is allowed everywhere.
    tests_use: &'static [&'static str],
}

const fn room(name: &'static str, uses: &'static [&'static str]) -> Room {
    Room { name, uses, tests_use: &[] }
}

/// The only arrows. `api` is the vocabulary (kinds, amounts, selectors), so whoever is above it may use it
/// directly; `store`, `runtime`, `image` and `net` know nothing of Kubernetes and of each other. `disk` is
/// what they all need of file systems.
const HOUSE: [Room; 17] = [
    room("api", &[]),
    room("plan", &["api"]),
    room("disk", &[]),
    room("store", &["disk"]),
    room("apiserver", &["api", "store", "disk"]),
    room("client", &["api"]),
    // Its tests run the loops against a real server.
    Room { name: "controllers", uses: &["client", "plan", "api", "disk"], tests_use: &["apiserver", "store"] },
    room("runtime", &["disk"]),
    room("image", &["disk"]),
    room("net", &["disk"]),
    // So do its.
    Room {
        name: "node",
        uses: &["client", "plan", "api", "runtime", "image", "net", "disk"],
        tests_use: &["apiserver", "store"],
    },
    room("dns", &["client", "api"]),
    room("cli", &["client", "plan", "api"]),
    room(
        "stead",
        &[
            "api",
            "plan",
            "store",
            "apiserver",
            "client",
            "controllers",
            "runtime",
            "image",
            "net",
            "node",
            "dns",
            "cli",
            "disk",
        ],
    ),
    // Development only.
    room("testkit", &[]),
    room("bench", &["testkit"]),
    room("sim", &["api", "plan", "store", "apiserver", "client", "controllers", "dns"]),
];

/// Crates that decide without touching the world, and what they must therefore not depend on.
const PURE: [&str; 2] = ["api", "plan"];
const WORLDLY: [&str; 10] =
    ["tokio", "tokio-util", "futures", "hyper", "kube", "rustix", "nix", "libc", "tempfile", "redb"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Dependencies,
    DevDependencies,
    Other,
}

/// Checks one crate's manifest.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let Some(name) = path.strip_prefix("crates/").and_then(|rest| rest.strip_suffix("/Cargo.toml")) else {
        return Vec::new();
    };
    let Some(room) = HOUSE.iter().find(|room| room.name == name) else {
        return vec![Finding::of_file(path, "this crate is not on the map in xtask/src/tidy/arrows.rs")];
    };
    let mut section = Section::Other;
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
        if line.starts_with('[') {
            section = section_of(line);
        }
        let Some(dependency) = dependency(line, section) else { continue };
        if let Some(message) = refusal(room, section, dependency) {
            findings.push(Finding::at(path, at, message));
        }
    }
    findings
}

/// Which table a header opens, `[target.….dependencies]` and `[dependencies.NAME]` included.
fn section_of(header: &str) -> Section {
    let header = header.trim_start_matches('[').trim_end_matches(']');
    if header.contains("dev-dependencies") {
        Section::DevDependencies
    } else if header.contains("dependencies") {
        Section::Dependencies
    } else {
        Section::Other
    }
}

/// The dependency that a line of a table names.
fn dependency(line: &str, section: Section) -> Option<&str> {
    if section == Section::Other || line.starts_with('#') {
        return None;
    }
    let name = match line.strip_prefix('[') {
        Some(header) => header.trim_end_matches(']').split_once("dependencies.")?.1,
        None => line.split(['=', '.', ' ']).next()?,
    };
    Some(name.trim_matches('"')).filter(|name| !name.is_empty())
}

fn refusal(room: &Room, section: Section, dependency: &str) -> Option<String> {
    let own = dependency.strip_prefix("stead-").or((dependency == "stead").then_some("stead"));
    let for_tests = section == Section::DevDependencies;
    match own {
        Some(other) if room.uses.contains(&other) => None,
        Some(other) if for_tests && (other == "testkit" || room.tests_use.contains(&other)) => None,
        Some(other) => Some(format!("`{}` must not use `{other}`", room.name)),
        None if !for_tests && PURE.contains(&room.name) && WORLDLY.contains(&dependency) => {
            Some(format!("`{}` is pure and must not use `{dependency}`", room.name))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(path, text).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn an_arrow_that_is_not_on_the_map_is_found_in_every_spelling() {
        let found = |text: &str| messages("crates/controllers/Cargo.toml", text);
        let refused =
            |line: usize| vec![format!("crates/controllers/Cargo.toml:{line}: `controllers` must not use `store`")];
        assert_eq!(found("[dependencies]\nstead-plan.workspace = true\nstead-store.workspace = true\n"), refused(3));
        assert_eq!(found("[dependencies]\nstead-store = { workspace = true }\n"), refused(2));
        assert_eq!(found("[dependencies.stead-store]\nworkspace = true\n"), refused(1));
        assert_eq!(found("[target.'cfg(unix)'.dependencies]\n\"stead-store\" = { path = \"../store\" }\n"), refused(2));
    }

    #[test]
    fn tests_may_use_more_than_the_product() {
        let text = "[dev-dependencies]\nstead-store.workspace = true\nstead-testkit.workspace = true\n";
        assert!(messages("crates/controllers/Cargo.toml", text).is_empty());
        assert_eq!(messages("crates/plan/Cargo.toml", text), ["crates/plan/Cargo.toml:2: `plan` must not use `store`"]);
    }

    #[test]
    fn the_pure_crates_stay_out_of_the_world() {
        assert_eq!(
            messages("crates/plan/Cargo.toml", "[dependencies]\ntokio.workspace = true\n"),
            ["crates/plan/Cargo.toml:2: `plan` is pure and must not use `tokio`"]
        );
        assert!(messages("crates/node/Cargo.toml", "[dependencies]\ntokio.workspace = true\n").is_empty());
    }

    #[test]
    fn a_new_crate_must_be_put_on_the_map() {
        assert_eq!(
            messages("crates/attic/Cargo.toml", ""),
            ["crates/attic/Cargo.toml: this crate is not on the map in xtask/src/tidy/arrows.rs"]
        );
    }
}
