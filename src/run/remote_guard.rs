//! Guard of remote hosts: load goes to this machine, and where its owner allows it.
//!
//! A name is resolved once, its addresses are checked, and the clients are held to them: what a name means cannot change
//! between the check and the load. Without permission no name is looked up at all, since asking for one may already leave
//! the machine: `localhost` and what ends in `.localhost` are this machine's own addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::redirect::Policy;

use crate::tls::ClientTls;

/// As services see us.
const USER_AGENT: &str = concat!("rbac-bench/", env!("CARGO_PKG_VERSION"));

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Reasons why a host may not be contacted.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("`{host}` is another machine: without `--allow-remote {host}`, load goes to this machine alone")]
    Remote {
        /// The host, as it was written.
        host: String,
    },
    #[error("cannot look up `{host}`")]
    Unknown {
        host: String,
        /// Message of the resolver.
        #[source]
        source: std::io::Error,
    },
}

impl GuardError {
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Remote { host } => Some(format!("pass `--allow-remote {host}` if you operate that host")),
            Self::Unknown { .. } => None,
        }
    }
}

/// Lets requests to this machine through, and to the hosts that were allowed.
#[derive(Debug)]
pub(super) struct RemoteGuard {
    allowed: Vec<String>,
    resolved: Vec<(String, Vec<SocketAddr>)>,
    tls: ClientTls,
}

impl RemoteGuard {
    /// A guard that also lets these hosts through, as they are written in URLs.
    pub(super) fn allowing(allowed: &[String]) -> Self {
        let plain = |host: &String| host.trim_matches(['[', ']']).to_ascii_lowercase();
        Self { allowed: allowed.iter().map(plain).collect(), resolved: Vec::new(), tls: ClientTls::default() }
    }

    /// True if a host would be let through, as far as its name tells: nothing is looked up.
    pub(super) fn would_admit(&self, host: &str) -> bool {
        let name = host.to_ascii_lowercase();
        let here = name.parse::<IpAddr>().map_or_else(|_name| is_localhost(&name), is_loopback);
        here || self.allowed.contains(&name)
    }

    /// Lets a host through, and gives its addresses: from now on these are the ones that it has.
    pub(super) async fn admit(&mut self, host: &str, port: u16) -> Result<Vec<SocketAddr>, GuardError> {
        let name = host.to_ascii_lowercase();
        let allowed = self.allowed.contains(&name);
        if let Ok(address) = name.parse::<IpAddr>() {
            let here = is_loopback(address) || allowed;
            return if here { Ok(vec![(address, port).into()]) } else { Err(GuardError::Remote { host: name }) };
        }
        if !allowed && !is_localhost(&name) {
            return Err(GuardError::Remote { host: name });
        }
        if let Some((_, addresses)) = self.resolved.iter().find(|(known, _)| *known == name) {
            return Ok(addresses.iter().map(|it| (it.ip(), port).into()).collect());
        }
        if !allowed {
            // No resolver is asked: one that does not know the name by itself would ask beyond this machine.
            let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].map(|it| (it, port).into());
            self.resolved.push((name, addresses.to_vec()));
            return Ok(addresses.to_vec());
        }
        let unknown = |source| GuardError::Unknown { host: name.clone(), source };
        let looked_up = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((name.as_str(), port))).await;
        let looked_up = looked_up.map_err(|_elapsed| unknown(std::io::ErrorKind::TimedOut.into()))?;
        let addresses: Vec<SocketAddr> = looked_up.map_err(unknown)?.collect();
        if addresses.is_empty() {
            return Err(unknown(std::io::ErrorKind::NotFound.into()));
        }
        self.resolved.push((name, addresses.clone()));
        Ok(addresses)
    }

    /// The addresses of a host that was let through; none of one that was not.
    pub(super) fn addresses(&self, host: &str, port: u16) -> Vec<SocketAddr> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return vec![(address, port).into()];
        }
        let known = self.resolved.iter().filter(|(name, _)| name.eq_ignore_ascii_case(host));
        known.flat_map(|(_, addresses)| addresses).map(|it| (it.ip(), port).into()).collect()
    }

    /// From now on, clients trust and show these certificates.
    pub(super) fn trust(&mut self, tls: ClientTls) {
        self.tls = tls;
    }

    /// Certificates that clients trust and show.
    pub(super) fn tls(&self) -> &ClientTls {
        &self.tls
    }

    /// The names that were let through, and their addresses.
    pub(super) fn resolved(&self) -> Vec<(String, Vec<SocketAddr>)> {
        self.resolved.clone()
    }

    /// A client that goes to the admitted addresses of names, and nowhere else: no redirect is followed, and no proxy of
    /// the environment is asked.
    pub(super) fn client(&self) -> reqwest::ClientBuilder {
        let client = reqwest::Client::builder().user_agent(USER_AGENT).redirect(Policy::none()).no_proxy();
        // Nothing is asked for packed, and nothing unpacked: ten kilobytes may be ten megabytes.
        let client = client.no_gzip().no_brotli().no_deflate().no_zstd();
        let client = self.tls.apply(client);
        self.resolved.iter().fold(client, |client, (name, addresses)| client.resolve_to_addrs(name, addresses))
    }
}

/// IPv4 addresses in IPv6's clothes included.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The loopback address that a host means; `None` for another machine.
pub(super) fn on_loopback(host: &str) -> Option<IpAddr> {
    if is_localhost(host) {
        return Some(IpAddr::from(Ipv4Addr::LOCALHOST));
    }
    host.parse().ok().filter(|it| is_loopback(*it))
}

/// Names that mean this machine everywhere (RFC 6761), with the dot that ends a full name or without it.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::service::BaseUrl;

    async fn admitted(url: &str, allowed: &[&str]) -> Result<Vec<SocketAddr>, GuardError> {
        let url: BaseUrl = url.parse().expect(url);
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        RemoteGuard::allowing(&allowed).admit(url.host(), url.port()).await
    }

    #[tokio::test]
    async fn only_this_machine_is_let_through() {
        for url in
            ["http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:1", "http://[::ffff:127.0.0.1]", "http://0x7f.1"]
        {
            assert!(admitted(url, &[]).await.is_ok(), "{url}");
        }
        let here = ["127.0.0.1:8080".parse().unwrap(), "[::1]:8080".parse().unwrap()];
        for name in ["LOCALHOST", "localhost.", "shop.Localhost", "shop.localhost."] {
            assert_eq!(admitted(&format!("http://{name}:8080"), &[]).await.expect("nobody is asked"), here, "{name}");
        }
    }

    #[tokio::test]
    async fn no_spelling_of_another_machine_is_let_through() {
        for url in [
            "http://10.0.0.1",
            "http://[::ffff:10.0.0.1]",
            "http://[::ffff:a00:1]",
            "http://[fe80::1]",
            "http://0.0.0.0",
            "http://[::]",
            "http://167772161",
            "http://0xa000001",
            "http://localhost.example.com",
            "http://notlocalhost",
            "http://localhost..",
            "http://127.0.0.1.nip.io",
            "https://example.com:8443/path",
        ] {
            let refused = admitted(url, &[]).await;
            assert!(matches!(refused, Err(GuardError::Remote { .. })), "{url}: {refused:?}");
        }
    }

    #[tokio::test]
    async fn what_was_allowed_is_let_through_and_nothing_beside_it() {
        assert!(admitted("http://10.0.0.1", &["10.0.0.1"]).await.is_ok());
        assert!(admitted("http://[fe80::1]", &["[fe80::1]"]).await.is_ok());
        assert!(admitted("http://10.0.0.2", &["10.0.0.1"]).await.is_err());
        assert!(admitted("http://a.example.com", &["example.com"]).await.is_err());
    }
}
