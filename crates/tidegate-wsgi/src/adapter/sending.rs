//! Sends a response that consists of a head and all of its content.

use tidegate::gateway::{Body, Content, FileRange, GatewayError, StartResponse};

use super::head::Head;

/// Sends content of known length. What the application has declared counts more than what it gives: too
/// much is cut off, and too little breaks the connection off, so that the client can tell.
pub(super) fn send_whole<'c>(
    head: &Head,
    content: impl Into<Content<'c>>,
    start_response: StartResponse<'_>,
) -> Result<Body, GatewayError> {
    let content = content.into();
    let response = head.write(start_response);
    match head.declared_length() {
        None => response.send(content),
        Some(_) => {
            let mut writer = response.start()?;
            writer.write(content)?;
            writer.finish()
        }
    }
}

/// Sends no content at all: HEAD, 204, 304, or an iterable that has ended at once. `is_head` says that the
/// request was HEAD, so the length that GET would give is unknown.
pub(super) fn send_nothing(
    head: &Head,
    is_head: bool,
    start_response: StartResponse<'_>,
) -> Result<Body, GatewayError> {
    if is_head { head.write(start_response).finish() } else { send_whole(head, &b""[..], start_response) }
}

/// Sends a file. If it turns out shorter than its range, the connection is broken off.
pub(super) fn send_file(
    head: &Head,
    range: FileRange,
    start_response: StartResponse<'_>,
) -> Result<Body, GatewayError> {
    head.write(start_response).file(range)
}
