//! Addresses to listen on.

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
/// assert_eq!("http://127.0.0.1:8000/".parse::<ListenAddress>().unwrap().to_string(), "http://127.0.0.1:8000/");
/// assert!("8000".parse::<ListenAddress>().unwrap_err().to_string().contains("HOST:PORT"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and port. `[::]` takes IPv4 as well. Port 0 stands for a free one.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
    /// The number of a listening socket, TCP or unix, that the process was started with.
    Descriptor(RawFd),
}

impl ListenAddress {
    /// The IP address and port; the port of a [bound](crate::server::BoundServer::addresses) server is the real one.
    /// None for a unix socket.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) | ListenAddress::Descriptor(_) => None,
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> ListenAddress {
        ListenAddress::Tcp(address)
    }
}

/// The error that a text is not an address to listen on.
#[non_exhaustive]
pub enum InvalidAddress {
    /// The text has none of the forms of an address.
    Form(String),
    /// No path follows `unix:`.
    NoPath,
    /// This text follows `fd://`, and is not the number of a descriptor.
    NoDescriptor(String),
    /// The host has no address.
    UnknownHost {
        /// The name of the host.
        host: String,
        /// The error of the system.
        cause: io::Error,
    },
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidAddress::Form(text) => {
                let forms = "HOST:PORT, [IPV6]:PORT, :PORT, unix:PATH or fd://NUMBER";
                write!(f, "{text:?} is not an address; expected {forms}")
            }
            InvalidAddress::NoPath => write!(f, "a path must follow \"unix:\""),
            InvalidAddress::NoDescriptor(number) => {
                write!(f, "{number:?} is not a descriptor: a number must follow \"fd://\"")
            }
            InvalidAddress::UnknownHost { host, cause } => write!(f, "{host:?} is not known: {cause}"),
        }
    }
}

/// Says the same as [`Display`](fmt::Display): `main` shows the error that it returns in this form.
impl fmt::Debug for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for InvalidAddress {
    // The cause is told with it: whoever shows an error rarely shows where it comes from.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            InvalidAddress::UnknownHost { cause, .. } => cause.source(),
            InvalidAddress::Form(_) | InvalidAddress::NoPath | InvalidAddress::NoDescriptor(_) => None,
        }
    }
}

impl From<InvalidAddress> for io::Error {
    fn from(invalid: InvalidAddress) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, invalid)
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidAddress;

    /// Parses `HOST:PORT`, `[IPV6]:PORT`, `:PORT` (every address of the machine), `unix:PATH` or `fd://NUMBER`; and
    /// the form in which an address is shown, `http://HOST:PORT/`. Of a name with several addresses the first is
    /// taken.
    fn from_str(text: &str) -> Result<ListenAddress, InvalidAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(InvalidAddress::NoPath),
                path => Ok(ListenAddress::Unix(PathBuf::from(path))),
            };
        }
        if let Some(number) = text.strip_prefix("fd://") {
            let wanted = || InvalidAddress::NoDescriptor(number.to_string());
            return parse_digits(number).map(ListenAddress::Descriptor).ok_or_else(wanted);
        }
        // As it is shown to people, who can click on it.
        let text = match text.strip_prefix("http://") {
            Some(shown) => shown.strip_suffix('/').unwrap_or(shown),
            None => text,
        };
        let usage = || InvalidAddress::Form(text.to_string());
        let (host, port) = text.rsplit_once(':').ok_or_else(usage)?;
        let port = parse_digits(port).ok_or_else(usage)?;
        if host.is_empty() {
            return Ok(ListenAddress::Tcp(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)));
        }
        if host.contains(':') && !host.starts_with('[') {
            return Err(usage());
        }
        let unknown = |cause| InvalidAddress::UnknownHost { host: host.to_string(), cause };
        let mut found = text.to_socket_addrs().map_err(unknown)?;
        found.next().map(ListenAddress::Tcp).ok_or_else(usage)
    }
}

/// Parses digits only: `parse` would take `+80`.
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
            ("", Err("not an address")),
            ("8000", Err("not an address")),
            ("::1:80", Err("not an address")),
            ("fe80::1:80", Err("not an address")),
            ("127.0.0.1:70000", Err("not an address")),
            (":x", Err("not an address")),
            (":+80", Err("not an address")),
            ("127.0.0.1:+80", Err("not an address")),
            ("unix:", Err("path")),
            ("http://127.0.0.1:80", Ok("http://127.0.0.1:80/")),
            ("http://127.0.0.1", Err("not an address")),
            ("http://127.0.0.1:80/x", Err("not an address")),
            ("https://127.0.0.1:80/", Err("not an address")),
            ("fd://3", Ok("fd://3")),
            ("fd://", Err("descriptor")),
            ("fd://-1", Err("descriptor")),
            ("fd://99999999999", Err("descriptor")),
        ] {
            match (text.parse::<ListenAddress>(), expected) {
                (Ok(address), Ok(start)) => {
                    assert!(address.to_string().starts_with(start), "{address}");
                    assert_eq!(address.to_string().parse::<ListenAddress>().unwrap(), address);
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (got, _) => panic!("{text:?} gives {got:?}"),
            }
        }
    }
}
