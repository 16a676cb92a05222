//! The access log of the Python package: its destination and its format.

use std::io;
use std::str::FromStr;

use tidegate::access_log::AccessLog;
use tidegate_logs::{
    CombinedLog, FormattedLog, InvalidLogFormat, JsonLog, LineQueue, LogFormat, ReopenHandle,
};

use super::options::PythonOptions;

/// The values of `--access-logformat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogForm {
    /// `json`.
    Json,
    /// `combined`.
    Combined,
    /// Anything else: a format with gunicorn's atoms.
    Format(LogFormat),
}

impl FromStr for LogForm {
    type Err = InvalidLogFormat;

    fn from_str(text: &str) -> Result<LogForm, InvalidLogFormat> {
        match text {
            "json" => Ok(LogForm::Json),
            "combined" => Ok(LogForm::Combined),
            format => format.parse().map(LogForm::Format),
        }
    }
}

/// An access log, and the handle that reopens its file.
#[derive(Default)]
pub struct AskedLog {
    /// The access log; none if it is off.
    pub log: Option<Box<dyn AccessLog + Send>>,
    /// The handle that reopens the file; none if there is no file.
    pub reopen: Option<ReopenHandle>,
}

/// Makes the access log for a server of these options.
///
/// # Errors
/// Returns an error with a ready sentence when the file cannot be opened.
pub fn access_log(options: &PythonOptions) -> io::Result<AskedLog> {
    let wsgi = &options.wsgi;
    let form = wsgi.access_logformat.clone();
    match &wsgi.access_logfile {
        None => {
            let (log, reopen) = tidegate_program::access_log(&options.program)?.unzip();
            Ok(AskedLog { log, reopen: reopen.flatten() })
        }
        Some(place) => {
            let (lines, reopen) = tidegate_program::access_log_lines(place)?;
            Ok(AskedLog { log: Some(in_form(form, lines)), reopen })
        }
    }
}

fn in_form(form: Option<LogForm>, writer: LineQueue) -> Box<dyn AccessLog + Send> {
    match form.unwrap_or(LogForm::Format(LogFormat::default())) {
        LogForm::Json => Box::new(JsonLog::new(writer)),
        LogForm::Combined => Box::new(CombinedLog::new(writer)),
        LogForm::Format(format) => Box::new(FormattedLog::new(format, writer)),
    }
}
