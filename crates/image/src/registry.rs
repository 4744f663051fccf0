//! Talking to one registry: manifests, configurations and layers of one repository with one set of
//! credentials. Says what went wrong in few words; decides nothing about where to go next.

mod manifests;

use std::sync::Once;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use tokio::sync::OnceCell;

use crate::config::Endpoint;
use crate::digest::Digest;
use crate::manifest::{Descriptor, Document};
use crate::{ImageName, Secret};
use manifests::Shown;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a registry may be silent in the middle of an answer.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

const USER_AGENT: &str = concat!("stead/", env!("CARGO_PKG_VERSION"));

/// Largest configuration.
const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// Why a registry did not give what was asked of it.
#[derive(Debug)]
pub(crate) enum Refusal {
    NotFound,
    Unauthorized,
    Unreachable(String),
    /// The content is not what its digest says.
    Digest {
        expected: String,
        actual: String,
    },
    Other(String),
}

/// One repository of one registry, seen with one set of credentials.
pub(crate) struct Repository {
    endpoint: Endpoint,
    client: Client,
    manifests: reqwest::Client,
    auth: RegistryAuth,
    /// What the registry wants to see, once it was asked.
    shown: OnceCell<Shown>,
    /// What is named, at the host that is asked.
    reference: Reference,
}

impl Repository {
    /// Prepares to ask; nothing is sent yet.
    pub(crate) fn new(name: &ImageName, endpoint: &Endpoint, secret: Option<&Secret>) -> Result<Self, Refusal> {
        let (host, repository) = (endpoint.host.clone(), name.repository().to_owned());
        let reference = match name.digest() {
            Some(digest) => Reference::with_digest(host, repository, digest.to_owned()),
            None => Reference::with_tag(host, repository, name.tag().unwrap_or("latest").to_owned()),
        };
        let auth = match secret {
            None => RegistryAuth::Anonymous,
            Some(Secret::Basic { username, password }) => RegistryAuth::Basic(username.clone(), password.clone()),
            Some(Secret::Token(token)) => RegistryAuth::Bearer(token.clone()),
        };
        let (client, manifests) = (client(endpoint)?, manifests::client(endpoint)?);
        Ok(Self { endpoint: endpoint.clone(), client, manifests, auth, shown: OnceCell::new(), reference })
    }

    /// What the name stands for, and its digest.
    pub(crate) async fn document(&self) -> Result<(Document, Digest), Refusal> {
        self.document_at(&self.reference).await
    }

    /// The manifest of an index entry.
    pub(crate) async fn entry(&self, digest: &Digest) -> Result<Document, Refusal> {
        let reference = self.reference.clone_with_digest(digest.to_string());
        Ok(self.document_at(&reference).await?.0)
    }

    async fn document_at(&self, reference: &Reference) -> Result<(Document, Digest), Refusal> {
        let shown = self.shown.get_or_try_init(|| self.exchange()).await?;
        let (bytes, digest) = manifests::get(&self.manifests, &self.endpoint, reference, shown).await?;
        let document = serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::Other(format!("not an image manifest: {error}")))?;
        Ok((document, digest))
    }

    /// Finds out what the registry wants to see; blobs are asked for with the same.
    async fn exchange(&self) -> Result<Shown, Refusal> {
        let token = self.client.auth(&self.reference, &self.auth, RegistryOperation::Pull).await.map_err(refusal)?;
        Ok(Shown::new(token, &self.auth))
    }

    /// A small blob, whole and verified.
    pub(crate) async fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Refusal> {
        let mut stream = std::pin::pin!(self.stream(descriptor).await?);
        let mut content = Vec::new();
        while let Some(chunk) = stream.try_next().await.map_err(stream_refusal)? {
            if content.len() as u64 + chunk.len() as u64 > CONFIG_BYTES_MAX {
                return Err(Refusal::Other(format!("{} is larger than {CONFIG_BYTES_MAX} bytes", descriptor.digest)));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(content)
    }

    /// A blob as it comes. The last item is an error if the bytes were not the ones that the digest names.
    pub(crate) async fn stream(
        &self,
        descriptor: &Descriptor,
    ) -> Result<impl Stream<Item = std::io::Result<Bytes>> + Send + use<>, Refusal> {
        let stream = self
            .client
            .pull_blob_stream(&self.reference, descriptor.digest.to_string().as_str())
            .await
            .map_err(refusal)?;
        Ok(stream.stream)
    }
}

fn client(endpoint: &Endpoint) -> Result<Client, Refusal> {
    let config = |accept_invalid_certificates| ClientConfig {
        protocol: if endpoint.plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
        accept_invalid_certificates,
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(SILENCE_TIMEOUT),
        user_agent: USER_AGENT,
        ..ClientConfig::default()
    };
    made_for(endpoint, |any_certificate| Client::try_from(config(any_certificate)))
}

/// Makes a client that checks certificates. A machine without any trusted certificates cannot make one for TLS
/// at all; plain HTTP needs none.
fn made_for<T, E: std::error::Error>(endpoint: &Endpoint, make: impl Fn(bool) -> Result<T, E>) -> Result<T, Refusal> {
    static PROVIDER: Once = Once::new();
    // An error means that another part of the process has chosen one already, which serves as well.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let made = make(false);
    let made = if endpoint.plain_http { made.or_else(|_| make(true)) } else { made };
    made.map_err(|error| Refusal::Other(format!("cannot make a client: {}", chain(&error))))
}

fn refusal(error: OciDistributionError) -> Refusal {
    match error {
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
            Refusal::Unauthorized
        }
        OciDistributionError::ImageManifestNotFoundError(_) => Refusal::NotFound,
        OciDistributionError::ServerError { code: 404, .. } => Refusal::NotFound,
        OciDistributionError::ServerError { code: 401 | 403, .. } => Refusal::Unauthorized,
        OciDistributionError::ServerError { code, message, .. } => {
            Refusal::Other(format!("status {code} {}", message.trim()))
        }
        OciDistributionError::RegistryError { envelope, .. } => {
            let has = |codes: &[OciErrorCode]| envelope.errors.iter().any(|error| codes.contains(&error.code));
            if has(&[
                OciErrorCode::ManifestUnknown,
                OciErrorCode::NameUnknown,
                OciErrorCode::NotFound,
                OciErrorCode::BlobUnknown,
            ]) {
                Refusal::NotFound
            } else if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                Refusal::Unauthorized
            } else {
                Refusal::Other(envelope.to_string())
            }
        }
        OciDistributionError::RequestError(error) => Refusal::Unreachable(chain(&error)),
        OciDistributionError::DigestError(DigestError::VerificationError { expected, actual }) => {
            Refusal::Digest { expected, actual }
        }
        other => Refusal::Other(other.to_string()),
    }
}

fn stream_refusal(error: std::io::Error) -> Refusal {
    match digest_error(&error) {
        Some((expected, actual)) => Refusal::Digest { expected, actual },
        None => Refusal::Other(chain(&error)),
    }
}

/// What was expected and what came, where an error of a blob's stream says that.
pub(crate) fn digest_error(error: &std::io::Error) -> Option<(String, String)> {
    match error.get_ref()?.downcast_ref::<DigestError>()? {
        DigestError::VerificationError { expected, actual } => Some((expected.clone(), actual.clone())),
        DigestError::InvalidHeader(_) | DigestError::UnsupportedAlgorithm(_) | DigestError::MissingAlgorithm => None,
    }
}

/// An error and what is behind it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
