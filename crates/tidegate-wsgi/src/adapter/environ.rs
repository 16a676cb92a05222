//! Makes the `environ`: a fresh dict for each request (PEP 3333, "environ Variables").
//!
//! Copying a dict that has all its keys already, and overwriting a few of its values, is cheaper than putting
//! every key into a new one. Clients, browsers above all, send the same fields with each request, so a
//! template that has them, too ([`Base`]), is kept for the last such blocks of fields.
//!
//! Copying a dict that has all its keys already, and overwriting a few of its values, costs two thirds
//! less than putting every key into a new one. Clients, browsers above all, send the same fields with
//! each request: a template that has them, too ([`Base`]), is kept for the last such blocks of fields,
//! and saves two fifths of the work for a browser's head.
//!
//! Strings are latin-1, as PEP 3333 wants them: each byte one character. Nothing comes from the
//! environment of the process, which may hold secrets.

use std::net::{IpAddr, SocketAddr};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use tidegate::gateway::{Environ, ServerInfo};
use tidegate::message::{DECIMAL_DIGITS_MAX, Method, Version, format_decimal};

use super::call::{client_disconnected, early_hints};
use super::ffi::latin1;
use super::field_memo::{FieldMemo, Sight};
use super::file_wrapper::FileWrapper;
use super::input::Input;
use super::names::{FieldNames, Key};
use super::trust::TrustedProxies;

/// The facts about the server that applications are told.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    /// `wsgi.multithread`: several threads of this process may call the application at a time.
    pub multithread: bool,
    /// `wsgi.multiprocess`: other processes run the same application.
    pub multiprocess: bool,
    /// The proxies whose word for `https` counts.
    pub trusted_proxies: TrustedProxies,
}

/// The keys that are written for each request.
struct Keys {
    method: Py<PyString>,
    path_info: Py<PyString>,
    script_name: Py<PyString>,
    query: Py<PyString>,
    uri: Py<PyString>,
    protocol: Py<PyString>,
    remote_addr: Py<PyString>,
    remote_port: Py<PyString>,
    server_name: Py<PyString>,
    server_port: Py<PyString>,
    content_type: Py<PyString>,
    content_length: Py<PyString>,
    url_scheme: Py<PyString>,
    host: Py<PyString>,
    input: Py<PyString>,
}

impl Keys {
    fn new(py: Python<'_>) -> Keys {
        let key = |name: &str| PyString::intern(py, name).unbind();
        Keys {
            method: key("REQUEST_METHOD"),
            path_info: key("PATH_INFO"),
            script_name: key("SCRIPT_NAME"),
            query: key("QUERY_STRING"),
            uri: key("REQUEST_URI"),
            protocol: key("SERVER_PROTOCOL"),
            remote_addr: key("REMOTE_ADDR"),
            remote_port: key("REMOTE_PORT"),
            server_name: key("SERVER_NAME"),
            server_port: key("SERVER_PORT"),
            content_type: key("CONTENT_TYPE"),
            content_length: key("CONTENT_LENGTH"),
            url_scheme: key("wsgi.url_scheme"),
            host: key("HTTP_HOST"),
            input: key("wsgi.input"),
        }
    }
}

/// Makes the environ of each request.
pub(super) struct Environs {
    keys: Keys,
    names: FieldNames,
    trusted: TrustedProxies,
    /// The template without fields.
    plain: Base,
    /// Templates with the fields of requests that have come more than once.
    known: FieldMemo<Base>,
}

/// A template, and the facts that it holds for.
struct Base {
    dict: Py<PyDict>,
    /// The peer that REMOTE_ADDR names; none before there was a request.
    peer: Option<Option<IpAddr>>,
    /// The host that SERVER_NAME and SERVER_PORT were made from; none before there was a request.
    host: Option<(Vec<u8>, Option<SocketAddr>)>,
    claims: Claims,
}

/// The scheme that the fields claim, by which the client has reached the proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claims {
    Nothing,
    /// `X-Forwarded-Proto: https`, and nothing else of that name.
    Https,
    /// Another scheme, or several at once.
    Other,
}

impl Environs {
    /// Makes the template, with everything in it that is the same for each request.
    pub fn new(py: Python<'_>, deployment: &Deployment) -> PyResult<Environs> {
        let keys = Keys::new(py);
        let template = PyDict::new(py);
        for key in [&keys.path_info, &keys.script_name, &keys.query, &keys.uri] {
            template.set_item(key, "")?;
        }
        for key in [&keys.remote_addr, &keys.remote_port, &keys.server_name, &keys.server_port] {
            template.set_item(key, "")?;
        }
        template.set_item(&keys.method, "GET")?;
        template.set_item(&keys.protocol, Version::Http11.as_str())?;
        template.set_item("SERVER_SOFTWARE", &*ServerInfo::default().software)?;
        template.set_item("GATEWAY_INTERFACE", "CGI/1.1")?;
        template.set_item("wsgi.version", (1, 0))?;
        template.set_item(&keys.url_scheme, "http")?;
        template.set_item(&keys.input, Input::empty(py)?)?;
        template.set_item("wsgi.input_terminated", true)?;
        template.set_item("wsgi.errors", py.import("sys")?.getattr("stderr")?)?;
        template.set_item("wsgi.multithread", deployment.multithread)?;
        template.set_item("wsgi.multiprocess", deployment.multiprocess)?;
        template.set_item("wsgi.run_once", false)?;
        template.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
        template.set_item("wsgi.early_hints", wrap_pyfunction!(early_hints, py)?)?;
        template.set_item("tidegate.client_disconnected", wrap_pyfunction!(client_disconnected, py)?)?;
        let plain = Base { dict: template.unbind(), peer: None, host: None, claims: Claims::Nothing };
        let (names, known) = (FieldNames::new(), FieldMemo::default());
        Ok(Environs { keys, names, trusted: deployment.trusted_proxies.clone(), plain, known })
    }

    /// Makes the dict of this request; the content moves into its `wsgi.input`.
    pub fn make<'py>(&mut self, py: Python<'py>, environ: &mut Environ<'_>) -> PyResult<Bound<'py, PyDict>> {
        let dict = self.copy(py, environ)?;
        let keys = &self.keys;
        if environ.method() != Method::GET {
            dict.set_item(&keys.method, latin1(py, environ.method().as_str().as_bytes())?)?;
        }
        self.put_target(&dict, environ)?;
        if environ.version() == Version::Http10 {
            dict.set_item(&keys.protocol, Version::Http10.as_str())?;
        }
        if let Some(peer) = environ.client().peer.address() {
            dict.set_item(&keys.remote_port, decimal(py, peer.port().into())?)?;
        }
        if let Some(length) = environ.content_length() {
            dict.set_item(&keys.content_length, decimal(py, length)?)?;
            if length > 0 {
                dict.set_item(&keys.input, Input::new(environ.content().detach()))?;
            }
        }
        for (name, value) in environ.added_variables() {
            dict.set_item(name, latin1(py, value)?)?;
        }
        Ok(dict)
    }

    /// Copies the template that comes closest, and completes it with all the fields.
    fn copy<'py>(&mut self, py: Python<'py>, environ: &Environ<'_>) -> PyResult<Bound<'py, PyDict>> {
        let place = match self.known.look_up(environ.fields()) {
            Sight::Known(place) => Some(place),
            Sight::Repeated(block) => {
                let base = self.base_with_fields(py, environ)?;
                Some(self.known.keep(block, base))
            }
            Sight::New => None,
        };
        let base = place.map_or(&mut self.plain, |place| self.known.at(place));
        base.bring_up_to_date(py, environ, &self.keys)?;
        let dict = base.dict.bind(py).copy()?;
        let (peer, mut claims) = (base.peer.flatten(), base.claims);
        if place.is_none() {
            claims = self.put_fields(&dict, environ)?;
        }
        if claims == Claims::Https && self.trusted.has(peer) {
            dict.set_item(&self.keys.url_scheme, "https")?;
        }
        Ok(dict)
    }

    fn base_with_fields(&mut self, py: Python<'_>, environ: &Environ<'_>) -> PyResult<Base> {
        let dict = self.plain.dict.bind(py).copy()?;
        let claims = self.put_fields(&dict, environ)?;
        Ok(Base { dict: dict.unbind(), peer: None, host: None, claims })
    }

    fn put_target(&self, dict: &Bound<'_, PyDict>, environ: &Environ<'_>) -> PyResult<()> {
        let (py, keys) = (dict.py(), &self.keys);
        let path_info = environ.path_info();
        let path = latin1(py, &path_info)?;
        dict.set_item(&keys.path_info, &path)?;
        let script_name = environ.script_name();
        if !script_name.is_empty() {
            dict.set_item(&keys.script_name, latin1(py, &script_name)?)?;
        }
        let query = environ.query().as_bytes();
        if !query.is_empty() {
            dict.set_item(&keys.query, latin1(py, query)?)?;
        }
        let uri = environ.raw_target().as_bytes();
        // As a rule nothing was encoded, and one string serves for both.
        let uri = if *uri == *path_info { path } else { latin1(py, uri)? };
        dict.set_item(&keys.uri, &uri)?;
        if environ.target().authority().is_some() {
            self.put_host(dict, environ)?;
        }
        Ok(())
    }

    /// Replaces the Host field if the target names a host (RFC 9112 §3.2.2).
    #[cold]
    fn put_host(&self, dict: &Bound<'_, PyDict>, environ: &Environ<'_>) -> PyResult<()> {
        if let Some(host) = environ.get("HTTP_HOST") {
            dict.set_item(&self.keys.host, latin1(dict.py(), &host)?)?;
        }
        Ok(())
    }

    fn put_fields(&mut self, dict: &Bound<'_, PyDict>, environ: &Environ<'_>) -> PyResult<Claims> {
        let py = dict.py();
        let (length, mut put) = (dict.len(), 0);
        let mut claims = Claims::Nothing;
        for (name, value) in environ.fields().iter() {
            match self.names.key(py, name) {
                Key::Variable(key) => dict.set_item(key, latin1(py, value)?)?,
                Key::ForwardedProto(key) => {
                    // The one of the client, if its proxy has only added its own, must not count.
                    let is_https = value.eq_ignore_ascii_case(b"https") && claims != Claims::Other;
                    claims = if is_https { Claims::Https } else { Claims::Other };
                    dict.set_item(key, latin1(py, value)?)?;
                }
                Key::ContentType => {
                    let first = environ.field("Content-Type").unwrap_or(value);
                    dict.set_item(&self.keys.content_type, latin1(py, first)?)?;
                }
                Key::Hidden => continue,
            }
            put += 1;
        }
        if dict.len() < length + put {
            join_repeated(dict, environ)?;
        }
        Ok(claims)
    }
}

impl Base {
    /// Corrects the values that seldom change from one request to the next. If they have not changed, this
    /// costs nothing.
    fn bring_up_to_date(&mut self, py: Python<'_>, environ: &Environ<'_>, keys: &Keys) -> PyResult<()> {
        let client = environ.client();
        let peer = client.peer.address().map(|peer| peer.ip());
        if self.peer != Some(peer) {
            let address = peer.map(|ip| ip.to_string()).unwrap_or_default();
            self.dict.bind(py).set_item(&keys.remote_addr, address)?;
            self.peer = Some(peer);
        }
        let host = environ.host().unwrap_or_default().as_bytes();
        let is_known =
            self.host.as_ref().is_some_and(|(known, local)| known == host && local.as_ref() == client.local);
        if !is_known {
            self.dict.bind(py).set_item(&keys.server_name, environ.server_name())?;
            self.dict.bind(py).set_item(&keys.server_port, environ.server_port())?;
            self.host = Some((host.to_vec(), client.local.copied()));
        }
        Ok(())
    }
}

/// Joins repeated fields, as the server's own environ does. Host is left out: no request has two, and the
/// target may name another (see `put_host`), while the dict is kept for other targets.
#[cold]
fn join_repeated(dict: &Bound<'_, PyDict>, environ: &Environ<'_>) -> PyResult<()> {
    let py = dict.py();
    let is_joined = |name: &str| name.starts_with("HTTP_") && name != "HTTP_HOST";
    for (name, value) in environ.variables().filter(|(name, _)| is_joined(name)) {
        dict.set_item(latin1(py, name.as_bytes())?, latin1(py, &value)?)?;
    }
    Ok(())
}

/// Makes the string of a number, without the machinery of formatting.
fn decimal(py: Python<'_>, number: u64) -> PyResult<Bound<'_, PyString>> {
    latin1(py, format_decimal(number, &mut [0; DECIMAL_DIGITS_MAX]))
}
