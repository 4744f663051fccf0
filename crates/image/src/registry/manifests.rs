//! Asking for manifests, which may be as large as whoever answers likes: read up to a bound, verified, and no
//! further. Credentials are oci-client's to exchange.

use bytes::BytesMut;
use oci_client::Reference;
use oci_client::errors::{OciDistributionError, OciEnvelope};
use oci_client::secrets::RegistryAuth;
use reqwest::header::ACCEPT;
use reqwest::{Response, StatusCode};

use super::{CONNECT_TIMEOUT, Refusal, SILENCE_TIMEOUT, USER_AGENT, refusal};
use crate::config::Endpoint;
use crate::digest::Digest;
use crate::manifest::MANIFEST_MEDIA_TYPES;

/// Largest manifest or index; what registries take, too.
const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// So much of an answer that says why not is read.
const REASON_BYTES_MAX: usize = 16 << 10;

/// Header with the digest of a manifest.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// What is shown to the registry.
pub(super) enum Shown {
    Nothing,
    Token(String),
    Password { username: String, password: String },
}

impl Shown {
    /// After the exchange that gave `token`, or gave none.
    pub(super) fn new(token: Option<String>, auth: &RegistryAuth) -> Self {
        match (token, auth) {
            (Some(token), _) => Self::Token(token),
            (None, RegistryAuth::Basic(username, password)) => {
                Self::Password { username: username.clone(), password: password.clone() }
            }
            (None, RegistryAuth::Anonymous | RegistryAuth::Bearer(_)) => Self::Nothing,
        }
    }
}

/// Makes a client that fits the one for blobs.
pub(super) fn client(endpoint: &Endpoint) -> Result<reqwest::Client, Refusal> {
    let made = |any_certificate| {
        reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(any_certificate)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT)
            .user_agent(USER_AGENT)
            .build()
    };
    super::made_for(endpoint, made)
}

/// A manifest and its digest, which is the one that the reference or the registry names, if they name one.
pub(super) async fn get(
    client: &reqwest::Client,
    endpoint: &Endpoint,
    reference: &Reference,
    shown: &Shown,
) -> Result<(Vec<u8>, Digest), Refusal> {
    let scheme = if endpoint.plain_http { "http" } else { "https" };
    let (host, repository) = (reference.resolve_registry(), reference.repository());
    let named = reference.digest().or_else(|| reference.tag()).unwrap_or("latest");
    let url = format!("{scheme}://{host}/v2/{repository}/manifests/{named}");
    let request = client.get(&url).header(ACCEPT, MANIFEST_MEDIA_TYPES.join(", "));
    let request = match shown {
        Shown::Nothing => request,
        Shown::Token(token) => request.bearer_auth(token),
        Shown::Password { username, password } => request.basic_auth(username, Some(password)),
    };
    let mut response = request.send().await.map_err(failed)?;
    if response.status() != StatusCode::OK {
        return Err(why_not(url, response).await);
    }
    let said = response.headers().get(CONTENT_DIGEST).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let Some(bytes) = read(&mut response, MANIFEST_BYTES_MAX).await? else {
        return Err(Refusal::Other(format!("manifest is larger than {MANIFEST_BYTES_MAX} bytes")));
    };
    let actual = Digest::of(&bytes);
    for expected in reference.digest().into_iter().chain(said.as_deref()) {
        let expected: Digest = expected.parse().map_err(Refusal::Other)?;
        if expected != actual {
            return Err(Refusal::Digest { expected: expected.to_string(), actual: actual.to_string() });
        }
    }
    Ok((bytes, actual))
}

/// An answer's content; none where it is larger.
async fn read(response: &mut Response, bytes_max: usize) -> Result<Option<Vec<u8>>, Refusal> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > bytes_max {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes.into()))
}

async fn why_not(url: String, mut response: Response) -> Refusal {
    let status = response.status();
    let reason = match read(&mut response, REASON_BYTES_MAX).await {
        Ok(reason) => reason.unwrap_or_default(),
        Err(refusal) => return refusal,
    };
    if status == StatusCode::UNAUTHORIZED {
        return Refusal::Unauthorized;
    }
    refusal(match serde_json::from_slice::<OciEnvelope>(&reason) {
        Ok(envelope) if status.is_client_error() => OciDistributionError::RegistryError { envelope, url },
        Ok(_) | Err(_) => {
            let message = String::from_utf8_lossy(&reason).into_owned();
            OciDistributionError::ServerError { code: status.as_u16(), url, message }
        }
    })
}

fn failed(error: reqwest::Error) -> Refusal {
    refusal(error.into())
}
