//! Passes the server's log on to Tomcat's.

use log::{LevelFilter, Log, Metadata, Record};

use crate::ffi;

struct ToJava;

static TO_JAVA: ToJava = ToJava;

/// Makes Tomcat's log the server's, unless somebody else has one: that is so where the crate is linked into something else.
pub(crate) fn install() {
    if log::set_logger(&TO_JAVA).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

impl Log for ToJava {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let message = format!("{}", record.args());
            if !ffi::log(record.level() as i32, &message) {
                eprintln!("tidegate: {message}");
            }
        }
    }

    fn flush(&self) {}
}
