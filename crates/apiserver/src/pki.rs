//! The cluster's own certificate authority and what it signs: the server certificate and the
//! administrator's client certificate, kept under `DATA/pki`. Keys are readable by their owner only;
//! what nears its end, or no longer covers the server's names, is issued anew.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use stead_disk::{Durability, replace};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::auth::MASTERS;

/// The administrator's user name.
pub const ADMIN: &str = "kubernetes-admin";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const CA_LIFE: Duration = DAY.saturating_mul(3_650);
const LEAF_LIFE: Duration = DAY.saturating_mul(365);
/// A certificate with less than this left is issued anew.
const RENEW_BEFORE: Duration = DAY.saturating_mul(30);
/// Certificates begin a little in the past, for clients whose clocks are behind.
const BACKDATE: Duration = Duration::from_secs(300);

/// What a PKI operation can fail with.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A key or certificate could not be made.
    #[error("cannot issue the {what} certificate")]
    Issue {
        /// Whose certificate.
        what: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A key or certificate on disk is not one.
    #[error("{path} holds no usable {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was expected in it.
        what: &'static str,
    },
    /// The TLS library refused the material.
    #[error("cannot set up TLS: {reason}")]
    Tls {
        /// Why.
        reason: String,
    },
}

/// The names and addresses the server is reached by.
#[derive(Clone, Debug)]
pub struct ServerNames {
    /// The address it listens on, when it is not a wildcard.
    pub listen: Option<IpAddr>,
    /// The Service address of the API.
    pub service: Ipv4Addr,
    /// The node's name.
    pub node: String,
}

impl ServerNames {
    fn all(&self) -> (Vec<String>, Vec<IpAddr>) {
        let mut names: Vec<String> = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ]
        .map(str::to_owned)
        .into();
        if !self.node.is_empty() && !names.contains(&self.node) {
            names.push(self.node.clone());
        }
        let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(self.service)];
        addresses.extend(self.listen.filter(|listen| !listen.is_unspecified() && !addresses.contains(listen)));
        (names, addresses)
    }
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
struct Pair {
    certificate: String,
    key: String,
}

/// The cluster's certificates.
#[derive(Clone)]
pub struct Pki {
    ca: Pair,
    server: Pair,
    admin: Pair,
}

impl Pki {
    /// Reads the certificates in `directory`, issuing what is missing, near its end at `now`, or does
    /// not cover `names`.
    pub fn open(directory: &Path, names: &ServerNames, now: Timestamp) -> Result<Self, PkiError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|source| PkiError::File { path: directory.to_owned(), source })?;
        let shelf = Shelf { directory, now };
        let (dns, addresses) = names.all();
        let (ca, ca_is_new) = match shelf.read("ca", |_| true)? {
            Some(pair) => (pair, false),
            None => (shelf.issue_ca()?, true),
        };
        let server = match shelf.read("server", |certificate| covers(certificate, &dns, &addresses))? {
            Some(pair) if !ca_is_new => pair,
            _ => shelf.issue(&ca, "server", server_params(&dns, &addresses))?,
        };
        let admin = match shelf.read("admin", |_| true)? {
            Some(pair) if !ca_is_new => pair,
            _ => shelf.issue(&ca, "admin", Ok(client_params(ADMIN, MASTERS)))?,
        };
        Ok(Self { ca, server, admin })
    }

    /// The authority's certificate, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca.certificate
    }

    /// What the listener needs: the server's certificate, and client certificates of this authority
    /// asked for but not required.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, PkiError> {
        let refuse = |error: &dyn std::fmt::Display| PkiError::Tls { reason: error.to_string() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate_der(&self.ca.certificate).map_err(|error| refuse(&error))?)
            .map_err(|error| refuse(&error))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| refuse(&error))?;
        let chain = vec![certificate_der(&self.server.certificate).map_err(|error| refuse(&error))?];
        let key = PrivateKeyDer::from_pem_slice(self.server.key.as_bytes()).map_err(|error| refuse(&error))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refuse(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| refuse(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A kubeconfig for the administrator of the server at `url`, e.g. `https://127.0.0.1:6443`.
    pub fn kubeconfig(&self, url: &str) -> String {
        let encode = |pem: &str| STANDARD.encode(pem);
        format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: stead\n  cluster:\n    server: {url}\n    certificate-authority-data: {}\n\
             contexts:\n\
             - name: stead\n  context:\n    cluster: stead\n    user: {ADMIN}\n\
             current-context: stead\n\
             preferences: {{}}\n\
             users:\n\
             - name: {ADMIN}\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
            encode(&self.ca.certificate),
            encode(&self.admin.certificate),
            encode(&self.admin.key),
        )
    }
}

/// Writes a file that only its owner can read, at once or not at all.
pub fn write_private(path: &Path, content: &str) -> Result<(), PkiError> {
    let fail = |source| PkiError::File { path: path.to_owned(), source };
    replace(path, content.as_bytes(), 0o600, Durability::Machine).map_err(fail)
}

/// The directory of certificates at one instant.
struct Shelf<'a> {
    directory: &'a Path,
    now: Timestamp,
}

impl Shelf<'_> {
    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.directory.join(format!("{name}.{extension}"))
    }

    /// A pair that is there, has time left and is `fit`.
    fn read(&self, name: &str, fit: impl Fn(&X509Certificate<'_>) -> bool) -> Result<Option<Pair>, PkiError> {
        let (Some(certificate), Some(key)) = (read(&self.path(name, "crt"))?, read(&self.path(name, "key"))?) else {
            return Ok(None);
        };
        let damaged = || PkiError::Damaged { path: self.path(name, "crt"), what: "certificate" };
        let der = certificate_der(&certificate).map_err(|_| damaged())?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| damaged())?;
        let left_s = parsed.validity().not_after.timestamp() - self.now.as_second();
        let lasts = u64::try_from(left_s).is_ok_and(|left_s| Duration::from_secs(left_s) > RENEW_BEFORE);
        Ok((lasts && fit(&parsed)).then(|| Pair { certificate: certificate.clone(), key }))
    }

    fn issue_ca(&self) -> Result<Pair, PkiError> {
        let fail = |source| PkiError::Issue { what: "authority's", source };
        let key = KeyPair::generate().map_err(fail)?;
        let mut params = ca_params();
        self.date(&mut params, CA_LIFE);
        let certificate = params.self_signed(&key).map_err(fail)?;
        self.write("ca", &Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn issue(
        &self,
        ca: &Pair,
        name: &'static str,
        params: Result<CertificateParams, rcgen::Error>,
    ) -> Result<Pair, PkiError> {
        let fail = |source| PkiError::Issue { what: name, source };
        let mut params = params.map_err(fail)?;
        self.date(&mut params, LEAF_LIFE);
        let ca_key = KeyPair::from_pem(&ca.key)
            .map_err(|_| PkiError::Damaged { path: self.path("ca", "key"), what: "private key" })?;
        // The authority is always made from the same parameters, so its certificate need not be parsed.
        let issuer = Issuer::new(ca_params(), ca_key);
        let key = KeyPair::generate().map_err(fail)?;
        let certificate = params.signed_by(&key, &issuer).map_err(fail)?;
        self.write(name, &Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn date(&self, params: &mut CertificateParams, life: Duration) {
        let since_epoch = Duration::from_secs(u64::try_from(self.now.as_second()).unwrap_or(0));
        let now = rcgen::date_time_ymd(1970, 1, 1) + since_epoch;
        params.not_before = now - BACKDATE;
        params.not_after = now + life;
    }

    fn write(&self, name: &str, pair: &Pair) -> Result<Pair, PkiError> {
        write_private(&self.path(name, "key"), &pair.key)?;
        write_private(&self.path(name, "crt"), &pair.certificate)?;
        Ok(pair.clone())
    }
}

fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File { path: path.to_owned(), source }),
    }
}

fn certificate_der(pem: &str) -> Result<CertificateDer<'static>, rustls::pki_types::pem::Error> {
    CertificateDer::from_pem_slice(pem.as_bytes())
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "stead-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server_params(names: &[String], addresses: &[IpAddr]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "stead-server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn client_params(user: &str, group: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

/// Whether a certificate names everything the server is reached by.
fn covers(certificate: &X509Certificate<'_>, names: &[String], addresses: &[IpAddr]) -> bool {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return false };
    let listed = &extension.value.general_names;
    let has_name = |name: &String| listed.iter().any(|own| matches!(own, GeneralName::DNSName(own) if own == name));
    let has_address = |address: &IpAddr| {
        let octets: Vec<u8> = match address {
            IpAddr::V4(address) => address.octets().into(),
            IpAddr::V6(address) => address.octets().into(),
        };
        listed.iter().any(|own| matches!(own, GeneralName::IPAddress(own) if *own == octets.as_slice()))
    };
    names.iter().all(has_name) && addresses.iter().all(has_address)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::auth::Identity;

    fn names(node: &str) -> ServerNames {
        ServerNames { listen: None, service: Ipv4Addr::new(10, 96, 0, 1), node: node.to_owned() }
    }

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + day * 86_400).unwrap()
    }

    #[test]
    fn certificates_are_made_once_and_kept_private() {
        let directory = tempfile::tempdir().unwrap();
        let first = Pki::open(directory.path(), &names("one"), at(0)).unwrap();
        let second = Pki::open(directory.path(), &names("one"), at(1)).unwrap();
        assert_eq!(first.server.certificate, second.server.certificate);
        for entry in fs::read_dir(directory.path()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        first.server_config().unwrap();
    }

    #[test]
    fn a_certificate_near_its_end_or_of_another_name_is_issued_anew_by_the_same_authority() {
        let directory = tempfile::tempdir().unwrap();
        let first = Pki::open(directory.path(), &names("one"), at(0)).unwrap();
        let renamed = Pki::open(directory.path(), &names("two"), at(0)).unwrap();
        assert_ne!(first.server.certificate, renamed.server.certificate);
        assert_eq!(first.admin.certificate, renamed.admin.certificate);
        let later = Pki::open(directory.path(), &names("two"), at(350)).unwrap();
        assert_ne!(first.admin.certificate, later.admin.certificate);
        assert_eq!(first.ca.certificate, later.ca.certificate);
    }

    #[test]
    fn the_administrator_is_who_the_certificate_says() {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::open(directory.path(), &names("one"), at(0)).unwrap();
        let der = certificate_der(&pki.admin.certificate).unwrap();
        let identity = Identity::of_certificate(&der).unwrap();
        assert_eq!(identity.user, ADMIN);
        assert!(identity.is_in(MASTERS));
    }
}
