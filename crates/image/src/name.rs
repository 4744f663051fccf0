//! Image names: parsing, and the usual meaning of short ones. No look-ups.

use std::fmt;
use std::str::FromStr;

use oci_client::Reference;
use serde::{Deserialize, Serialize};

/// The name of an image in full: registry, repository, and a tag or a digest or both.
///
/// Short names mean what they mean everywhere: `redis` is `docker.io/library/redis:latest`,
/// `qdrant/qdrant:v1` is `docker.io/qdrant/qdrant:v1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName(Reference);

/// The text is not an image name. The words are the ones that pods show under `InvalidImageName`
/// (contract/pods.md 2.22).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name {text:?}: {reason}")]
pub struct NameError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl ImageName {
    /// The registry's host and port, e.g. `docker.io` or `localhost:5000`.
    pub fn registry(&self) -> &str {
        self.0.registry()
    }

    /// The repository inside the registry, e.g. `library/redis`.
    pub fn repository(&self) -> &str {
        self.0.repository()
    }

    /// The tag; none where only a digest is named.
    pub fn tag(&self) -> Option<&str> {
        self.0.tag()
    }

    /// The digest, where the name pins one.
    pub fn digest(&self) -> Option<&str> {
        self.0.digest()
    }

    /// `registry/repository@digest`: the name by which exactly this content can be fetched again.
    pub fn pinned(&self, digest: &str) -> String {
        format!("{}/{}@{digest}", self.registry(), self.repository())
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialOrd for ImageName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ImageName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.to_string().cmp(&other.to_string())
    }
}

impl FromStr for ImageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |reason: String| NameError { text: text.to_owned(), reason };
        if let Some(repository) = shouting_repository(text) {
            return Err(wrong(format!("invalid reference format: repository name ({repository}) must be lowercase")));
        }
        let reference = Reference::try_from(text).map_err(|error| wrong(error.to_string()))?;
        Ok(Self(reference))
    }
}

/// The repository in full, where only its capitals keep the text from being a name. A first component with
/// capitals would be taken for a host elsewhere; here it is refused as well.
fn shouting_repository(text: &str) -> Option<String> {
    let quiet = Reference::try_from(text.to_ascii_lowercase()).ok()?;
    let name = text.split('@').next()?;
    let tag_at = name.rfind(':').filter(|at| !name[*at..].contains('/')).unwrap_or(name.len());
    let path = &name[..tag_at];
    let known = path.len().min(quiet.repository().len());
    let tail = &path[path.len() - known..];
    tail.bytes()
        .any(|byte| byte.is_ascii_uppercase())
        .then(|| format!("{}{tail}", &quiet.repository()[..quiet.repository().len() - known]))
}

impl TryFrom<String> for ImageName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> String {
        text.parse::<ImageName>().map_or_else(|error| error.to_string(), |name| name.to_string())
    }

    #[test]
    fn short_names_mean_docker_hub() {
        assert_eq!(full("redis"), "docker.io/library/redis:latest");
        assert_eq!(full("qdrant/qdrant:v1.7.0"), "docker.io/qdrant/qdrant:v1.7.0");
        assert_eq!(full("docker.io/redis"), "docker.io/library/redis:latest");
        assert_eq!(full("localhost:5000/a/b"), "localhost:5000/a/b:latest");
        assert_eq!(full("stead.local/demo:v1"), "stead.local/demo:v1");
    }

    #[test]
    fn what_is_no_name_is_said_in_the_words_of_the_contract() {
        assert_eq!(
            full("qdrant/qdrant:nope:nope"),
            r#"couldn't parse image name "qdrant/qdrant:nope:nope": invalid reference format"#
        );
        assert_eq!(
            full("Redis"),
            r#"couldn't parse image name "Redis": invalid reference format: repository name (library/Redis) must be lowercase"#
        );
        assert!(full("r.example/Team/app:V1").ends_with("repository name (Team/app) must be lowercase"));
        assert_eq!(full("app:V1"), "docker.io/library/app:V1");
        assert!(full("").starts_with("couldn't parse image name"));
    }
}
