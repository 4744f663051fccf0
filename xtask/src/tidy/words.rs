//! Names that no file of the project holds: they belong to one machine or one network, and mean nothing
//! to whoever clones the repository.

use super::Finding;

/// In two halves each, so that this file passes its own rule.
const BANNED: [[&str; 2]; 9] = [
    ["/wo", "rk/"],
    ["fa", "rm-"],
    [".lib", "rary/"],
    ["artif", "actory"],
    ["static.cra", "tes.io"],
    ["index.cra", "tes.io"],
    ["proxy.gol", "ang.org"],
    ["registry.np", "mjs.org"],
    ["deb.deb", "ian.org"],
];

/// Checks one text file.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let banned = BANNED.map(|halves| halves.concat());
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        let found = banned.iter().filter(|&name| line.contains(name));
        findings
            .extend(found.map(|name| Finding::at(path, at, format!("`{name}` is the name of one machine or network"))));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_machine_are_found_and_others_are_not() {
        let found = check("README.md", &format!("fine\ncd {}main\n", BANNED[0].concat()));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, Some(2));
        assert!(check("README.md", "docker.io/qdrant/qdrant and /var/lib/stead\n").is_empty());
    }
}
