//! Where to listen.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on.
///
/// ```
/// use tidegate::ListenAddress;
///
/// let address: ListenAddress = "127.0.0.1:8000".parse().unwrap();
/// assert_eq!(address.to_string(), "http://127.0.0.1:8000/");
/// let address: ListenAddress = "unix:/run/tidegate.sock".parse().unwrap();
/// assert_eq!(address.to_string(), "unix:/run/tidegate.sock");
/// assert!("8000".parse::<ListenAddress>().unwrap_err().to_string().contains("HOST:PORT"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and port. `[::]` takes IPv4 as well. Port 0: one that is free.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
    /// A listening socket that the process was started with, TCP or unix, by its descriptor.
    Descriptor(RawFd),
}

/// A text that is no address to listen on, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAddress(String);

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for InvalidAddress {}

impl From<InvalidAddress> for io::Error {
    fn from(invalid: InvalidAddress) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, invalid)
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidAddress;

    /// `HOST:PORT`, `[IPV6]:PORT`, `:PORT` (every address of the machine), `unix:PATH` or
    /// `fd://NUMBER`. Of a name with several addresses the first is taken.
    fn from_str(text: &str) -> Result<ListenAddress, InvalidAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(InvalidAddress("a path must follow \"unix:\"".to_string())),
                path => Ok(ListenAddress::Unix(PathBuf::from(path))),
            };
        }
        if let Some(number) = text.strip_prefix("fd://") {
            let wanted =
                || InvalidAddress(format!("{number:?} is no descriptor: a number must follow \"fd://\""));
            return parse_digits(number).map(ListenAddress::Descriptor).ok_or_else(wanted);
        }
        let usage = || {
            let forms = "HOST:PORT, [IPV6]:PORT, :PORT, unix:PATH or fd://NUMBER";
            InvalidAddress(format!("{text:?} is no address: {forms} is wanted"))
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(usage)?;
        let port = parse_digits(port).ok_or_else(usage)?;
        if host.is_empty() {
            return Ok(ListenAddress::Tcp(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)));
        }
        if host.contains(':') && !host.starts_with('[') {
            return Err(usage());
        }
        let unknown = |error| InvalidAddress(format!("{host:?} is not known: {error}"));
        let mut found = text.to_socket_addrs().map_err(unknown)?;
        found.next().map(ListenAddress::Tcp).ok_or_else(usage)
    }
}

/// Digits only: `parse` would take `+80`.
fn parse_digits<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => write!(f, "http://{address}/"),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            ListenAddress::Descriptor(number) => write!(f, "fd://{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, expected) in [
            ("127.0.0.1:80", Ok("http://127.0.0.1:80/")),
            ("[::1]:8000", Ok("http://[::1]:8000/")),
            (":8000", Ok("http://[::]:8000/")),
            ("unix:/a b", Ok("unix:/a b")),
            ("localhost:0", Ok("http://")),
            ("", Err("no address")),
            ("8000", Err("no address")),
            ("::1:80", Err("no address")),
            ("fe80::1:80", Err("no address")),
            ("127.0.0.1:70000", Err("no address")),
            (":x", Err("no address")),
            (":+80", Err("no address")),
            ("127.0.0.1:+80", Err("no address")),
            ("unix:", Err("path")),
            ("fd://3", Ok("fd://3")),
            ("fd://", Err("descriptor")),
            ("fd://-1", Err("descriptor")),
            ("fd://99999999999", Err("descriptor")),
        ] {
            match (text.parse::<ListenAddress>(), expected) {
                (Ok(address), Ok(start)) => assert!(address.to_string().starts_with(start), "{address}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (got, _) => panic!("{text:?} gives {got:?}"),
            }
        }
    }
}
