//! Applications side by side, by host and prefix.

use std::cmp::Reverse;
use std::fmt;

use tidegate::gateway::Admission;
use tidegate::message::split_port;
use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};

/// A gateway to several others, each mounted at a host or below a prefix of the path, or both.
///
/// The one with a host that was asked for comes before those without, and then the longest prefix counts. An
/// application finds its prefix in `SCRIPT_NAME`, and the rest of the path in `PATH_INFO`, which is
/// [`Environ::path`]; it is empty for the mount point itself, without a slash. A path that lies nowhere is answered 404.
///
/// A host is compared without its port and without regard to case, a prefix with the decoded path. As everywhere in
/// tidegate, dot segments are left alone: `/a/../admin` lies below `/a`.
///
/// ```
/// use tidegate::{Environ, StartResponse};
/// use tidegate_middleware::Mounts;
///
/// let shop = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
///     start_response.status(200).send(format!("{} of the shop", environ.path()))
/// };
/// let home = |_: &mut Environ<'_>, start_response: StartResponse<'_>| start_response.status(200).send("home");
/// let site = Mounts::new().at("/", home).at("/shop", shop).on_host("shop.example", "/", shop);
/// # let mut hand = tidegate::conversation::ByHand::new(site);
/// # hand.receive(b"GET /shop/tea HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(hand.transmit_all().ends_with(b"\r\n\r\n/tea of the shop"));
/// # hand.receive(b"GET /tea HTTP/1.1\r\nHost: SHOP.example:8000\r\n\r\n");
/// # assert!(hand.transmit_all().ends_with(b"\r\n\r\n/tea of the shop"));
/// # hand.receive(b"GET /tea HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(hand.transmit_all().ends_with(b"\r\n\r\nhome"));
/// ```
#[derive(Debug, Default)]
pub struct Mounts {
    /// Mounts in the order in which they are looked at.
    mounts: Vec<Mount>,
}

struct Mount {
    /// The host; none for every host.
    host: Option<String>,
    /// The prefix, without a slash at its end.
    prefix: String,
    gateway: Box<dyn Gateway + Send>,
}

impl Mounts {
    /// Makes a gateway without applications: 404 for every request.
    pub fn new() -> Mounts {
        Mounts::default()
    }

    /// Mounts a gateway below a prefix, on every host; `/` is the whole path.
    pub fn at(self, prefix: &str, gateway: impl Gateway + Send + 'static) -> Mounts {
        self.with(None, prefix, Box::new(gateway))
    }

    /// Mounts a gateway below a prefix on one host, which is named without a port.
    pub fn on_host(self, host: &str, prefix: &str, gateway: impl Gateway + Send + 'static) -> Mounts {
        self.with(Some(plain_host(host).to_string()), prefix, Box::new(gateway))
    }

    fn with(mut self, host: Option<String>, prefix: &str, gateway: Box<dyn Gateway + Send>) -> Mounts {
        self.mounts.push(Mount { host, prefix: prefix.trim_end_matches('/').to_string(), gateway });
        self.mounts.sort_by_key(|mount| (mount.host.is_none(), Reverse(mount.prefix.len())));
        self
    }

    /// Finds the mount that is asked for, and enters it: the path of the environ begins below its prefix from
    /// now on.
    fn enter(&self, environ: &mut Environ<'_>) -> Option<usize> {
        let host = environ.host().map(plain_host).unwrap_or_default();
        self.mounts.iter().position(|mount| {
            let is_host = mount.host.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(host));
            is_host && environ.enter(&mount.prefix)
        })
    }
}

impl Gateway for Mounts {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let before = environ.mount_point();
        let Some(place) = self.enter(environ) else {
            return start_response
                .status(404)
                .field("Content-Type", "text/plain; charset=utf-8")
                .send("404 Not Found\n");
        };
        let answered = self.mounts[place].gateway.call(environ, start_response);
        // Whoever is further out may still look at the path.
        environ.return_to(before);
        answered
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        let mut environ = environ.without_content();
        match self.enter(&mut environ) {
            Some(place) => self.mounts[place].gateway.admit(&environ),
            None => Admission::FromHead,
        }
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/", self.host.as_deref().unwrap_or("*"), self.prefix)
    }
}

/// Returns a host without its port, and without the dot that may stand at the end of a whole name.
fn plain_host(host: &str) -> &str {
    let name = split_port(host).0;
    name.strip_suffix('.').unwrap_or(name)
}
