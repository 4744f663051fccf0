//! The server behind its TLS listener, and `kubectl` pointed at it.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use stead_apiserver::pki::{Pki, ServerNames, write_private};
use stead_apiserver::{NoNodes, NodeDialer};
use stead_store::Limits;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::common::Cluster;

/// A cluster behind its TLS listener on a free port of the loopback.
pub(crate) struct Served {
    pub(crate) cluster: Cluster,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) port: u16,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<std::io::Result<()>>,
    pub(crate) directory: TempDir,
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::start_with(Arc::new(NoNodes)).await
    }

    pub(crate) async fn start_with(dialer: Arc<dyn NodeDialer>) -> Self {
        let cluster = Cluster::start_with(Limits::default(), dialer).await;
        let directory = tempfile::tempdir().unwrap();
        let names = ServerNames { listen: None, service: Ipv4Addr::new(10, 96, 0, 1), node: "one".into() };
        let pki = Pki::open(&directory.path().join("pki"), &names, Timestamp::now()).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let kubeconfig = directory.path().join("kubeconfig");
        write_private(&kubeconfig, &pki.kubeconfig(&format!("https://127.0.0.1:{port}"))).unwrap();
        let shutdown = CancellationToken::new();
        let server = Arc::clone(&cluster.server);
        let serving = tokio::spawn(server.serve(listener, pki.server_config().unwrap(), shutdown.clone()));
        Self { cluster, kubeconfig, port, shutdown, serving, directory }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(["--kubeconfig".as_ref(), self.kubeconfig.as_os_str()])
            .args(["--cache-dir".as_ref(), self.directory.path().join("cache").as_os_str()])
            .args(arguments)
            .env_remove("KUBECONFIG")
            .env("HOME", self.directory.path())
            .kill_on_drop(true);
        command
    }

    /// Runs kubectl; its output, or what it complained of.
    pub(crate) async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl must be installed: this test talks to the server through it");
        let mut stdin = child.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        match output.status.success() {
            true => Ok(text(output.stdout)),
            false => Err(text(output.stderr)),
        }
    }

    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        self.kubectl(arguments, "").await.unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    /// A TLS connection as the administrator, for requests written by hand.
    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_offering(&[]).await
    }

    /// The same, with the protocols offered in the handshake.
    pub(crate) async fn connect_offering(&self, protocols: &[&str]) -> TlsStream<TcpStream> {
        let pki = self.directory.path().join("pki");
        let read = |name: &str| CertificateDer::from_pem_file(pki.join(name)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(read("ca.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(pki.join("admin.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![read("admin.crt")], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
    }
}
