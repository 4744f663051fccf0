//! Registry configuration and credentials: what people write down, as types. No network.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::{ConfigError, ImageName};

/// Mirrors and credentials: the file of `--registry-config` (YAML).
///
/// ```yaml
/// mirrors:
///   docker.io:                       # images of this registry are asked for here first, in order
///   - url: http://127.0.0.1:5000     # http:// is plain HTTP
///   - url: https://mirror.example
/// auths:                             # as in docker's config.json: auth, or username and password
///   mirror.example:
///     username: reader
///     password: secret
/// plainHttp:                         # registries spoken to without TLS; loopback ones always are
/// - registry.lan:5000
/// ```
///
/// Docker's `config.json` is read as well: its `auths` are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryConfig {
    /// By registry: where to ask first, in order; the registry itself comes last.
    pub mirrors: BTreeMap<String, Vec<Mirror>>,
    /// By registry, host or host and path.
    pub auths: BTreeMap<String, Auth>,
    /// Registries spoken to without TLS.
    pub plain_http: Vec<String>,
}

/// A place that serves another registry's images.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// `http://host:port` or `https://host[:port]`.
    pub url: String,
}

/// One entry of `auths`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", default)]
pub struct Auth {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
    /// `user:password` in base64; used where user name and password are absent.
    pub auth: String,
    /// A token to be sent as it is.
    pub registrytoken: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("username", &self.username).finish_non_exhaustive()
    }
}

/// One way to show a registry who is asking.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// What it is for: host with optional globs (`*.example.com`), port and path prefix.
    pub scope: String,
    /// What to show.
    pub secret: Secret,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// What to show to a registry. Never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Secret {
    /// User name and password.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
    /// A bearer token.
    Token(String),
}

impl RegistryConfig {
    /// Reads a registry configuration.
    ///
    /// # Errors
    /// The file cannot be read, or is not what [`RegistryConfig`] describes.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|reason| ConfigError::Invalid { what: path.display().to_string(), reason })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        for mirror in config.mirrors.values().flatten() {
            mirror.endpoint()?;
        }
        config.credentials().map_err(|error| error.to_string())?;
        Ok(config)
    }

    /// The credentials of this configuration.
    ///
    /// # Errors
    /// An entry is not what it should be.
    pub fn credentials(&self) -> Result<Vec<Credential>, ConfigError> {
        self.auths.iter().map(|(scope, auth)| auth.credential(scope)).collect()
    }
}

/// Where a registry or mirror is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host and port.
    pub(crate) host: String,
    /// Without TLS.
    pub(crate) plain_http: bool,
}

impl Mirror {
    pub(crate) fn endpoint(&self) -> Result<Endpoint, String> {
        let (scheme, rest) = self
            .url
            .split_once("://")
            .ok_or_else(|| format!("mirror {:?}: want http://host or https://host", self.url))?;
        let plain_http = match scheme {
            "http" => true,
            "https" => false,
            other => return Err(format!("mirror {:?}: unknown scheme {other:?}", self.url)),
        };
        let host = rest.trim_end_matches('/');
        if host.is_empty() || host.contains('/') {
            return Err(format!("mirror {:?}: want a host and nothing after it", self.url));
        }
        Ok(Endpoint { host: host.to_owned(), plain_http })
    }
}

impl RegistryConfig {
    /// Where to ask for images of `registry`, in order: mirrors first, the registry itself last.
    pub(crate) fn endpoints(&self, registry: &str) -> Result<Vec<Endpoint>, String> {
        let mut endpoints =
            self.mirrors.get(registry).into_iter().flatten().map(Mirror::endpoint).collect::<Result<Vec<_>, _>>()?;
        let plain_http = self.plain_http.iter().any(|host| host == registry) || is_loopback(registry);
        endpoints.push(Endpoint { host: registry.to_owned(), plain_http });
        Ok(endpoints)
    }
}

fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Auth {
    fn credential(&self, scope: &str) -> Result<Credential, ConfigError> {
        let invalid =
            |reason: &str| ConfigError::Invalid { what: format!("credentials for {scope}"), reason: reason.to_owned() };
        let secret = if !self.registrytoken.is_empty() {
            Secret::Token(self.registrytoken.clone())
        } else if !self.username.is_empty() {
            Secret::Basic { username: self.username.clone(), password: self.password.clone() }
        } else {
            let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, self.auth.trim())
                .map_err(|_| invalid("auth is not base64"))?;
            let text = String::from_utf8(bytes).map_err(|_| invalid("auth is not text"))?;
            let (username, password) =
                text.split_once(':').ok_or_else(|| invalid("auth is not user:password in base64"))?;
            Secret::Basic { username: username.to_owned(), password: password.trim_end_matches('\0').to_owned() }
        };
        Ok(Credential { scope: scope.to_owned(), secret })
    }
}

impl Credential {
    /// Credentials of a Secret of type `kubernetes.io/dockerconfigjson` (`{"auths": {…}}`).
    ///
    /// # Errors
    /// The bytes are not such a document.
    pub fn from_docker_config_json(bytes: &[u8]) -> Result<Vec<Self>, ConfigError> {
        let config: RegistryConfig = parse_json("dockerconfigjson", bytes)?;
        config.credentials()
    }

    /// Credentials of a Secret of type `kubernetes.io/dockercfg` (the `auths` alone).
    ///
    /// # Errors
    /// The bytes are not such a document.
    pub fn from_dockercfg(bytes: &[u8]) -> Result<Vec<Self>, ConfigError> {
        let auths = parse_json("dockercfg", bytes)?;
        RegistryConfig { auths, ..RegistryConfig::default() }.credentials()
    }

    /// The credentials that apply to an image, the most specific first (contract/pods.md 6.21).
    pub fn matching<'a>(credentials: &'a [Self], name: &ImageName) -> Vec<&'a Self> {
        Self::matching_at(credentials, name.registry(), name.repository())
    }

    /// The same for a repository at a host, which may be a mirror: only what is meant for that host is shown to it.
    pub(crate) fn matching_at<'a>(credentials: &'a [Self], host: &str, repository: &str) -> Vec<&'a Self> {
        let mut matching: Vec<&Self> =
            credentials.iter().filter(|credential| credential.applies_to(host, repository)).collect();
        matching.sort_by_key(|credential| std::cmp::Reverse(scope_path(&credential.scope).len()));
        matching
    }

    fn applies_to(&self, registry: &str, repository: &str) -> bool {
        let scope = bare_scope(&self.scope);
        let (host, path) = scope.split_once('/').unwrap_or((scope, ""));
        // Docker's own file calls Docker Hub `https://index.docker.io/v1/`.
        let hub = matches!(host, "index.docker.io" | "registry-1.docker.io" | "docker.io");
        if hub && registry == "docker.io" {
            return path.is_empty() || matches!(path, "v1" | "v2") || path_covers(path, repository);
        }
        host_matches(host, registry) && path_covers(path, repository)
    }
}

fn parse_json<T: serde::de::DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, ConfigError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ConfigError::Invalid { what: what.to_owned(), reason: error.to_string() })
}

fn bare_scope(scope: &str) -> &str {
    scope.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/')
}

fn scope_path(scope: &str) -> &str {
    bare_scope(scope).split_once('/').map_or("", |(_, path)| path)
}

fn path_covers(prefix: &str, repository: &str) -> bool {
    prefix.is_empty()
        || repository == prefix
        || repository.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

/// Same port, same number of labels, each label equal or matched by its `*`s.
fn host_matches(pattern: &str, host: &str) -> bool {
    let (pattern, pattern_port) = pattern.rsplit_once(':').unwrap_or((pattern, ""));
    let (host, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let (patterns, labels): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern_port == port
        && patterns.len() == labels.len()
        && patterns.iter().zip(&labels).all(|(pattern, label)| label_matches(pattern, label))
}

fn label_matches(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == label,
        Some((head, rest)) => match label.strip_prefix(head) {
            None => false,
            Some(tail) => {
                (0..=tail.len()).filter(|at| tail.is_char_boundary(*at)).any(|at| label_matches(rest, &tail[at..]))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_file_is_understood() {
        let config = RegistryConfig::parse(
            "mirrors:\n  docker.io:\n  - url: http://127.0.0.1:5000\n  - url: https://mirror.example/\nauths:\n  mirror.example: {username: reader, password: secret}\n",
        )
        .expect("parses");
        let hosts: Vec<_> =
            config.endpoints("docker.io").expect("valid").into_iter().map(|e| (e.host, e.plain_http)).collect();
        assert_eq!(
            hosts,
            [
                ("127.0.0.1:5000".to_owned(), true),
                ("mirror.example".to_owned(), false),
                ("docker.io".to_owned(), false)
            ]
        );
        assert_eq!(config.credentials().expect("valid").len(), 1);
        assert!(config.endpoints("127.0.0.1:99").expect("valid")[0].plain_http);
    }

    #[test]
    fn a_wrong_mirror_is_refused_by_name() {
        let error = RegistryConfig::parse("mirrors: {docker.io: [{url: 127.0.0.1}]}").expect_err("refused");
        assert!(error.contains("127.0.0.1"), "{error}");
    }

    #[test]
    fn credentials_match_by_host_glob_port_and_longest_path() {
        let secret = || Secret::Token("t".to_owned());
        let all: Vec<Credential> =
            ["*.example.com", "a.example.com/team", "a.example.com:5000", "https://index.docker.io/v1/"]
                .map(|scope| Credential { scope: scope.to_owned(), secret: secret() })
                .into();
        let scopes = |image: &str| -> Vec<String> {
            Credential::matching(&all, &image.parse().expect("a name")).into_iter().map(|c| c.scope.clone()).collect()
        };
        assert_eq!(scopes("a.example.com/team/app"), ["a.example.com/team", "*.example.com"]);
        assert_eq!(scopes("a.example.com/teamwork"), ["*.example.com"]);
        assert_eq!(scopes("a.example.com:5000/x"), ["a.example.com:5000"]);
        assert_eq!(scopes("a.b.example.com/x"), Vec::<String>::new());
        assert_eq!(scopes("redis"), ["https://index.docker.io/v1/"]);
    }

    #[test]
    fn docker_config_json_is_read() {
        let found =
            Credential::from_docker_config_json(br#"{"auths":{"r.example":{"auth":"dTpwOnc="}}}"#).expect("valid");
        assert!(found[0].secret == Secret::Basic { username: "u".to_owned(), password: "p:w".to_owned() });
    }
}
