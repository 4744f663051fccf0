//! Asking over HTTP or HTTPS (contract `pods.md` 1.40, 3.7–3.9). Certificates are not verified: what is asked
//! is whether the pod answers, and its certificates are its own business.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::{CheckError, OUTPUT_BYTES_MAX, go_error, port_number};

/// Most requests that one check makes, the first and those that answers send it to.
const REQUESTS_MAX: usize = 10;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The first of the body.
    pub(crate) body: String,
    /// Where the answer sends the client on to.
    location: Option<String>,
}

/// Asks a container. Redirections are followed as long as they lead to the same host (contract `pods.md`
/// 3.7); one that does not is the answer.
pub(crate) async fn http_get(
    container: &Container,
    get: &HTTPGetAction,
    pod_ip: Option<IpAddr>,
    user_agent: &str,
) -> Result<Answer, CheckError> {
    let first = Target::of(container, get, pod_ip)?;
    let mut target = first.clone();
    for _ in 0..REQUESTS_MAX {
        let answer = request(&target, get, user_agent).await?;
        match target.redirected(&answer)? {
            Some(next) if next.host == first.host => target = next,
            Some(_) | None => return Ok(answer),
        }
    }
    Err(target.failed(format!("stopped after {REQUESTS_MAX} redirects")))
}

async fn request(target: &Target, get: &HTTPGetAction, user_agent: &str) -> Result<Answer, CheckError> {
    let stream = TcpStream::connect(target.authority()).await;
    let stream = stream
        .map_err(|error| target.failed(format!("dial tcp {}: connect: {}", target.authority(), go_error(&error))))?;
    if !target.tls {
        return ask(target, get, user_agent, stream).await;
    }
    let name = ServerName::try_from(target.host.clone()).map_err(|error| target.failed(error.to_string()))?;
    let connector = tokio_rustls::TlsConnector::from(client_config().map_err(|error| target.failed(error))?);
    let stream = connector.connect(name, stream).await.map_err(|error| target.failed(error.to_string()))?;
    ask(target, get, user_agent, stream).await
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    tls: bool,
    host: String,
    port: u16,
    path: String,
    /// The declared `Host` is meant: nobody has named another.
    as_declared: bool,
}

impl Target {
    fn of(container: &Container, get: &HTTPGetAction, pod_ip: Option<IpAddr>) -> Result<Self, CheckError> {
        let host = get.host.clone().filter(|host| !host.is_empty());
        let path = get.path.as_deref().unwrap_or_default();
        Ok(Self {
            tls: get.scheme.as_deref() == Some("HTTPS"),
            host: host.or_else(|| pod_ip.map(|ip| ip.to_string())).unwrap_or_default(),
            port: port_number(container, &get.port)?,
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            as_declared: true,
        })
    }

    /// Where an answer sends the client on to, if it does.
    fn redirected(&self, answer: &Answer) -> Result<Option<Self>, CheckError> {
        let Some(location) = answer.location.as_deref().filter(|_| matches!(answer.status, 301..=303 | 307 | 308))
        else {
            return Ok(None);
        };
        let failed =
            |error: url::ParseError| self.failed(format!("failed to parse Location header {location:?}: {error}"));
        let next = url::Url::parse(&self.url()).and_then(|own| own.join(location)).map_err(failed)?;
        let known = matches!(next.scheme(), "http" | "https");
        let (Some(host), Some(port), true) = (next.host_str(), next.port_or_known_default(), known) else {
            return Err(self.failed(format!("unsupported protocol scheme {:?}", next.scheme())));
        };
        Ok(Some(Self {
            tls: next.scheme() == "https",
            host: host.to_owned(),
            port,
            path: next[url::Position::BeforePath..url::Position::AfterQuery].to_owned(),
            // A place within the same server is told without its name.
            as_declared: self.as_declared && url::Url::parse(location).is_err() && !location.starts_with("//"),
        }))
    }

    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn failed(&self, reason: String) -> CheckError {
        CheckError::Http { url: self.url(), reason }
    }
}

async fn ask(
    target: &Target,
    get: &HTTPGetAction,
    user_agent: &str,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Answer, CheckError> {
    let failed = |error: &dyn std::fmt::Display| target.failed(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request =
        http::Request::get(&target.path).body(Empty::<bytes::Bytes>::new()).map_err(|error| failed(&error))?;
    for (name, value) in headers(target, get, user_agent) {
        let name: http::HeaderName = name.parse().map_err(|error| failed(&error))?;
        request.headers_mut().append(name, value.parse().map_err(|error| failed(&error))?);
    }
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = answer.status().as_u16();
    let location = answer.headers().get(http::header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.filter(|location| !location.is_empty()).map(str::to_owned);
    // A longer body than is kept changes nothing about the answer.
    let body = Limited::new(answer.into_body(), OUTPUT_BYTES_MAX).collect().await;
    let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
    Ok(Answer { status, body, location })
}

/// The declared headers, and the usual ones where they are not declared; an empty `Accept` asks for none.
fn headers(target: &Target, get: &HTTPGetAction, user_agent: &str) -> Vec<(String, String)> {
    let meant = |name: &str| target.as_declared || !name.eq_ignore_ascii_case("host");
    let declared: Vec<(String, String)> = get
        .http_headers
        .iter()
        .flatten()
        .filter(|header| meant(&header.name))
        .map(|header| (header.name.clone(), header.value.clone()))
        .collect();
    let usual = [("Host", target.authority()), ("User-Agent", user_agent.to_owned()), ("Accept", "*/*".to_owned())];
    let is_declared = |name: &str| declared.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let mut all: Vec<(String, String)> = usual
        .into_iter()
        .filter(|(name, _)| !is_declared(name))
        .map(|(name, value)| (name.to_owned(), value))
        .chain([("Connection".to_owned(), "close".to_owned())])
        .collect();
    let no_accept = |(name, value): &(String, String)| name.eq_ignore_ascii_case("accept") && value.is_empty();
    all.extend(declared.iter().filter(|header| !no_accept(header)).cloned());
    all
}

fn client_config() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Anyone(provider.signature_verification_algorithms));
    let config = ClientConfig::builder_with_provider(Arc::<CryptoProvider>::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

/// Takes any certificate, of a server that has the key to it.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::HTTPHeader;
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

    use super::*;

    #[test]
    fn declared_headers_replace_the_usual_ones() {
        let header = |name: &str, value: &str| HTTPHeader { name: name.to_owned(), value: value.to_owned() };
        let get = HTTPGetAction {
            port: IntOrString::Int(80),
            http_headers: Some(vec![header("host", "web"), header("ACCEPT", ""), header("X-A", "1")]),
            ..HTTPGetAction::default()
        };
        let target = Target::of(&Container::default(), &get, "10.0.0.1".parse().ok()).expect("a target");
        let told: Vec<String> =
            headers(&target, &get, "kube-probe/1.36").iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(told, ["User-Agent: kube-probe/1.36", "Connection: close", "host: web", "X-A: 1"]);
        assert_eq!(target.failed("no".to_owned()).to_string(), r#"Get "http://10.0.0.1:80/": no"#);
    }
    #[test]
    fn places_to_be_sent_to_are_told_in_every_form() {
        let get =
            HTTPGetAction { port: IntOrString::Int(80), path: Some("/a/b?c".to_owned()), ..HTTPGetAction::default() };
        let target = Target::of(&Container::default(), &get, "10.0.0.1".parse().ok()).expect("a target");
        let sent = |status: u16, location: &str| {
            let answer = Answer { status, body: String::new(), location: Some(location.to_owned()) };
            let next = target.redirected(&answer).map_err(|error| error.to_string());
            next.map(|next| next.map(|next| (next.url(), next.as_declared)))
        };
        let place = |url: &str, as_declared| Ok(Some((url.to_owned(), as_declared)));
        assert_eq!(sent(302, "/login?from=%2F"), place("http://10.0.0.1:80/login?from=%2F", true));
        assert_eq!(sent(301, "../d"), place("http://10.0.0.1:80/d", true));
        assert_eq!(sent(307, "//10.0.0.2/"), place("http://10.0.0.2:80/", false));
        assert_eq!(sent(308, "https://10.0.0.1/x"), place("https://10.0.0.1:443/x", false));
        assert_eq!(sent(304, "/never"), Ok(None));
        assert!(sent(302, "ftp://10.0.0.1/").expect_err("refused").ends_with("unsupported protocol scheme \"ftp\""));
    }
}
