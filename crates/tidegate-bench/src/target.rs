//! The URL to request (RFC 9110 §4.2.1), taken apart and resolved.

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long one of several addresses may take to accept a connection before the next is tried.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(2);

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The URL as it was given.
    url: String,
    /// The host, without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// The value of the Host field.
    pub authority: String,
    /// Path and query, as they go into the request line.
    pub path: String,
}

impl Target {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// Returns a sentence when the rig cannot request this URL.
    pub fn parse(url: &str) -> Result<Target, String> {
        let refuse = |why: &str| Err(format!("{url:?}: {why}"));
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return refuse("https is not spoken here; measure what is behind the TLS, by http");
            }
            Some(_) | None => return refuse("a URL to measure begins with http://"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return refuse("a name and password go into --header 'Authorization: …'");
        }
        let Some((host, port)) = split_authority(authority) else {
            return refuse("this has no host, or a port that is none");
        };
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        if !path.bytes().chain(authority.bytes()).all(|byte| byte.is_ascii_graphic()) {
            return refuse("blanks, and what is not ASCII, must be escaped (%20)");
        }
        Ok(Target {
            url: url.to_string(),
            host: host.to_string(),
            port,
            authority: authority.to_string(),
            path,
        })
    }

    /// Returns the address to connect to: the first that accepts a connection, if the host has several.
    ///
    /// # Errors
    /// Returns a sentence when the host is unknown.
    pub fn resolve(&self) -> Result<SocketAddr, String> {
        let unknown = |error| format!("the host {:?} cannot be found: {error}", self.host);
        let found: Vec<_> = (&*self.host, self.port).to_socket_addrs().map_err(unknown)?.collect();
        let accepts = |address: &&SocketAddr| TcpStream::connect_timeout(address, ADDRESS_PATIENCE).is_ok();
        let chosen = if found.len() > 1 { found.iter().find(accepts) } else { None };
        let chosen = chosen.or(found.first()).copied();
        chosen.ok_or_else(|| format!("the host {:?} has no address", self.host))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// Splits host and port: `[::1]:80` → `::1` and 80.
fn split_authority(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 80,
        Some(digits) => digits.parse().ok().filter(|port| *port != 0)?,
        None => return None,
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, host: &str, port: u16, authority: &str, path: &str) {
        let target = Target::parse(url).unwrap();
        assert_eq!((target.host.as_str(), target.port), (host, port), "{url}");
        assert_eq!((target.authority.as_str(), target.path.as_str()), (authority, path), "{url}");
    }

    #[test]
    fn url_comes_apart() {
        check("http://a", "a", 80, "a", "/");
        check("HTTP://a:81/b?c=d#e", "a", 81, "a:81", "/b?c=d");
        check("http://[::1]:8000?x", "::1", 8000, "[::1]:8000", "/?x");
        check("http://[::1]", "::1", 80, "[::1]", "/");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_a_reason() {
        for (url, word) in [
            ("127.0.0.1:8000", "http://"),
            ("ftp://a/", "http://"),
            ("https://a/", "https is not"),
            ("http:///x", "no host"),
            ("http://a:0/", "port"),
            ("http://a:99999/", "port"),
            ("http://[::1", "no host"),
            ("http://u:p@a/", "--header"),
            ("http://a/ b", "%20"),
        ] {
            let refusal = Target::parse(url).unwrap_err();
            assert!(refusal.contains(word), "{refusal}");
        }
    }
}
