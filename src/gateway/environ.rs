//! The environ: the request under the standard's names (RFC 3875 §4.1, PEP 3333).
//!
//! It is a view of the head where it lies in the receive buffer. Nothing is built until it is
//! asked for: a variable is looked up, and all of them are iterated, without a map. Beside the
//! variables stand typed accessors, which cost less.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::os::fd::AsFd;

use super::{Client, IncomingContent, Interest, RequestContent, ServerInfo, Wakeup, Watched, Watcher};
use crate::message::{
    Fields, Method, RequestHead, RequestTarget, Version, percent_decode, percent_decode_text,
    split_first_decoded, split_port,
};
use crate::now::Moment;

/// Variables that do not come from fields, in the order of iteration.
const VARIABLES: [&str; 15] = [
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "REQUEST_URI",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "GATEWAY_INTERFACE",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "wsgi.url_scheme",
];

/// One request, as an application sees it, under the standard's names (RFC 3875 §4.1, PEP 3333).
///
/// [`get`](Environ::get) looks up a variable, [`variables`](Environ::variables) goes through all of them. The other
/// methods say the same with types, and cost less.
///
/// | variable | from |
/// |---|---|
/// | `REQUEST_METHOD`, `SERVER_PROTOCOL` | the request line |
/// | `SCRIPT_NAME`, `PATH_INFO` | the path, percent-decoded, split at the application's mount point |
/// | `QUERY_STRING`, `REQUEST_URI` | the target as it was sent |
/// | `CONTENT_TYPE` | the field |
/// | `CONTENT_LENGTH` | the length of the decoded content, if the request has content |
/// | `SERVER_NAME` | the host that was asked for, else the address of the listener |
/// | `SERVER_PORT` | the port of the listener, else the one that was asked for, else 80 |
/// | `REMOTE_ADDR`, `REMOTE_PORT` | the peer; empty on a unix socket |
/// | `SERVER_SOFTWARE`, `GATEWAY_INTERFACE`, `wsgi.url_scheme` | the server |
/// | `HTTP_…` | every other field, repeated ones joined with a comma (`Cookie`: a semicolon) |
///
/// # The path
///
/// [`Environ::path`] is the path to route by, as text: percent-decoded once, and what is not UTF-8 replaced by
/// U+FFFD, as Werkzeug does it. [`Environ::path_info`] is the same as bytes, without a loss: `PATH_INFO` of RFC
/// 3875 §4.1.5 and PEP 3333. Neither tells `/a%2Fb` from `/a/b`; where a segment may hold a slash, split
/// [`Environ::raw_path`], and [decode](crate::message::percent_decode) each segment. Dot segments (`/a/../b`) and
/// empty ones are left as they are. `%00`, and a `%` that begins no escape, never come here: the protocol refuses them.
///
/// Below a mount point all three are the part that belongs to the application that is mounted, and
/// [`Environ::script_name`] is the part before it. The whole path, as it was sent, is that of
/// [`Environ::target`].
///
/// # What is left out
///
/// Left out on purpose: fields with `_` in their name, which would pass for the one with `-`;
/// `Proxy`, which CGI programs would take for a setting (<https://httpoxy.org>); and
/// `Transfer-Encoding`, which was undone.
pub struct Environ<'a> {
    head: &'a RequestHead<'a>,
    pub(super) content: RequestContent<'a>,
    content_length: Option<u64>,
    /// The bytes of the path, as it was sent, that stand in `SCRIPT_NAME`. The rest is `PATH_INFO`.
    script_name_bytes: usize,
    /// Variables that were set on the way to the application; none for nearly all requests.
    pub(super) added: Option<Box<AddedVariables>>,
    client: &'a Client<'a>,
    server: &'a ServerInfo,
    now: Moment,
}

impl fmt::Debug for Environ<'_> {
    /// Shows the request, with the names of its fields and without their values: there are passwords among
    /// them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environ")
            .field("method", &self.method().as_str())
            .field("target", &self.raw_target())
            .field("version", &self.version())
            .field("fields", &self.fields().iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("content", &self.content)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The place in a path where that of an [application](Environ::mount_point) begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountPoint(usize);

/// Variables that were added to a request, each name once.
#[derive(Clone, Debug, Default)]
pub(super) struct AddedVariables(Vec<(String, Vec<u8>)>);

impl<'a> Environ<'a> {
    /// Makes an environ, for servers and tests. `content_length` is none if the request has no content at
    /// all.
    pub fn new(
        head: &'a RequestHead<'a>,
        content: RequestContent<'a>,
        content_length: Option<u64>,
        client: &'a Client<'a>,
        server: &'a ServerInfo,
        now: Moment,
    ) -> Environ<'a> {
        Environ { head, content, content_length, script_name_bytes: 0, added: None, client, server, now }
    }

    /// The request method. With the [path](Environ::path) it is what routes are made of:
    ///
    /// ```
    /// # use tidegate::{Body, Environ, GatewayError, StartResponse};
    /// fn site(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    ///     match (environ.method().as_str(), &*environ.path()) {
    ///         ("GET" | "HEAD", "/") => start_response.status(200).send("Welcome"),
    ///         ("POST", "/orders") => start_response.status(201).field("Location", "/orders/1").send(""),
    ///         ("GET" | "HEAD", path) if path.starts_with("/orders/") => {
    ///             start_response.status(200).send(format!("Order {}", &path["/orders/".len()..]))
    ///         }
    ///         (_, "/" | "/orders") => start_response.status(405).field("Allow", "GET, HEAD, POST").send(""),
    ///         _ => start_response.status(404).send(""),
    ///     }
    /// }
    /// # let mut hand = tidegate::conversation::ByHand::new(site);
    /// # hand.receive(b"GET /orders/7 HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(hand.transmit_all().ends_with(b"\r\n\r\nOrder 7"));
    /// # hand.receive(b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(hand.transmit_all().starts_with(b"HTTP/1.1 405 "));
    /// ```
    ///
    /// The answer to HEAD is that to GET: the server leaves its content out.
    pub fn method(&self) -> Method<'a> {
        self.head.method
    }

    /// The path to route by: percent-decoded text, below the mount point if there is one. Empty for `OPTIONS *`, and
    /// for CONNECT.
    ///
    /// Most paths hold no escape; then nothing is copied. How `%2F` and bytes that are not UTF-8 come out
    /// stands [above](Environ#the-path).
    ///
    /// ```
    /// # use tidegate::{Body, Environ, GatewayError, StartResponse};
    /// fn shop(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    ///     match &*environ.path() {
    ///         "/" => start_response.status(200).send("Welcome"),
    ///         "/crème brûlée" => start_response.status(200).send("Sold out"),
    ///         other => start_response.status(404).send(format!("There is no {other}")),
    ///     }
    /// }
    /// # let mut hand = tidegate::conversation::ByHand::new(shop);
    /// # hand.receive(b"GET /cr%C3%A8me%20br%c3%bbl%C3%A9e HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(hand.transmit_all().ends_with(b"Sold out"));
    /// # hand.receive(b"GET /%FF HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(hand.transmit_all().ends_with("There is no /\u{fffd}".as_bytes()));
    /// ```
    #[inline]
    pub fn path(&self) -> Cow<'a, str> {
        match self.head.target.has_plain_path() {
            true => Cow::Borrowed(self.raw_path()),
            false => percent_decode_text(self.raw_path()),
        }
    }

    /// The path as it was sent, percent-encoded: decoding it gives [`Environ::path`].
    #[inline]
    pub fn raw_path(&self) -> &'a str {
        &self.head.target.raw_path()[self.script_name_bytes..]
    }

    /// `SCRIPT_NAME`: the part of the path that has led to the application, percent-decoded; empty unless it is
    /// mounted below a prefix.
    pub fn script_name(&self) -> Cow<'a, [u8]> {
        percent_decode(&self.head.target.raw_path()[..self.script_name_bytes])
    }

    /// `PATH_INFO`: the rest of the path, percent-decoded. [`Environ::path`] is the same as text.
    pub fn path_info(&self) -> Cow<'a, [u8]> {
        percent_decode(self.raw_path())
    }

    /// The query, which follows the `?`; empty if there is none.
    pub fn query(&self) -> &'a str {
        self.head.target.query().unwrap_or_default()
    }

    /// The parsed request target.
    pub fn target(&self) -> RequestTarget<'a> {
        self.head.target
    }

    /// The request target as it was sent: `REQUEST_URI`.
    pub fn raw_target(&self) -> &'a str {
        self.head.target.as_str()
    }

    /// The peer's version of the protocol.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// All field lines, in order.
    pub fn fields(&self) -> Fields<'a> {
        self.head.fields
    }

    /// The value of the first field line of this name; case does not matter.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.head.fields.get(name)
    }

    /// `host` or `host:port` that was asked for: the target's, else the Host field's.
    pub fn host(&self) -> Option<&'a str> {
        let from_field = || std::str::from_utf8(self.field("Host")?).ok();
        self.head.target.authority().or_else(from_field).filter(|host| !host.is_empty())
    }

    /// The request content: complete, unless the application [takes it as it comes](super::Admission::AsItComes).
    ///
    /// It is an [`io::Read`], and a [slice](RequestContent::as_slice) as long as it lies in memory. Long content lies
    /// in a temporary file; reading works for both. [`body_bytes_max`](crate::limits::Limits::body_bytes_max) bounds
    /// it, to 1 GiB by default, so an application that wants less says so: by the head, before content is read, and
    /// once more when the content is there, since a chunked one has no length before.
    ///
    /// The library parses no forms. One of the usual kind (`application/x-www-form-urlencoded`) is taken apart in a few
    /// lines, those with files (`multipart/form-data`) by a library for it.
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// use tidegate::gateway::Admission;
    /// use tidegate::message::percent_decode_text;
    /// use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};
    ///
    /// /// Greets by the form that was sent.
    /// struct Greeter;
    ///
    /// /// Longest form in bytes.
    /// const FORM_BYTES_MAX: u64 = 64 * 1024;
    ///
    /// impl Gateway for Greeter {
    ///     fn admit(&self, environ: &Environ<'_>) -> Admission {
    ///         match environ.content_length() {
    ///             Some(length) if length > FORM_BYTES_MAX => Admission::FromHead,
    ///             _ => Admission::Collect,
    ///         }
    ///     }
    ///
    ///     fn call(
    ///         &mut self,
    ///         environ: &mut Environ<'_>,
    ///         start_response: StartResponse<'_>,
    ///     ) -> Result<Body, GatewayError> {
    ///         // What the head has declared, or what has come.
    ///         let length = environ.content_length().unwrap_or(0).max(environ.content().len());
    ///         if length > FORM_BYTES_MAX {
    ///             return start_response.status(413).send("Too much.\n");
    ///         }
    ///         let mut form = Vec::new();
    ///         environ.content().read_to_end(&mut form)?;
    ///         let form = String::from_utf8_lossy(&form);
    ///         match form.split('&').find_map(|pair| pair.strip_prefix("name=")) {
    ///             Some(name) => {
    ///                 let name = name.replace('+', " ");
    ///                 start_response.status(200).send(format!("Hello, {}!", percent_decode_text(&name)))
    ///             }
    ///             None => start_response.status(400).send("Who are you?\n"),
    ///         }
    ///     }
    /// }
    /// # let mut hand = tidegate::conversation::ByHand::new(Greeter);
    /// # hand.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 19\r\n\r\na=b&name=low+t%69de");
    /// # assert!(hand.transmit_all().ends_with(b"Hello, low tide!"));
    /// # hand.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n");
    /// # assert!(hand.transmit_all().starts_with(b"HTTP/1.1 413 "));
    /// ```
    pub fn content(&mut self) -> &mut RequestContent<'a> {
        &mut self.content
    }

    /// Takes the content in pieces: as it comes, where it was [admitted](super::Gateway::admit) for that, or from
    /// where it lies if it has come already. Either way the connection is woken once there is something to read.
    pub fn take_incoming(&mut self) -> IncomingContent {
        if self.content.is_incoming() {
            return self.content.take_incoming();
        }
        self.wakeup().wake();
        let mut content = self.content.take_incoming();
        if let Some(account) = self.client.memory {
            content.count_in(account);
        }
        content
    }

    /// The trailer fields of the request (RFC 9110 §6.5): what the client has said behind its content, in chunks, because
    /// it did not know it before. A checksum, for one. Empty for nearly all requests.
    ///
    /// They are neither fields of the head nor variables: [`field`](Environ::field) and [`get`](Environ::get) do not know
    /// them. Those that would frame, route, authenticate or change the request, or say of which kind its content is, are
    /// left out ([`may_be_trailer`](crate::message::may_be_trailer)). A trailer section of more than 8 KiB is refused
    /// with 431. None are there in [`Gateway::admit`](super::Gateway::admit), nor where that has declined the content.
    ///
    /// ```
    /// # use tidegate::{Body, Environ, GatewayError, StartResponse};
    /// fn upload(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    ///     match environ.trailers().get("X-Lines") {
    ///         Some(lines) => start_response.status(200).send(lines),
    ///         None => start_response.status(400).send("How many lines?"),
    ///     }
    /// }
    /// # let mut hand = tidegate::conversation::ByHand::new(upload);
    /// # hand.receive(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    /// # hand.receive(b"2\r\na\n\r\n0\r\nX-Lines: 1\r\n\r\n");
    /// # assert!(hand.transmit_all().ends_with(b"\r\n\r\n1"));
    /// ```
    pub fn trailers(&self) -> Fields<'a> {
        self.content.trailers()
    }

    /// The length of the decoded content in bytes; none if the request has no content, which is not the same
    /// as 0.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// The client of this request.
    pub fn client(&self) -> &'a Client<'a> {
        self.client
    }

    /// The server that answers it.
    pub fn server(&self) -> &'a ServerInfo {
        self.server
    }

    /// The time of this turn of the server.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// Makes a handle that resumes this request's answer, from any thread.
    pub fn wakeup(&self) -> Wakeup {
        Wakeup::new(self.client.wake_source.waker())
    }

    /// Watches a descriptor of the application's own, a socket or a pipe: when it becomes ready, this
    /// connection is woken, as by its [`Wakeup`](super::Wakeup). So an answer under way
    /// ([`Later::resume`](super::Later::resume), [`BodyStream::next_piece`](super::BodyStream::next_piece))
    /// waits for a backend without a thread. The [chapter on it](super#other-descriptors) says what to expect
    /// of events.
    ///
    /// From now on the descriptor does not block, for others that share its open file neither. The watch ends
    /// when what is returned is dropped: with the answer that owns it, at the latest with the connection.
    ///
    /// ```
    /// use std::io::{self, Read};
    /// use std::os::unix::net::UnixStream;
    ///
    /// use tidegate::gateway::{Interest, Later, Watched};
    /// use tidegate::{Body, Environ, GatewayError, StartResponse};
    ///
    /// /// The answer is all that a backend says.
    /// struct Answer {
    ///     backend: Watched<UnixStream>,
    ///     content: Vec<u8>,
    /// }
    ///
    /// impl Later for Answer {
    ///     fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    ///         let Answer { backend, content } = &mut *self;
    ///         match backend.read_to_end(content) {
    ///             Ok(_) => start_response.status(200).send(&*content),
    ///             // What has come before is in `content`.
    ///             Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
    ///                 Ok(start_response.later_boxed(None, self))
    ///             }
    ///             Err(error) => Err(error.into()),
    ///         }
    ///     }
    /// }
    ///
    /// fn gateway(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    ///     let backend = UnixStream::connect("/run/backend.sock")?;
    ///     let backend = environ.watch(backend, Interest::Read)?;
    ///     Ok(start_response.later(None, Answer { backend, content: Vec::new() }))
    /// }
    /// # fn is_gateway(_: impl tidegate::Gateway) {}
    /// # is_gateway(gateway);
    /// ```
    ///
    /// # Errors
    /// It is watched already ([`AlreadyExists`](io::ErrorKind::AlreadyExists)), can never have to wait, as regular files
    /// ([`InvalidInput`](io::ErrorKind::InvalidInput)), the system watches no more of them, or there is no event loop
    /// ([`Unsupported`](io::ErrorKind::Unsupported)): where a conversation is driven by hand.
    pub fn watch<T: AsFd>(&self, source: T, interest: Interest) -> io::Result<Watched<T>> {
        self.watcher().watch(source, interest)
    }

    /// A handle to watch descriptors with after this call.
    pub fn watcher(&self) -> Watcher {
        self.client.wake_source.watcher()
    }

    /// Shows the same request without its content, for middleware that passes it on in [`Gateway::admit`] with other
    /// variables or another path.
    ///
    /// [`Gateway::admit`]: super::Gateway::admit
    pub fn without_content(&self) -> Environ<'a> {
        Environ { content: RequestContent::borrowed(&[]), added: self.added.clone(), ..*self }
    }

    /// Moves a prefix from the beginning of [`path`](Environ::path) to the end of
    /// [`script_name`](Environ::script_name), as an application does that has others below it (`shift_path_info` of
    /// Python's wsgiref). Answers whether the path lies there: it is the prefix, or goes on with a slash. If not,
    /// nothing has happened.
    ///
    /// The prefix is compared with the decoded path, and a slash at its end does not count.
    ///
    /// ```
    /// # use tidegate::{Body, Environ, GatewayError, StartResponse};
    /// fn site(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    ///     if environ.enter("/shop") { shop(environ, start_response) } else { start_response.status(404).send("") }
    /// }
    ///
    /// fn shop(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    ///     start_response.status(200).send(format!("{} of the shop", environ.path()))
    /// }
    /// # let mut hand = tidegate::conversation::ByHand::new(site);
    /// # hand.receive(b"GET /%73hop/tea HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(hand.transmit_all().ends_with(b"/tea of the shop"));
    /// # hand.receive(b"GET /shopping HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(hand.transmit_all().starts_with(b"HTTP/1.1 404 "));
    /// ```
    pub fn enter(&mut self, prefix: &str) -> bool {
        let Some(bytes) = prefix_bytes(self.raw_path(), prefix) else {
            return false;
        };
        self.script_name_bytes += bytes;
        true
    }

    /// The place where the path of the application begins.
    pub fn mount_point(&self) -> MountPoint {
        MountPoint(self.script_name_bytes)
    }

    /// Goes back to where the path began before it was [entered](Environ::enter): for middleware, once it has called,
    /// since whoever is further out may still look at the path.
    pub fn return_to(&mut self, mount_point: MountPoint) {
        self.script_name_bytes = mount_point.0.min(self.head.target.raw_path().len());
    }

    /// Sets a variable for the applications further in, as PEP 3333 lets middleware do: `REMOTE_USER` for one.
    /// [`get`](Environ::get) and [`variables`](Environ::variables) tell it instead of what the server says; the other
    /// methods go on telling what the request says.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        let AddedVariables(added) = &mut **self.added.get_or_insert_default();
        added.retain(|(other, _)| other != name);
        added.push((name.to_string(), value.into()));
    }

    /// Ends the view as dropping it does, but without a call if nothing was set, as is usual.
    #[inline(always)]
    pub(crate) fn end(mut self) {
        if let Some(added) = self.added.take() {
            drop(added);
        }
        std::mem::forget(self);
    }

    /// Variables that were [set](Environ::set), by name.
    pub fn added_variables(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let added = self.added.as_deref().map_or(&[][..], |AddedVariables(added)| added);
        added.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Returns the value of a variable; none if it is not set.
    pub fn get(&self, variable: &str) -> Option<Cow<'_, [u8]>> {
        if let Some((_, value)) = self.added_variables().find(|(name, _)| *name == variable) {
            return Some(value.into());
        }
        if let Some(name) = variable.strip_prefix("HTTP_") {
            return self.http_variable(name);
        }
        let value: Cow<'_, [u8]> = match variable {
            "REQUEST_METHOD" => self.method().as_str().as_bytes().into(),
            "SCRIPT_NAME" => self.script_name(),
            "PATH_INFO" => self.path_info(),
            "QUERY_STRING" => self.query().as_bytes().into(),
            "REQUEST_URI" => self.head.target.as_str().as_bytes().into(),
            "CONTENT_TYPE" => self.field("Content-Type")?.into(),
            "CONTENT_LENGTH" => self.content_length?.to_string().into_bytes().into(),
            "SERVER_NAME" => self.server_name().into_bytes().into(),
            "SERVER_PORT" => self.server_port().into_bytes().into(),
            "SERVER_PROTOCOL" => self.version().as_str().as_bytes().into(),
            "SERVER_SOFTWARE" => self.server.software.as_bytes().into(),
            "GATEWAY_INTERFACE" => b"CGI/1.1".into(),
            "REMOTE_ADDR" => self
                .client
                .peer
                .address()
                .map(|peer| peer.ip().to_string())
                .unwrap_or_default()
                .into_bytes()
                .into(),
            "REMOTE_PORT" => self
                .client
                .peer
                .address()
                .map(|peer| peer.port().to_string())
                .unwrap_or_default()
                .into_bytes()
                .into(),
            "wsgi.url_scheme" => self.server.url_scheme.as_bytes().into(),
            _ => return None,
        };
        Some(value)
    }

    /// Name and value of every variable that is set, each name once.
    pub fn variables(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, [u8]>)> {
        let is_added = |name: &str| self.added_variables().any(|(other, _)| other == name);
        let added = self.added_variables().map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)));
        let fixed = VARIABLES.iter().filter(move |name| !is_added(name));
        let fixed = fixed.filter_map(|name| Some((Cow::Borrowed(*name), self.get(name)?)));
        let fields = self.fields();
        let of_fields = fields.iter().enumerate().filter_map(move |(index, (name, _))| {
            let is_repeated = fields.iter().take(index).any(|(other, _)| other.eq_ignore_ascii_case(name));
            let variable = variable_of_field(name).filter(|name| !is_repeated && !is_added(name))?;
            let value = self.http_variable(&variable["HTTP_".len()..])?;
            Some((Cow::Owned(variable), value))
        });
        fixed.chain(of_fields).chain(added)
    }

    /// Returns the variable whose name after `HTTP_` is `suffix`.
    fn http_variable(&self, suffix: &str) -> Option<Cow<'_, [u8]>> {
        if matches!(suffix, "CONTENT_TYPE" | "CONTENT_LENGTH" | "TRANSFER_ENCODING" | "PROXY") {
            return None;
        }
        // A target that names its host replaces the field (RFC 9112 §3.2.2).
        if let (Some(authority), "HOST") = (self.head.target.authority(), suffix) {
            return Some(authority.as_bytes().into());
        }
        let mut lines = self.fields().iter().filter(|(name, _)| is_variable_of_field(suffix, name));
        let (_, first) = lines.next()?;
        let mut value = Cow::Borrowed(first);
        for (_, more) in lines {
            let separator: &[u8] = if suffix == "COOKIE" { b"; " } else { b", " };
            value.to_mut().extend_from_slice(separator);
            value.to_mut().extend_from_slice(more);
        }
        Some(value)
    }

    /// `SERVER_NAME`: the host that was asked for, else the address of the listener.
    pub fn server_name(&self) -> String {
        let asked = self.host().map(|host| split_port(host).0).filter(|name| !name.is_empty());
        // A listener on all addresses has no name of its own.
        let local = self.client.local.map(|local| local.ip()).filter(|ip| !ip.is_unspecified());
        let own = || local.map(|ip| ip.to_string());
        asked.map(str::to_string).or_else(own).unwrap_or_else(|| "localhost".to_string())
    }

    /// `SERVER_PORT`: the port of the listener, else the one that was asked for, else 80.
    pub fn server_port(&self) -> String {
        let own = self.client.local.map(|local| local.port().to_string());
        let asked = || self.host().and_then(|host| split_port(host).1).map(str::to_string);
        own.or_else(asked).unwrap_or_else(|| "80".to_string())
    }
}

/// Returns how many bytes of a path, as it was sent, are this prefix; none if it lies elsewhere.
fn prefix_bytes(raw_path: &str, prefix: &str) -> Option<usize> {
    let mut rest = raw_path.as_bytes();
    for expected in prefix.trim_end_matches('/').bytes() {
        let (byte, after) = split_first_decoded(rest)?;
        rest = Some(after).filter(|_| byte == expected)?;
    }
    let goes_on = split_first_decoded(rest).is_some_and(|(byte, _)| byte != b'/');
    (!goes_on).then_some(raw_path.len() - rest.len())
}

/// Names the variable of a field: `X-Forwarded-For` → `HTTP_X_FORWARDED_FOR`; none for fields that have no
/// `HTTP_` variable.
fn variable_of_field(name: &str) -> Option<String> {
    let hidden = ["Content-Type", "Content-Length", "Transfer-Encoding", "Proxy"];
    if name.contains('_') || hidden.iter().any(|other| other.eq_ignore_ascii_case(name)) {
        return None;
    }
    Some(format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_")))
}

/// Whether a variable's name, without its `HTTP_`, is the one that belongs to this field.
fn is_variable_of_field(suffix: &str, name: &str) -> bool {
    suffix.len() == name.len()
        && suffix.bytes().zip(name.bytes()).all(|(variable, field)| match field {
            b'_' => false,
            b'-' => variable == b'_',
            _ => variable == field.to_ascii_uppercase(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{NoWake, Peer};
    use std::io::Read;

    fn with_environ(target: &str, fields: &[(&str, &str)], view: impl FnOnce(&mut Environ<'_>)) {
        let lines: Vec<_> =
            fields.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        let head = RequestHead {
            method: Method::GET,
            target: RequestTarget::parse(Method::GET, target).unwrap(),
            version: Version::Http11,
            fields: Fields::new(&lines),
        };
        let client = Client {
            connection_id: 7,
            peer: &Peer::from(Some("[::1]:4711".parse().unwrap())),
            local: Some(&"[::1]:8000".parse().unwrap()),
            has_finished_sending: false,
            wake_source: &NoWake,
            memory: None,
        };
        let server = ServerInfo::default();
        let content = RequestContent::borrowed(b"abc");
        view(&mut Environ::new(&head, content, Some(3), &client, &server, Moment::START));
    }

    fn check(target: &str, fields: &[(&str, &str)], variable: &str, expected: Option<&str>) {
        with_environ(target, fields, |environ| {
            let value = environ.get(variable).map(|value| value.into_owned());
            assert_eq!(value.as_deref(), expected.map(str::as_bytes), "{variable} of {target}");
        });
    }

    #[test]
    fn variables_are_those_of_the_standard() {
        let fields = [("Host", "a.example:81"), ("content-type", "text/x"), ("Accept", "a"), ("accept", "b")];
        let target = "/a%2Fb/%25zz?q=%41";
        check(target, &fields, "REQUEST_METHOD", Some("GET"));
        check(target, &fields, "SCRIPT_NAME", Some(""));
        check(target, &fields, "PATH_INFO", Some("/a/b/%zz"));
        check(target, &fields, "QUERY_STRING", Some("q=%41"));
        check(target, &fields, "REQUEST_URI", Some(target));
        check(target, &fields, "CONTENT_TYPE", Some("text/x"));
        check(target, &fields, "CONTENT_LENGTH", Some("3"));
        check(target, &fields, "SERVER_NAME", Some("a.example"));
        check(target, &fields, "SERVER_PORT", Some("8000"));
        check(target, &fields, "SERVER_PROTOCOL", Some("HTTP/1.1"));
        check(target, &fields, "REMOTE_ADDR", Some("::1"));
        check(target, &fields, "REMOTE_PORT", Some("4711"));
        check(target, &fields, "wsgi.url_scheme", Some("http"));
        check(target, &fields, "HTTP_ACCEPT", Some("a, b"));
        check(target, &fields, "HTTP_HOST", Some("a.example:81"));
        check(target, &fields, "HTTP_NONE", None);
        check(target, &fields, "PATH", None);
    }

    /// Asserts what an application below `/m` is told of its path: as text, as bytes, and as it was sent.
    fn check_path(target: &str, path: &str, path_info: &[u8], raw_path: &str) {
        for (mount_point, is_copied) in [("", raw_path != path), ("/m", raw_path != path)] {
            with_environ(&format!("{mount_point}{target}"), &[], |environ| {
                assert!(environ.enter(mount_point));
                assert_eq!(environ.path(), path, "{target}");
                assert_eq!(*environ.path_info(), *path_info, "{target}");
                assert_eq!(environ.raw_path(), raw_path, "{target}");
                assert_eq!(matches!(environ.path(), Cow::Owned(_)), is_copied, "{target}");
            });
        }
    }

    #[test]
    fn a_path_is_decoded_text_and_copied_only_for_that() {
        check_path("/", "/", b"/", "/");
        check_path("/plain/path?q=%41", "/plain/path", b"/plain/path", "/plain/path");
        check_path("/a%20b?q", "/a b", b"/a b", "/a%20b");
        check_path("/caf%C3%A9", "/café", "/café".as_bytes(), "/caf%C3%A9");
        check_path("/a%2Fb/%2e%2E/", "/a/b/../", b"/a/b/../", "/a%2Fb/%2e%2E/");
        check_path("/%2541", "/%41", b"/%41", "/%2541");
        check_path("/caf%E9/%c3", "/caf\u{fffd}/\u{fffd}", b"/caf\xe9/\xc3", "/caf%E9/%c3");
        let whole =
            |environ: &mut Environ<'_>| assert_eq!((&*environ.path(), environ.raw_path()), ("/x", "/x"));
        with_environ("http://b.example/x?y", &[], whole);
    }

    #[test]
    fn a_prefix_ends_where_a_segment_does() {
        let check = |target: &str, prefix: &str, expected: Option<(&[u8], &str)>| {
            with_environ(target, &[], |environ| {
                let entered = environ.enter(prefix).then(|| (environ.script_name(), environ.path()));
                let expected = expected.map(|(name, path)| (name.into(), path.into()));
                assert_eq!(entered, expected, "{target} below {prefix}");
            });
        };
        check("/a/b", "/a", Some((b"/a", "/b")));
        check("/a/b", "/a/", Some((b"/a", "/b")));
        check("/a", "/a", Some((b"/a", "")));
        check("/a/", "/a", Some((b"/a", "/")));
        check("/a/b", "", Some((b"", "/a/b")));
        check("/a/b", "/", Some((b"", "/a/b")));
        check("/%61%2fb?c", "/a", Some((b"/a", "/b")));
        check("/%C3%A9/b", "/é", Some(("/é".as_bytes(), "/b")));
        check("/%2541/b", "/%41", Some((b"/%41", "/b")));
        for (target, prefix) in
            [("/ab", "/a"), ("/a", "/a/b"), ("/A/b", "/a"), ("//a", "/a"), ("/x/../a", "/a"), ("/%c3", "/é")]
        {
            check(target, prefix, None);
        }
    }

    #[test]
    fn an_absolute_target_names_the_server() {
        check("http://b.example/x", &[("Host", "a")], "SERVER_NAME", Some("b.example"));
        check("http://b.example/x", &[("Host", "a")], "PATH_INFO", Some("/x"));
        check("http://b.example/x", &[("Host", "a")], "HTTP_HOST", Some("b.example"));
        check("http://b.example", &[("Host", "a")], "PATH_INFO", Some("/"));
    }

    #[test]
    fn cookies_are_joined_with_a_semicolon() {
        check("/", &[("Cookie", "a=1"), ("Cookie", "b=2")], "HTTP_COOKIE", Some("a=1; b=2"));
    }

    #[test]
    fn fields_that_would_pass_for_something_else_are_no_variables() {
        let fields = [
            ("X_Forwarded_For", "evil"),
            ("Proxy", "evil"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "3"),
            ("Content-Type", "text/x"),
            ("X-Real", "good"),
        ];
        with_environ("/", &fields, |environ| {
            let names: Vec<_> = environ.variables().map(|(name, _)| name.into_owned()).collect();
            let of_fields: Vec<_> = names.iter().filter(|name| name.starts_with("HTTP_")).collect();
            assert_eq!(of_fields, ["HTTP_X_REAL"]);
            assert_eq!(environ.get("HTTP_X_FORWARDED_FOR"), None);
            assert_eq!(environ.get("HTTP_PROXY"), None);
        });
    }

    #[test]
    fn an_owned_copy_says_the_same() {
        let fields = [("Host", "a"), ("Accept", "x"), ("Accept", "y")];
        with_environ("/m/p%20q?r", &fields, |environ| {
            assert!(environ.enter("/m/"));
            environ.set("REMOTE_USER", "ebb");
            environ.set("HTTP_ACCEPT", "z");
            let all = |environ: &Environ<'_>| -> Vec<(String, Vec<u8>)> {
                environ.variables().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
            };
            let before = all(environ);
            assert!(before.contains(&("SCRIPT_NAME".into(), b"/m".into())));
            assert!(before.contains(&("PATH_INFO".into(), b"/p q".into())));
            assert!(before.contains(&("REMOTE_USER".into(), b"ebb".into())));
            assert_eq!(before.iter().filter(|(name, _)| name == "HTTP_ACCEPT").count(), 1);
            assert_eq!(environ.get("HTTP_ACCEPT").as_deref(), Some(&b"z"[..]));
            let mut owned = environ.detach();
            owned.with(|copy| {
                assert_eq!(all(copy), before);
                let mut content = String::new();
                copy.content().read_to_string(&mut content).unwrap();
                assert_eq!(content, "abc");
            });
        });
    }
}
