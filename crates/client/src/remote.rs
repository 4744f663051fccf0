//! The API over TLS: one server, one that asks. It never talks to a server that it cannot verify.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, HeaderValue, InvalidHeaderValue};
use http::{Request, Response, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client as HttpClient, Error as HttpError};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::Body;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

use crate::kubeconfig::{Cluster, In, KubeconfigError, User, check_supported, pem};

/// The service that sends requests to the server.
#[derive(Clone)]
pub(crate) struct Remote {
    http: HttpClient<Connector, Body>,
    server: Uri,
    authorization: Option<HeaderValue>,
}

impl Remote {
    /// A service for this cluster, as this user. Connects when first used.
    pub(crate) fn new(
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
}
