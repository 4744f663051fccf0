//! Kubeconfigs: where the server is, whom to trust, as whom to ask.
//!
//! Understood are a server certificate authority, a client certificate with its key, and a bearer
//! token, each in the file itself or in a file it names. What it cannot do it says.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_yaml_ng::Value;

use crate::remote::Remote;

/// Why a kubeconfig gives no client.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// The file, or one that it names.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Not a kubeconfig.
    #[error("{} is not a kubeconfig", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_yaml_ng::Error,
    },
    /// It refers to something that is not in it.
    #[error("the kubeconfig has no {0}")]
    Missing(String),
    /// It asks for something that this client does not do.
    #[error("the kubeconfig asks for {0}, which is not supported here")]
    Unsupported(&'static str),
    /// Something in it is not what it should be.
    #[error("the kubeconfig's {what} cannot be used: {why}")]
    Bad {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kubeconfig {
    #[serde(default)]
    clusters: Vec<Named>,
    #[serde(default)]
    contexts: Vec<Named>,
    #[serde(default)]
    users: Vec<Named>,
    #[serde(default)]
    current_context: String,
}

/// An entry of one of the lists; each has its own part filled in.
#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    cluster: Cluster,
    #[serde(default)]
    context: ContextEntry,
    #[serde(default)]
    user: User,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Cluster {
    #[serde(default)]
    pub(crate) server: String,
    pub(crate) certificate_authority: Option<PathBuf>,
    pub(crate) certificate_authority_data: Option<String>,
    #[serde(flatten)]
    pub(crate) others: BTreeMap<String, Value>,
}

#[derive(Clone, Default, Deserialize)]
struct ContextEntry {
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    user: String,
    namespace: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct User {
    pub(crate) client_certificate: Option<PathBuf>,
    pub(crate) client_certificate_data: Option<String>,
    pub(crate) client_key: Option<PathBuf>,
    pub(crate) client_key_data: Option<String>,
    pub(crate) token: Option<String>,
    #[serde(flatten)]
    pub(crate) others: BTreeMap<String, Value>,
}

/// What changes how a server is reached or trusted, or who asks it, and is not done here.
const UNSUPPORTED: [&str; 12] = [
    "insecure-skip-tls-verify",
    "tls-server-name",
    "proxy-url",
    "exec",
    "auth-provider",
    "tokenFile",
    "username",
    "password",
    "as",
    "as-uid",
    "as-groups",
    "as-user-extra",
];

/// Refuses what would silently be left out.
pub(crate) fn check_supported(others: &BTreeMap<String, Value>) -> Result<(), KubeconfigError> {
    let asked = |field: &&&str| match others.get(**field) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    };
    UNSUPPORTED.iter().find(asked).map_or(Ok(()), |field| Err(KubeconfigError::Unsupported(field)))
}

/// Kubeconfigs that count as one, with the directories their files are named from. What stands in an earlier one goes
/// before what stands in a later one.
struct Merged(Vec<(PathBuf, Kubeconfig)>);

impl Merged {
    /// Reads them. One that is not there is passed over where another is, as kubectl does.
    fn read(paths: &[PathBuf]) -> Result<Self, KubeconfigError> {
        let is_there = paths.iter().any(|path| path.exists());
        let mut read = Vec::new();
        for path in paths {
            let text = match std::fs::read_to_string(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && is_there => continue,
                text => text.map_err(|source| KubeconfigError::Read { path: path.clone(), source })?,
            };
            let config = serde_yaml_ng::from_str(&text)
                .map_err(|source| KubeconfigError::Parse { path: path.clone(), source })?;
            read.push((path.parent().unwrap_or(Path::new(".")).to_owned(), config));
        }
        Ok(Self(read))
    }

    fn current_context(&self) -> &str {
        let mut named = self.0.iter().map(|(_, config)| config.current_context.as_str());
        named.find(|name| !name.is_empty()).unwrap_or_default()
    }

    /// The first entry called `name`, and the directory that files it names are looked for in.
    fn find(
        &self,
        what: &str,
        name: &str,
        list: impl Fn(&Kubeconfig) -> &[Named],
    ) -> Result<(&Path, &Named), KubeconfigError> {
        let mut found = self.0.iter().filter_map(|(directory, config)| {
            list(config).iter().find(|entry| entry.name == name).map(|entry| (directory.as_path(), entry))
        });
        found.next().ok_or_else(|| KubeconfigError::Missing(format!("{what} {name:?}")))
    }
}

/// A client for the current context of the kubeconfig at `paths`, of which several count as one, the first going before
/// the others. Its default namespace is the context's. Connects when first used.
pub fn from_kubeconfig(paths: &[PathBuf]) -> Result<kube::Client, KubeconfigError> {
    let config = Merged::read(paths)?;
    let context = &config.find("context", config.current_context(), |c| &c.contexts)?.1.context;
    let (cluster_directory, cluster) = config.find("cluster", &context.cluster, |c| &c.clusters)?;
    let (user_directory, user) = config.find("user", &context.user, |c| &c.users)?;
    let service = Remote::new((cluster_directory, &cluster.cluster), (user_directory, &user.user))?;
    Ok(kube::Client::new(service, context.namespace.as_deref().unwrap_or("default")))
}

/// An entry and the directory that files it names are looked for in.
pub(crate) type In<'a, T> = (&'a Path, &'a T);

/// A PEM text given in the kubeconfig itself or in a file that it names.
pub(crate) fn pem(
    directory: &Path,
    what: &'static str,
    data: Option<&str>,
    file: Option<&Path>,
) -> Result<Option<Vec<u8>>, KubeconfigError> {
    if let Some(data) = data {
        let decoded = STANDARD.decode(data);
        return decoded.map(Some).map_err(|error| KubeconfigError::Bad { what, why: error.to_string() });
    }
    let Some(file) = file else { return Ok(None) };
    let path = directory.join(file);
    std::fs::read(&path).map(Some).map_err(|source| KubeconfigError::Read { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("kubeconfig");
        std::fs::write(&path, text).expect("written");
        (directory, path)
    }

    fn refusal(text: &str) -> String {
        let (_directory, path) = written(text);
        let error = from_kubeconfig(std::slice::from_ref(&path)).err().expect("it is refused");
        error.to_string().replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert_eq!(refusal("[]"), "FILE is not a kubeconfig");
        assert_eq!(refusal("{current-context: a}"), r#"the kubeconfig has no context "a""#);
        let with = |cluster: &str| {
            format!(
                "{{current-context: a, contexts: [{{name: a, context: {{cluster: c, user: u}}}}], users: [{{name: u}}], \
                 clusters: [{{name: c, cluster: {cluster}}}]}}"
            )
        };
        assert_eq!(
            refusal(&with("{server: 'http://127.0.0.1:1'}")),
            "the kubeconfig's server cannot be used: it is not of the form https://HOST:PORT"
        );
        assert_eq!(refusal(&with("{server: 'https://127.0.0.1:1'}")), "the kubeconfig has no certificate authority");
        assert!(
            refusal(&with("{server: 'https://127.0.0.1:1', certificate-authority-data: '%'}"))
                .starts_with("the kubeconfig's certificate authority cannot be used")
        );
    }

    #[test]
    fn what_is_not_done_here_is_refused_rather_than_left_out() {
        let with = |cluster: &str, user: &str| {
            format!(
                "{{current-context: a, contexts: [{{name: a, context: {{cluster: c, user: u}}}}], \
                 users: [{{name: u, user: {user}}}], clusters: [{{name: c, cluster: {cluster}}}]}}"
            )
        };
        let server = "server: 'https://127.0.0.1:1'";
        let cases = [
            (format!("{{{server}, insecure-skip-tls-verify: true}}"), "{}", "insecure-skip-tls-verify"),
            (format!("{{{server}, proxy-url: 'http://p'}}"), "{}", "proxy-url"),
            (format!("{{{server}}}"), "{exec: {command: x}}", "exec"),
            (format!("{{{server}}}"), "{username: a, password: b}", "username"),
        ];
        for (cluster, user, field) in cases {
            let wanted = format!("the kubeconfig asks for {field}, which is not supported here");
            assert_eq!(refusal(&with(&cluster, user)), wanted);
        }
        let harmless = format!("{{{server}, insecure-skip-tls-verify: false, disable-compression: true}}");
        assert_eq!(refusal(&with(&harmless, "{}")), "the kubeconfig has no certificate authority");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = from_kubeconfig(&["/nowhere/kubeconfig".into()]).err().expect("it is refused");
        assert_eq!(error.to_string(), "cannot read /nowhere/kubeconfig");
    }

    #[tokio::test]
    async fn of_several_files_the_first_goes_before_the_others() {
        let (_one, contexts) = written(
            "{current-context: a, contexts: [{name: a, context: {cluster: c, user: u, namespace: first}}], \
             users: [{name: u, user: {token: t}}]}",
        );
        let (_two, clusters) = written(
            "{current-context: b, contexts: [{name: a, context: {namespace: second}}], \
             clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', certificate-authority: ca.pem}}]}",
        );
        let absent = PathBuf::from("/nowhere/kubeconfig");
        let refusal = |paths: &[&PathBuf]| {
            let paths: Vec<_> = paths.iter().map(|path| path.to_path_buf()).collect();
            from_kubeconfig(&paths).err().expect("it is refused").to_string()
        };
        assert_eq!(refusal(&[&contexts]), r#"the kubeconfig has no cluster "c""#);
        let authority = clusters.with_file_name("ca.pem");
        assert_eq!(refusal(&[&absent, &contexts, &clusters]), format!("cannot read {}", authority.display()));
        std::fs::write(&authority, "").expect("written");
        let client = from_kubeconfig(&[contexts.clone(), clusters.clone()]).expect("enough for a client");
        assert_eq!(client.default_namespace(), "first");
        assert_eq!(refusal(&[&absent, &absent]), "cannot read /nowhere/kubeconfig");
        assert_eq!(refusal(&[&clusters, &contexts]), r#"the kubeconfig has no context "b""#);
    }
}
