//! The API over TLS, as a kubeconfig says: where the server is, whom to trust, as whom to ask.
//!
//! Understood are a server certificate authority, a client certificate with its key, and a bearer
//! token, each in the file itself or in a file it names. What it cannot do it says, and never talks to
//! a server that it cannot verify.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, HeaderValue, InvalidHeaderValue};
use http::{Request, Response, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client as HttpClient, Error as HttpError};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::Body;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use serde::Deserialize;
use serde_yaml_ng::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

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
struct Cluster {
    #[serde(default)]
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
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
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
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
fn check_supported(others: &BTreeMap<String, Value>) -> Result<(), KubeconfigError> {
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
type In<'a, T> = (&'a Path, &'a T);

/// The service that sends requests to the server.
#[derive(Clone)]
struct Remote {
    http: HttpClient<Connector, Body>,
    server: Uri,
    authorization: Option<HeaderValue>,
}

impl Remote {
    fn new(
        (cluster_directory, cluster): In<'_, Cluster>,
        (user_directory, user): In<'_, User>,
    ) -> Result<Self, KubeconfigError> {
        let bad = |what, why: &dyn fmt::Display| KubeconfigError::Bad { what, why: why.to_string() };
        check_supported(&cluster.others)?;
        check_supported(&user.others)?;
        let server: Uri = cluster.server.parse().map_err(|error: http::uri::InvalidUri| bad("server", &error))?;
        let Some(host) = server.host().filter(|_| server.scheme_str() == Some("https")) else {
            return Err(bad("server", &"it is not of the form https://HOST:PORT"));
        };
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|error: InvalidDnsNameError| bad("server", &error))?;
        let address = format!("{host}:{}", server.port_u16().unwrap_or(443));
        let tls = TlsConnector::from(Arc::new(tls_config((cluster_directory, cluster), (user_directory, user))?));
        let bearer = |token: &String| HeaderValue::from_str(&format!("Bearer {token}"));
        let authorization = user.token.as_ref().map(bearer).transpose();
        let authorization = authorization.map_err(|error: InvalidHeaderValue| bad("token", &error))?;
        let http = HttpClient::builder(TokioExecutor::new()).build(Connector { tls, address, name });
        Ok(Self { http, server, authorization })
    }
}

fn tls_config(
    (cluster_directory, cluster): In<'_, Cluster>,
    (user_directory, user): In<'_, User>,
) -> Result<rustls::ClientConfig, KubeconfigError> {
    let bad = |what, why: &dyn fmt::Display| KubeconfigError::Bad { what, why: why.to_string() };
    let (data, file) = (&cluster.certificate_authority_data, &cluster.certificate_authority);
    let authority = pem(cluster_directory, "certificate authority", data.as_deref(), file.as_deref())?
        .ok_or_else(|| KubeconfigError::Missing("certificate authority".to_owned()))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&authority) {
        let certificate = certificate.map_err(|error| bad("certificate authority", &error))?;
        roots.add(certificate).map_err(|error| bad("certificate authority", &error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("certificate authority", &error))?
        .with_root_certificates(roots);
    let pem = |what, data: &Option<String>, file: &Option<PathBuf>| {
        pem(user_directory, what, data.as_deref(), file.as_deref())
    };
    let certificate = pem("client certificate", &user.client_certificate_data, &user.client_certificate)?;
    let key = pem("client key", &user.client_key_data, &user.client_key)?;
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Ok(builder.with_no_client_auth()),
        (Some(_), None) => return Err(KubeconfigError::Missing("key of the client certificate".to_owned())),
        (None, Some(_)) => return Err(KubeconfigError::Missing("certificate of the client key".to_owned())),
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
    let chain = chain.map_err(|error| bad("client certificate", &error))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| bad("client key", &error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| bad("client certificate", &error))
}

/// A PEM text given in the kubeconfig itself or in a file that it names.
fn pem(
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

impl Service<Request<Body>> for Remote {
    type Response = Response<hyper::body::Incoming>;
    type Error = HttpError;
    type Future = hyper_util::client::legacy::ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // What cannot be put together is left to fail.
        if let Some(uri) = below(&self.server, request.uri()) {
            *request.uri_mut() = uri;
        }
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.http.request(request)
    }
}

/// Where a request goes: its path below that of the server, which may be one of many behind one host.
fn below(server: &Uri, request: &Uri) -> Option<Uri> {
    let asked = request.path_and_query().map_or("/", |path| path.as_str());
    let path = format!("{}{asked}", server.path().trim_end_matches('/'));
    let mut parts = server.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Makes connections to the one server.
#[derive(Clone)]
struct Connector {
    tls: TlsConnector,
    address: String,
    name: ServerName<'static>,
}

impl Service<Uri> for Connector {
    type Response = Link;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Link>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { tls, address, name } = self.clone();
        Box::pin(async move {
            let unreachable =
                |error: io::Error| io::Error::new(error.kind(), format!("cannot reach {address}: {error}"));
            let socket = TcpStream::connect(&address).await.map_err(unreachable)?;
            socket.set_nodelay(true)?;
            Ok(Link(TokioIo::new(tls.connect(name, socket).await?)))
        })
    }
}

/// A connection to the server.
struct Link(TokioIo<TlsStream<TcpStream>>);

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Link {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
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
    fn a_server_may_be_one_of_many_behind_a_host() {
        let uri = |text: &str| text.parse::<Uri>().expect("a URI");
        for (server, wanted) in [
            ("https://h:1", "https://h:1/api/v1/pods?watch=1"),
            ("https://h:1/k8s/c/", "https://h:1/k8s/c/api/v1/pods?watch=1"),
        ] {
            assert_eq!(below(&uri(server), &uri("/api/v1/pods?watch=1")), Some(uri(wanted)));
        }
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
