//! Certificates of your own, and what is wrong with somebody else's, in words.
//!
//! A library's text has the time in it, or differs from version to version; what is counted needs one name.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity};
use rustls::CertificateError;

/// Reasons why certificates of your own cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{}` holds no {what} in PEM format", path.display())]
    Nothing {
        path: PathBuf,
        /// The missing part.
        what: &'static str,
    },
    #[error("private key `{}` is world-readable: expected `chmod 600`", path.display())]
    OpenKey { path: PathBuf },
    #[error("the certificate `{}` and its key cannot be used", path.display())]
    Unusable {
        path: PathBuf,
        /// Message of the library.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Reads a file of certificates or keys.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    fs::read(path).map_err(|source| TlsFileError::Read { path: path.to_owned(), source })
}

/// The same of a private key, which is not for everybody.
pub(crate) fn read_key(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |source| TlsFileError::Read { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(TlsFileError::OpenKey { path: path.to_owned() });
    }
    read(path)
}

/// Certificates that HTTP clients trust and show.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    /// The only authorities that are trusted; the system's without any.
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
}

impl ClientTls {
    /// Reads the files: an authority's certificates, and a certificate with its key.
    ///
    /// # Errors
    /// [`TlsFileError`].
    pub fn read(authorities: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<Self, TlsFileError> {
        let authorities = authorities.map(|path| {
            let nothing = || TlsFileError::Nothing { path: path.to_owned(), what: "certificate" };
            let found = Certificate::from_pem_bundle(&read(path)?).ok().filter(|found| !found.is_empty());
            found.ok_or_else(nothing)
        });
        let identity = identity.map(|(certificate, key)| {
            let mut pem = read(certificate)?;
            pem.push(b'\n');
            pem.extend(read_key(key)?);
            let unusable = |source: reqwest::Error| TlsFileError::Unusable {
                path: certificate.to_owned(),
                source: source.without_url().into(),
            };
            Identity::from_pem(&pem).map_err(unusable)
        });
        Ok(Self { authorities: authorities.transpose()?.unwrap_or_default(), identity: identity.transpose()? })
    }

    /// A client that trusts and shows these.
    pub fn apply(&self, mut client: ClientBuilder) -> ClientBuilder {
        if !self.authorities.is_empty() {
            client = client.tls_certs_only(self.authorities.clone());
        }
        match &self.identity {
            Some(identity) => client.identity(identity.clone()),
            None => client,
        }
    }
}

/// Fault of the other side's certificate, when that is what an error comes from.
pub fn certificate_fault(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls) = error.downcast_ref::<rustls::Error>() {
            return fault(rustls);
        }
        // An I/O error's own error is not among its sources.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = inner.map_or_else(|| error.source(), |inner| Some(inner as &(dyn Error + 'static)));
    }
    None
}

fn fault(error: &rustls::Error) -> Option<&'static str> {
    Some(match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            CertificateError::UnknownIssuer => "its certificate is of an authority that is not trusted",
            CertificateError::Revoked => "its certificate has been revoked",
            _ => "its certificate cannot be used",
        },
        rustls::Error::AlertReceived(_) => "it has refused our certificate, or the lack of one",
        _ => return None,
    })
}

/// The innermost cause of an error, or what is wrong with the other side's certificate.
pub fn cause(error: &(dyn Error + 'static)) -> String {
    let innermost = || std::iter::successors(Some(error), |error| (*error).source()).last().map(ToString::to_string);
    certificate_fault(error).map(str::to_owned).or_else(innermost).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_has_a_name_however_deep_it_is() {
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let error = std::io::Error::other(std::io::Error::other(expired));
        assert_eq!(certificate_fault(&error), Some("its certificate has expired"));
        assert_eq!(certificate_fault(&std::io::Error::other("x")), None);
        assert_eq!(cause(&std::io::Error::other("x")), "x");
    }

    #[test]
    fn files_that_are_none_are_reported_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let refused = |path: &Path| ClientTls::read(Some(path), None).unwrap_err().to_string();
        assert_eq!(refused(&path), format!("cannot read `{}`", path.display()));
        fs::write(&path, "nothing").unwrap();
        assert_eq!(refused(&path), format!("`{}` holds no certificate in PEM format", path.display()));
        let open = ClientTls::read(None, Some((&path, &path))).unwrap_err();
        assert!(matches!(open, TlsFileError::OpenKey { .. }), "{open}");
    }
}
