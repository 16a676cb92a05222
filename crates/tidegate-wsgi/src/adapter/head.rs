//! Status and fields as `start_response` gives them, checked in that very call.
//!
//! PEP 3333 wants errors in them to be an exception where the application can see it, not a broken response
//! later. So everything is checked here, by the rules of the server itself, and encoded into a block of
//! fields ([`FieldBlock`]) that is used for one response after the other.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use tidegate::gateway::{ResponseHead, StartResponse};
use tidegate::message::{FieldBlock, InvalidResponse, StatusCode, is_field_value};

/// The head of a response.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    code: u16,
    /// The reason phrase; empty if it is the standard one.
    reason: Vec<u8>,
    fields: FieldBlock,
}

impl Head {
    /// Takes status and fields as an application gives them.
    ///
    /// # Errors
    /// Returns TypeError for what is no string, list or pair, and ValueError for a head that must not be
    /// sent.
    pub fn read(&mut self, status: &Bound<'_, PyAny>, fields: &Bound<'_, PyAny>) -> PyResult<()> {
        self.read_status(status)?;
        self.read_fields(fields)
    }

    fn read_status(&mut self, status: &Bound<'_, PyAny>) -> PyResult<()> {
        let status = status.cast::<PyString>().map_err(|_| wrong_type("the status must be a str", status))?;
        let text = status.to_cow()?;
        let text = &*text;
        let (code, reason) = text.split_at_checked(3).unwrap_or((text, ""));
        let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
        let reason = reason.strip_prefix(' ').filter(|_| is_code);
        let (Ok(code), Some(reason)) = (code.parse(), reason) else {
            return Err(PyValueError::new_err(format!("{text:?} is no status: '200 OK' would be one")));
        };
        if StatusCode::new(code).is_none() {
            return Err(PyValueError::new_err(format!("{code} is no final status code (200 to 599)")));
        }
        self.code = code;
        self.reason.clear();
        let phrase = StatusCode::new(code).map(StatusCode::reason_phrase);
        if phrase != Some(reason) {
            push_latin1(&mut self.reason, reason, "the status")?;
        }
        if !is_field_value(&self.reason) {
            return Err(PyValueError::new_err("there is a control character in the status"));
        }
        Ok(())
    }

    /// Takes fields alone, as early hints have them.
    ///
    /// # Errors
    /// Returns the same errors as [`Head::read`].
    pub fn read_fields(&mut self, fields: &Bound<'_, PyAny>) -> PyResult<()> {
        self.fields.clear();
        let list = fields.cast::<PyList>().map_err(|_| wrong_type("the fields must be a list", fields))?;
        list.iter().try_for_each(|field| self.read_field(&field))
    }

    fn read_field(&mut self, field: &Bound<'_, PyAny>) -> PyResult<()> {
        let not_a_pair = || wrong_type("each field must be a tuple of two str", field);
        let pair = field.cast::<PyTuple>().map_err(|_| not_a_pair())?;
        if pair.len() != 2 {
            return Err(not_a_pair());
        }
        let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
        let name = name.cast::<PyString>().map_err(|_| wrong_type("a field name must be a str", &name))?;
        let value =
            value.cast::<PyString>().map_err(|_| wrong_type("a field value must be a str", &value))?;
        let (name, value) = (name.to_cow()?, value.to_cow()?);
        let (name, value) = (&*name, &*value);
        if name.eq_ignore_ascii_case("Trailer") {
            // PEP 3333 has no way to give trailers, and none to announce them.
            return Err(PyValueError::new_err(InvalidResponse::HopByHopField(name.to_string()).to_string()));
        }
        let pushed = match value.is_ascii() {
            true => self.fields.push(name, value.as_bytes()),
            false => {
                let mut bytes = Vec::new();
                push_latin1(&mut bytes, value, name)?;
                self.fields.push(name, &bytes)
            }
        };
        pushed.map_err(|invalid| PyValueError::new_err(invalid.to_string()))
    }

    /// The length of the content, if Content-Length says it.
    pub fn declared_length(&self) -> Option<u64> {
        self.fields.content_length()
    }

    /// Whether a response with this status never has content.
    pub fn forbids_content(&self) -> bool {
        StatusCode::new(self.code).is_some_and(StatusCode::forbids_content)
    }

    /// The fields.
    pub fn fields(&self) -> &FieldBlock {
        &self.fields
    }

    /// Writes this head into a response.
    pub fn write<'a>(&self, start_response: StartResponse<'a>) -> ResponseHead<'a> {
        let head = match &*self.reason {
            [] => start_response.status(self.code),
            reason => start_response.status_with_reason(self.code, reason),
        };
        head.fields(&self.fields)
    }
}

/// Appends a text, one byte for each character.
fn push_latin1(bytes: &mut Vec<u8>, text: &str, place: &str) -> PyResult<()> {
    for character in text.chars() {
        let byte = u8::try_from(u32::from(character));
        let beyond = |_| PyValueError::new_err(format!("{character:?} in {place} is not in latin-1"));
        bytes.push(byte.map_err(beyond)?);
    }
    Ok(())
}

fn wrong_type(wanted: &str, got: &Bound<'_, PyAny>) -> PyErr {
    let name = got.get_type().name().map_or_else(|_| "?".to_string(), |name| name.to_string());
    PyTypeError::new_err(format!("{wanted}, not {name}"))
}
