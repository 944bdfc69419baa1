//! Meaning of libpq's `sslmode`, on rustls.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode as DriverMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::UrlError;
use super::url::TlsOptions;
use crate::tls::{TlsFileError, read, read_key};

/// TLS mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    Disable,
    /// None, unless the server wants it.
    Allow,
    /// As the server likes; its identity is not checked.
    Prefer,
    /// TLS, without a check of the server's identity.
    Require,
    /// A server with a certificate of an authority that is trusted.
    VerifyCa,
    /// The same, and the certificate is for its name.
    VerifyFull,
}

/// Every mode by its name.
const MODES: [(&str, TlsMode); 6] = [
    ("disable", TlsMode::Disable),
    ("allow", TlsMode::Allow),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
];

const MODE_NAMES: &str = "`disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full`";

/// The value of `sslrootcert` that stands for the system's authorities.
const SYSTEM: &str = "system";

/// TLS settings for a server.
#[derive(Clone)]
pub(super) struct Tls {
    mode: TlsMode,
    config: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.mode, f)
    }
}

impl Tls {
    /// Not at all.
    pub(super) fn none() -> Self {
        Self { mode: TlsMode::Disable, config: None }
    }

    /// As the options of a URL ask for it. Where they say nothing of a file, that of the user's own folder is taken, as
    /// libpq does.
    pub(super) fn of(options: &TlsOptions) -> Result<Self, UrlError> {
        let named = options.mode.as_deref().unwrap_or("prefer");
        let found = MODES.iter().find(|(name, _)| *name == named).map(|(_, mode)| *mode);
        let mode = found.ok_or(UrlError::Value { option: "sslmode", allowed: MODE_NAMES })?;
        if mode == TlsMode::Disable {
            return Ok(Self::none());
        }
        let root = options.root.clone().or_else(|| own_file("root.crt"));
        let mode = match (mode, &root) {
            // Anyone who has put an authority there wants the server checked.
            (TlsMode::Require, Some(_)) => TlsMode::VerifyCa,
            (TlsMode::VerifyCa | TlsMode::VerifyFull, None) => return Err(UrlError::NoRoot),
            (mode, _) => mode,
        };
        if root.as_deref() == Some(SYSTEM) && mode != TlsMode::VerifyFull {
            // Anybody has a certificate of some public authority.
            return Err(UrlError::Value { option: "sslmode", allowed: "those with sslrootcert=system: `verify-full`" });
        }
        let config = client_config(mode, root.as_deref(), identity(options)?)?;
        Ok(Self { mode, config: Some(Arc::new(config)) })
    }

    pub(super) fn mode(&self) -> TlsMode {
        self.mode
    }

    pub(super) fn first_attempt(&self) -> DriverMode {
        match self.mode {
            TlsMode::Disable | TlsMode::Allow => DriverMode::Disable,
            TlsMode::Prefer => DriverMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => DriverMode::Require,
        }
    }

    /// Second attempt, after the first was refused.
    pub(super) fn second_attempt(&self) -> Option<DriverMode> {
        match self.mode {
            TlsMode::Allow => Some(DriverMode::Require),
            TlsMode::Prefer => Some(DriverMode::Disable),
            _ => None,
        }
    }

    pub(super) fn connector(&self) -> Option<MakeRustlsConnect> {
        self.config.as_ref().map(|config| MakeRustlsConnect::new(ClientConfig::clone(config)))
    }
}

/// A file of the user's own folder of libpq's, if it is there.
fn own_file(name: &str) -> Option<String> {
    let path = Path::new(&std::env::var_os("HOME")?).join(".postgresql").join(name);
    path.exists().then(|| path.display().to_string())
}

/// A certificate of the client's own, and its key.
type TlsIdentity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(options: &TlsOptions) -> Result<Option<(PathBuf, TlsIdentity)>, UrlError> {
    let certificate = options.certificate.clone().or_else(|| own_file("postgresql.crt"));
    let key = options.key.clone().or_else(|| own_file("postgresql.key"));
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (PathBuf::from(certificate), PathBuf::from(key)),
        (None, None) => return Ok(None),
        // A file that merely lies there is none that was asked for.
        _ if options.certificate.is_none() && options.key.is_none() => return Ok(None),
        _ => return Err(UrlError::HalfIdentity),
    };
    let chain = certificates(&certificate)?;
    let nothing = || TlsFileError::Nothing { path: key.clone(), what: "private key without a password" };
    let key = PrivateKeyDer::from_pem_slice(&read_key(&key)?).ok().ok_or_else(nothing)?;
    Ok(Some((certificate, (chain, key))))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| TlsFileError::Nothing { path: path.to_owned(), what: "certificate" })
}

fn client_config(
    mode: TlsMode,
    root: Option<&str>,
    identity: Option<(PathBuf, TlsIdentity)>,
) -> Result<ClientConfig, UrlError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let unusable = |path: &Path, source: Box<dyn std::error::Error + Send + Sync>| {
        UrlError::File(TlsFileError::Unusable { path: path.to_owned(), source })
    };
    let verifier: Arc<dyn ServerCertVerifier> = match (mode, root) {
        (TlsMode::VerifyCa | TlsMode::VerifyFull, Some(root)) => {
            let (given, roots) = roots(root)?;
            let name = if mode == TlsMode::VerifyFull { Name::Checked } else { Name::Any };
            Arc::new(KnownAuthorities { given, roots, name, provider: Arc::clone(&provider) })
        }
        _ => Arc::new(Anybody(Arc::clone(&provider))),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(Path::new("rustls"), Box::new(error)))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match identity {
        Some((path, (chain, key))) => {
            builder.with_client_auth_cert(chain, key).map_err(|error| unusable(&path, Box::new(error)))
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

/// The certificates of a file, and the same as authorities.
fn roots(root: &str) -> Result<(Vec<CertificateDer<'static>>, RootCertStore), UrlError> {
    let mut roots = RootCertStore::empty();
    let given =
        if root == SYSTEM { rustls_native_certs::load_native_certs().certs } else { certificates(Path::new(root))? };
    let (added, _) = roots.add_parsable_certificates(given.iter().cloned());
    if added == 0 {
        return Err(TlsFileError::Nothing { path: PathBuf::from(root), what: "certificate of an authority" }.into());
    }
    Ok((given, roots))
}

/// Takes any certificate, as libpq does without a root: what is reported cannot be read on the way, but who says it is not
/// known.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

/// Check of the name in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Any,
    Checked,
}

/// Takes a certificate of an authority that is trusted.
#[derive(Debug)]
struct KnownAuthorities {
    given: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
    name: Name,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
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

    // The identity is not checked: a signature of somebody unknown says nothing, and old certificates cannot be read for it.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl KnownAuthorities {
    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }
}

impl ServerCertVerifier for KnownAuthorities {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.algorithms().all;
        match verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms) {
            // A server's own certificate in place of an authority's, as `openssl req -x509` makes it. That it may be an
            // authority's, too, is the last thing that is stated of it: its dates are good.
            Err(error) if is_authoritys(&error) && self.given.iter().any(|it| it == certificate) => {}
            checked => checked?,
        }
        if self.name == Name::Checked {
            verify_server_name(&parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}

/// True if the only thing that is wrong with a server's certificate is that it is an authority's. The library has no name
/// of its own for that; an error that is reported otherwise is an error.
fn is_authoritys(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            other.to_string().contains("CaUsedAsEndEntity")
        }
        _ => false,
    }
}
