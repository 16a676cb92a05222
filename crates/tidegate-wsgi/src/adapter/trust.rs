//! The proxies that are trusted to say that their client came by https.

use std::net::IpAddr;
use std::str::FromStr;

/// The peers whose `X-Forwarded-Proto` is believed.
///
/// ```
/// use tidegate_wsgi::TrustedProxies;
///
/// let proxies: TrustedProxies = "127.0.0.1, 2001:db8::1".parse().unwrap();
/// assert!(proxies.has("127.0.0.1".parse().ok()));
/// assert!(!proxies.has("192.0.2.1".parse().ok()));
/// assert!(proxies.has(None), "whoever may write to a unix socket is a proxy");
/// assert!("*".parse::<TrustedProxies>().unwrap().has("192.0.2.1".parse().ok()));
/// assert!("localhost".parse::<TrustedProxies>().is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TrustedProxies {
    /// Nobody but peers of unix sockets.
    #[default]
    Nobody,
    /// All peers: for servers that only their proxy can reach.
    Everybody,
    /// Peers with one of these addresses.
    These(Vec<IpAddr>),
}

impl TrustedProxies {
    /// Whether this peer is trusted. The peer of a unix socket is none.
    pub fn has(&self, peer: Option<IpAddr>) -> bool {
        match (self, peer) {
            (_, None) | (TrustedProxies::Everybody, _) => true,
            (TrustedProxies::Nobody, _) => false,
            (TrustedProxies::These(addresses), Some(peer)) => addresses.contains(&peer.to_canonical()),
        }
    }
}

impl FromStr for TrustedProxies {
    type Err = String;

    /// Parses addresses with commas between them, or `*`.
    fn from_str(text: &str) -> Result<TrustedProxies, String> {
        let mut addresses = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if item == "*" {
                return Ok(TrustedProxies::Everybody);
            }
            let address = item.parse::<IpAddr>();
            addresses
                .push(address.map_err(|_| format!("{item:?} is no IP address, nor '*'"))?.to_canonical());
        }
        Ok(if addresses.is_empty() { TrustedProxies::Nobody } else { TrustedProxies::These(addresses) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_a_list_of_addresses_or_everybody() {
        let these = |list: &[&str]| {
            Some(TrustedProxies::These(list.iter().map(|address| address.parse().unwrap()).collect()))
        };
        for (text, expected) in [
            ("*", Some(TrustedProxies::Everybody)),
            ("127.0.0.1,*", Some(TrustedProxies::Everybody)),
            ("", Some(TrustedProxies::Nobody)),
            ("10.0.0.1", these(&["10.0.0.1"])),
            ("127.0.0.1, ::1,", these(&["127.0.0.1", "::1"])),
            ("::ffff:10.0.0.1", these(&["10.0.0.1"])),
            ("proxy.example", None),
            ("10.0.0.0/8", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
    }
}
