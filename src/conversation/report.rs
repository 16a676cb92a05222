//! What the journal wants to know of a request, kept until its response has ended.

use super::journal::RequestLine;
use crate::message::{RequestHead, Version};

/// The parts of a head that stand in logs.
pub(super) struct Report {
    method: String,
    target: String,
    version: Version,
    pub referer: Option<Vec<u8>>,
    pub user_agent: Option<Vec<u8>>,
}

impl Report {
    pub fn new(head: &RequestHead<'_>) -> Box<Report> {
        Box::new(Report {
            method: head.method.as_str().to_string(),
            target: head.raw_target.to_string(),
            version: head.version,
            referer: head.fields.get("Referer").map(<[u8]>::to_vec),
            user_agent: head.fields.get("User-Agent").map(<[u8]>::to_vec),
        })
    }

    pub fn line(&self) -> RequestLine<'_> {
        RequestLine { method: &self.method, target: &self.target, version: self.version }
    }
}
