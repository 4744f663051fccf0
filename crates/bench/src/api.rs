//! A plain client of the API: HTTP/1.1 over TLS on blocking sockets, one request at a time per
//! connection. It does next to nothing, so that what is measured is the server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

/// Longest wait for a byte of an answer.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Where a server is, and as whom to talk to it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    address: String,
    tls: Arc<ClientConfig>,
}

/// One kept-alive connection.
pub(crate) struct Connection {
    host: String,
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

/// The head of an answer.
struct Head {
    status: u16,
    content_length: Option<usize>,
    chunked: bool,
}

impl Endpoint {
    /// The API of the cluster with that data directory, as its administrator.
    pub(crate) fn of_cluster(data_dir: &Path) -> anyhow::Result<Self> {
        let kubeconfig = std::fs::read_to_string(data_dir.join("kubeconfig")).context("cannot read the kubeconfig")?;
        let server = kubeconfig.lines().find_map(|line| line.trim().strip_prefix("server: https://"));
        let server = server.context("the kubeconfig names no server")?;
        let pki = data_dir.join("pki");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pki.join("ca.crt"))?)?;
        let chain = vec![CertificateDer::from_pem_file(pki.join("admin.crt"))?];
        let key = PrivateKeyDer::from_pem_file(pki.join("admin.key"))?;
        let mut tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { address: server.to_owned(), tls: Arc::new(tls) })
    }

    /// Another server on this machine with the same certificates.
    pub(crate) fn at(&self, address: String) -> Self {
        Self { address, tls: Arc::clone(&self.tls) }
    }

    /// Connects; the handshake is done when the first request is answered.
    pub(crate) fn connect(&self) -> anyhow::Result<Connection> {
        let socket = TcpStream::connect(&self.address).with_context(|| format!("cannot reach {}", self.address))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        let name = ServerName::try_from(host.to_owned())?;
        let tls = ClientConnection::new(Arc::clone(&self.tls), name)?;
        Ok(Connection { host: self.address.clone(), stream: BufReader::new(StreamOwned::new(tls, socket)) })
    }
}

/// How the cluster with that data directory serves TLS, for a floor that pays the same price.
pub(crate) fn server_tls(data_dir: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let pki = data_dir.join("pki");
    let chain = vec![CertificateDer::from_pem_file(pki.join("server.crt"))?];
    let key = PrivateKeyDer::from_pem_file(pki.join("server.key"))?;
    let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(tls))
}

impl Connection {
    /// Creates an object from JSON. Anything but 201 is an error.
    pub(crate) fn create(&mut self, path: &str, json: &str) -> anyhow::Result<()> {
        let (status, answer) = self.request("POST", path, json)?;
        if status != 201 {
            bail!("POST {path} was answered with {status}: {answer}");
        }
        Ok(())
    }

    /// Reads an object or a list.
    pub(crate) fn get(&mut self, path: &str) -> anyhow::Result<serde_json::Value> {
        let (status, answer) = self.request("GET", path, "")?;
        if status != 200 {
            bail!("GET {path} was answered with {status}: {answer}");
        }
        serde_json::from_str(&answer).context("the answer is not JSON")
    }

    /// Changes parts of an object.
    pub(crate) fn merge_patch(&mut self, path: &str, json: &str) -> anyhow::Result<()> {
        let (status, answer) = self.request_of("PATCH", path, "application/merge-patch+json", json)?;
        if status != 200 {
            bail!("PATCH {path} was answered with {status}: {answer}");
        }
        Ok(())
    }

    /// Deletes an object, its dependents after it.
    pub(crate) fn delete(&mut self, path: &str) -> anyhow::Result<()> {
        let (status, answer) = self.request("DELETE", path, r#"{"propagationPolicy":"Background"}"#)?;
        if !matches!(status, 200 | 202) {
            bail!("DELETE {path} was answered with {status}: {answer}");
        }
        Ok(())
    }

    /// One request; the status and the whole body of its answer.
    fn request(&mut self, method: &str, path: &str, json: &str) -> anyhow::Result<(u16, String)> {
        self.request_of(method, path, "application/json", json)
    }

    fn request_of(&mut self, method: &str, path: &str, kind: &str, json: &str) -> anyhow::Result<(u16, String)> {
        self.send(method, path, kind, json)?;
        let head = self.head()?;
        let mut body = Vec::new();
        if head.chunked {
            while let Some(chunk) = self.chunk()? {
                body.extend(chunk);
            }
        } else {
            body.resize(head.content_length.context("the answer has no length")?, 0);
            self.stream.read_exact(&mut body)?;
        }
        Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Starts a watch; the lines of its events follow with [`Connection::chunk`].
    pub(crate) fn watch(&mut self, path: &str) -> anyhow::Result<()> {
        self.send("GET", path, "application/json", "")?;
        let head = self.head()?;
        if head.status != 200 || !head.chunked {
            bail!("GET {path} was answered with {} instead of a watch", head.status);
        }
        Ok(())
    }

    fn send(&mut self, method: &str, path: &str, kind: &str, json: &str) -> anyhow::Result<()> {
        let length = json.len();
        let host = &self.host;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\
             Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{json}"
        );
        let stream = self.stream.get_mut();
        stream.write_all(request.as_bytes())?;
        Ok(stream.flush()?)
    }

    fn head(&mut self) -> anyhow::Result<Head> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut head = Head { status: status.context("the answer is not HTTP")?, content_length: None, chunked: false };
        loop {
            let line = self.line()?.to_ascii_lowercase();
            let Some((name, value)) = line.split_once(':') else { return Ok(head) };
            match name {
                "content-length" => head.content_length = Some(value.trim().parse()?),
                "transfer-encoding" => head.chunked = value.contains("chunked"),
                _ => {}
            }
        }
    }

    /// The next piece of a chunked body; none at its end.
    pub(crate) fn chunk(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let size = usize::from_str_radix(&self.line()?, 16).context("a chunk has no size")?;
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk)?;
        let end = self.line()?;
        anyhow::ensure!(end.is_empty(), "a chunk is longer than it says");
        Ok((size > 0).then_some(chunk))
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the server closed the connection");
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(line)
    }
}
