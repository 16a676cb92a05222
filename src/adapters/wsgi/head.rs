//! Status and fields as `start_response` has them: judged in the call that gives them.
//!
//! PEP 3333 wants what is wrong to be an exception where the application can see it, not a broken
//! response later. So everything is checked here, by the rules of the server itself ([`FieldRole`]), and
//! copied into two buffers that are used for one response after the other.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use crate::gateway::{ResponseHead, StartResponse};
use crate::message::{FieldRole, StatusCode, is_field_value};

/// The head of a response.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    code: u16,
    reason: String,
    names: String,
    values: Vec<u8>,
    /// Where name and value of each field end; they begin where those of the one before do.
    ends: Vec<(usize, usize)>,
    declared_length: Option<u64>,
}

impl Head {
    /// Takes status and fields as an application gives them.
    ///
    /// # Errors
    /// TypeError for what is no string, list or pair; ValueError for what must not be sent.
    pub fn read(&mut self, status: &Bound<'_, PyAny>, fields: &Bound<'_, PyAny>) -> PyResult<()> {
        self.read_status(status)?;
        self.read_fields(fields)
    }

    fn read_status(&mut self, status: &Bound<'_, PyAny>) -> PyResult<()> {
        let status = status.cast::<PyString>().map_err(|_| wrong_type("the status must be a str", status))?;
        let text = status.to_str()?;
        let (code, reason) = text.split_at_checked(3).unwrap_or((text, ""));
        let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
        let reason = reason.strip_prefix(' ').filter(|_| is_code);
        let (Ok(code), Some(reason)) = (code.parse(), reason) else {
            return Err(PyValueError::new_err(format!("{text:?} is no status: '200 OK' would be one")));
        };
        if StatusCode::new(code).is_none() {
            return Err(PyValueError::new_err(format!("{code} is no final status code (200 to 599)")));
        }
        if !is_field_value(reason.as_bytes()) {
            return Err(PyValueError::new_err("there is a control character in the status"));
        }
        if let Some(beyond) = reason.chars().find(|&character| character > '\u{ff}') {
            return Err(PyValueError::new_err(format!("{beyond:?} in the status is not in latin-1")));
        }
        self.code = code;
        self.reason.clear();
        // A phrase beyond ASCII has no meaning to anybody; the standard's own takes its place.
        self.reason.push_str(Some(reason).filter(|reason| reason.is_ascii()).unwrap_or_default());
        Ok(())
    }

    /// Takes fields alone, as early hints have them.
    ///
    /// # Errors
    /// As [`Head::read`].
    pub fn read_fields(&mut self, fields: &Bound<'_, PyAny>) -> PyResult<()> {
        self.names.clear();
        self.values.clear();
        self.ends.clear();
        self.declared_length = None;
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
        let (name, value) = (name.to_str()?, value.to_str()?);
        let start = self.values.len();
        if value.is_ascii() {
            self.values.extend_from_slice(value.as_bytes());
        } else {
            self.push_latin1(name, value)?;
        }
        let role = FieldRole::of(name, &self.values[start..]);
        match role.map_err(|invalid| PyValueError::new_err(invalid.to_string()))? {
            FieldRole::ContentLength(_) if self.declared_length.is_some() => {
                return Err(PyValueError::new_err("Content-Length is given twice"));
            }
            FieldRole::ContentLength(length) => self.declared_length = Some(length),
            FieldRole::Plain | FieldRole::Connection | FieldRole::Date | FieldRole::Server => {}
        }
        self.names.push_str(name);
        self.ends.push((self.names.len(), self.values.len()));
        Ok(())
    }

    #[cold]
    fn push_latin1(&mut self, name: &str, value: &str) -> PyResult<()> {
        for character in value.chars() {
            let byte = u8::try_from(u32::from(character));
            let beyond =
                |_| PyValueError::new_err(format!("{character:?} in field {name:?} is not in latin-1"));
            self.values.push(byte.map_err(beyond)?);
        }
        Ok(())
    }

    /// Bytes of content, if Content-Length says how many.
    pub fn declared_length(&self) -> Option<u64> {
        self.declared_length
    }

    /// Whether a response with this status never has content.
    pub fn forbids_content(&self) -> bool {
        StatusCode::new(self.code).is_some_and(StatusCode::forbids_content)
    }

    /// Name and value of each field.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut begun = (0, 0);
        self.ends.iter().map(move |&(name_end, value_end)| {
            let (name, value) = std::mem::replace(&mut begun, (name_end, value_end));
            (&self.names[name..name_end], &self.values[value..value_end])
        })
    }

    /// Writes it as the head of this response.
    pub fn write<'a>(&self, start_response: StartResponse<'a>) -> ResponseHead<'a> {
        let phrase = StatusCode::new(self.code).map(StatusCode::reason_phrase);
        let head = if self.reason.is_empty() || phrase == Some(&self.reason) {
            start_response.status(self.code)
        } else {
            start_response.status_with_reason(self.code, &self.reason)
        };
        self.fields().fold(head, |head, (name, value)| head.field(name, value))
    }
}

fn wrong_type(wanted: &str, got: &Bound<'_, PyAny>) -> PyErr {
    let name = got.get_type().name().map_or_else(|_| "?".to_string(), |name| name.to_string());
    PyTypeError::new_err(format!("{wanted}, not {name}"))
}
