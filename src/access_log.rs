//! The access log: a trait that is told of each exchange when it has ended.
//!
//! A log says beforehand which fields and variables it [wants](Wanted), and whether it wants request lines; only these
//! are collected, and without a log nothing is. It is called from the event loop, so it collects lines in memory, and
//! hands them on when the turn of the loop is over. Logs that write to a file, in the formats that log readers
//! understand, are the package `tidegate-logs`.
//!
//! ```
//! use tidegate::Server;
//! use tidegate::access_log::{AccessLog, ExchangeRecord, Wanted};
//!
//! /// Prints what was refused.
//! #[derive(Default)]
//! struct Refusals(String);
//!
//! impl AccessLog for Refusals {
//!     fn wanted(&self) -> Wanted {
//!         Wanted::request_lines()
//!     }
//!
//!     fn record(&mut self, record: &ExchangeRecord<'_>) {
//!         if let (400.., Some(request)) = (record.status, record.request) {
//!             self.0 += &format!("{} {}: {}\n", request.method, request.target, record.status);
//!         }
//!     }
//!
//!     fn flush(&mut self) {
//!         print!("{}", std::mem::take(&mut self.0));
//!     }
//! }
//!
//! let server = Server::new().access_log(Refusals::default());
//! ```

pub use crate::conversation::record::{AccessLog, ExchangeRecord, Outcome, RequestLine, Wanted};
