//! The entry with hyper, HTTP/1 only, on tokio's runtime for one thread.
//!
//! ```text
//! httparena-hyper ADDRESS DATA
//! ```

mod common;
#[path = "../../native/src/dataset.rs"]
mod dataset;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use common::Data;

const TEXT: &str = "text/plain";

type Answer = Response<Full<Bytes>>;

fn answer(content_type: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(content.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn refusal(code: StatusCode) -> Answer {
    let mut response = Answer::default();
    *response.status_mut() = code;
    response
}

async fn application(data: Arc<Data>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    Ok(route(&data, request).await.unwrap_or_else(|| refusal(StatusCode::BAD_REQUEST)))
}

async fn route(data: &Data, request: Request<Incoming>) -> Option<Answer> {
    let (head, mut body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    Some(match head.uri.path() {
        "/baseline11" => {
            let parameters = common::number(query, "a")? + common::number(query, "b")?;
            let content = body.collect().await.ok()?.to_bytes();
            answer(TEXT, (parameters + common::content(&content)?).to_string())
        }
        "/pipeline" => answer(TEXT, "ok"),
        "/upload" => {
            let mut count = 0;
            while let Some(frame) = body.frame().await {
                count += frame.ok()?.data_ref().map_or(0, Bytes::len);
            }
            answer(TEXT, count.to_string())
        }
        path => {
            if let Some(name) = path.strip_prefix("/static/") {
                let codings = head.headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
                let Some(file) = data.file(name, codings.unwrap_or_default()) else {
                    return Some(refusal(StatusCode::NOT_FOUND));
                };
                let mut response = answer(file.media_type, file.content);
                if let Some(coding) = file.coding {
                    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
                }
                return Some(response);
            }
            let Some(count) = path.strip_prefix("/json/").and_then(|count| count.parse().ok()) else {
                return Some(refusal(StatusCode::NOT_FOUND));
            };
            let mut json = Vec::new();
            data.dataset.write_page(count, common::number(query, "m")?, &mut json).ok()?;
            answer("application/json", json)
        }
    })
}

fn main() {
    let (listener, data) = common::start();
    let data = Arc::new(data);
    listener.set_nonblocking(true).expect("a listener that does not block");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let data = data.clone();
            let service = service_fn(move |request| application(data.clone(), request));
            let connection =
                http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
}
