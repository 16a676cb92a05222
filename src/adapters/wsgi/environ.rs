//! `environ`: a fresh dict for each request (PEP 3333, "environ Variables").
//!
//! ```text
//!   template ──copy──▶ environ            made once                    for each request
//!   {                  {                  ─────────                    ────────────────
//!     'SCRIPT_NAME': '',                  wsgi.*, SERVER_SOFTWARE      REQUEST_METHOD, PATH_INFO, REMOTE_PORT
//!     'PATH_INFO': '',   'PATH_INFO': '/tide',                         HTTP_… of each field
//!     'REMOTE_ADDR': …,                   again when they change       what else is not as in the template
//!     'wsgi.input': …,                    ───────────────────────
//!     …                  …                SERVER_NAME, SERVER_PORT, REMOTE_ADDR
//!   }                  }
//! ```
//!
//! Copying a dict that has all its keys already, and overwriting a few of its values, costs two thirds
//! less than putting every key into a new one. What seldom changes from one request to the next is
//! changed in the template, and costs nothing while it stays.
//!
//! Strings are latin-1, as PEP 3333 wants them: each byte one character. Nothing comes from the
//! environment of the process, which may hold secrets.

use std::net::IpAddr;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::ffi::latin1;
use super::file_wrapper::FileWrapper;
use super::input::Input;
use super::names::{FieldNames, Key};
use super::trust::TrustedProxies;
use crate::gateway::{Environ, ServerInfo};
use crate::message::Version;

/// What a server says of itself to its applications.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `wsgi.multithread`: several threads of this process may call the application at a time.
    pub multithread: bool,
    /// `wsgi.multiprocess`: other processes run the same application.
    pub multiprocess: bool,
    /// Whose word for `https` counts.
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
    early_hints: Py<PyString>,
    disconnected: Py<PyString>,
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
            early_hints: key("wsgi.early_hints"),
            disconnected: key("tidegate.client_disconnected"),
        }
    }
}

/// What the template says of the last request, and of the next one like it.
#[derive(Default)]
struct Remembered {
    peer: Option<IpAddr>,
    is_peer_trusted: bool,
    host: Vec<u8>,
    local: Option<std::net::SocketAddr>,
    has_any: bool,
}

/// Makes the dict of each request.
pub(super) struct Environs {
    template: Py<PyDict>,
    keys: Keys,
    names: FieldNames,
    remembered: Remembered,
    trusted: TrustedProxies,
}

/// The callables of one request, bound to it.
pub(super) struct Extras<'a> {
    pub early_hints: &'a Py<PyAny>,
    pub client_disconnected: &'a Py<PyAny>,
}

impl Environs {
    /// With everything in the template that is the same for each request.
    pub fn new(py: Python<'_>, surroundings: &Surroundings) -> PyResult<Environs> {
        let keys = Keys::new(py);
        let template = PyDict::new(py);
        for key in [&keys.method, &keys.path_info, &keys.script_name, &keys.query, &keys.uri] {
            template.set_item(key, "")?;
        }
        for key in [&keys.remote_addr, &keys.remote_port, &keys.server_name, &keys.server_port] {
            template.set_item(key, "")?;
        }
        template.set_item(&keys.protocol, Version::Http11.as_str())?;
        template.set_item("SERVER_SOFTWARE", &*ServerInfo::default().software)?;
        template.set_item("GATEWAY_INTERFACE", "CGI/1.1")?;
        template.set_item("wsgi.version", (1, 0))?;
        template.set_item(&keys.url_scheme, "http")?;
        template.set_item(&keys.input, Input::empty(py)?)?;
        template.set_item("wsgi.input_terminated", true)?;
        template.set_item("wsgi.errors", py.import("sys")?.getattr("stderr")?)?;
        template.set_item("wsgi.multithread", surroundings.multithread)?;
        template.set_item("wsgi.multiprocess", surroundings.multiprocess)?;
        template.set_item("wsgi.run_once", false)?;
        template.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
        template.set_item(&keys.early_hints, py.None())?;
        template.set_item(&keys.disconnected, py.None())?;
        Ok(Environs {
            template: template.unbind(),
            keys,
            names: FieldNames::new(),
            remembered: Remembered::default(),
            trusted: surroundings.trusted_proxies.clone(),
        })
    }

    /// The dict of this request; the content moves into its `wsgi.input`.
    pub fn make<'py>(
        &mut self,
        py: Python<'py>,
        environ: &mut Environ<'_>,
        extras: Extras<'_>,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.remember(py, environ)?;
        let dict = self.template.bind(py).copy()?;
        let keys = &self.keys;
        dict.set_item(&keys.method, method(py, environ.method().as_str())?)?;
        self.put_target(&dict, environ)?;
        if environ.version() == Version::Http10 {
            dict.set_item(&keys.protocol, Version::Http10.as_str())?;
        }
        if let Some(peer) = environ.client().peer {
            dict.set_item(&keys.remote_port, decimal(py, peer.port().into())?)?;
        }
        dict.set_item(&keys.early_hints, extras.early_hints)?;
        dict.set_item(&keys.disconnected, extras.client_disconnected)?;
        if let Some(length) = environ.content_length() {
            dict.set_item(&keys.content_length, decimal(py, length)?)?;
            if length > 0 {
                dict.set_item(&keys.input, Input::new(environ.content().detach()))?;
            }
        }
        self.put_fields(&dict, environ)?;
        Ok(dict)
    }

    /// Brings the template up to date with what seldom changes.
    fn remember(&mut self, py: Python<'_>, environ: &Environ<'_>) -> PyResult<()> {
        let client = environ.client();
        let peer = client.peer.map(|peer| peer.ip());
        let host = environ.host().unwrap_or_default().as_bytes();
        let known = &mut self.remembered;
        let template = self.template.bind(py);
        if !known.has_any || known.peer != peer {
            known.peer = peer;
            known.is_peer_trusted = self.trusted.has(peer);
            template.set_item(&self.keys.remote_addr, peer.map(|ip| ip.to_string()).unwrap_or_default())?;
        }
        if !known.has_any || known.host != host || known.local != client.local {
            known.host.clear();
            known.host.extend_from_slice(host);
            known.local = client.local;
            template.set_item(&self.keys.server_name, environ.server_name())?;
            template.set_item(&self.keys.server_port, environ.server_port())?;
        }
        known.has_any = true;
        Ok(())
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
        dict.set_item(&keys.uri, uri)
    }

    fn put_fields(&mut self, dict: &Bound<'_, PyDict>, environ: &Environ<'_>) -> PyResult<()> {
        let py = dict.py();
        let (length, mut put) = (dict.len(), 0);
        let mut is_https = false;
        for (name, value) in environ.fields().iter() {
            match self.names.key(py, name) {
                Key::Variable(key) => dict.set_item(key, latin1(py, value)?)?,
                Key::ForwardedProto(key) => {
                    is_https = value.eq_ignore_ascii_case(b"https");
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
        if is_https && self.remembered.is_peer_trusted {
            dict.set_item(&self.keys.url_scheme, "https")?;
        }
        if dict.len() < length + put || environ.target().authority().is_some() {
            self.join_fields(dict, environ)?;
        }
        Ok(())
    }

    /// Some fields came more than once, or the target has named another host: what the environ says of
    /// them is right.
    #[cold]
    fn join_fields(&mut self, dict: &Bound<'_, PyDict>, environ: &Environ<'_>) -> PyResult<()> {
        let py = dict.py();
        for (name, value) in environ.variables().filter(|(name, _)| name.starts_with("HTTP_")) {
            dict.set_item(latin1(py, name.as_bytes())?, latin1(py, &value)?)?;
        }
        if let Some(host) = environ.get("HTTP_HOST") {
            dict.set_item(&self.keys.host, latin1(py, &host)?)?;
        }
        Ok(())
    }
}

/// The string of a method; the usual ones are there already.
fn method<'py>(py: Python<'py>, method: &str) -> PyResult<Bound<'py, PyString>> {
    match method {
        "GET" => Ok(pyo3::intern!(py, "GET").clone()),
        "POST" => Ok(pyo3::intern!(py, "POST").clone()),
        "HEAD" => Ok(pyo3::intern!(py, "HEAD").clone()),
        _ => latin1(py, method.as_bytes()),
    }
}

/// The string of a number, without the machinery of formatting.
fn decimal(py: Python<'_>, mut number: u64) -> PyResult<Bound<'_, PyString>> {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return latin1(py, &digits[at..]);
        }
    }
}
