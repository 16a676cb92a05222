//! The entry with may_minihttp, on one worker.
//!
//! ```text
//! httparena-may ADDRESS DATA
//! ```

mod common;
#[path = "../../native/src/dataset.rs"]
mod dataset;

use std::io::{self, Read};
use std::sync::Arc;

use may_minihttp::{HttpService, HttpServiceFactory, Request, Response};

use common::Data;

const TEXT: &str = "Content-Type: text/plain";
/// It reads content as it comes; this much at a time.
const PIECE_BYTES: usize = 64 * 1024;

struct Application(Arc<Data>);

impl HttpService for Application {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        if route(&self.0, request, response).is_none() {
            response.status_code(400, "Bad Request").body("");
        }
        Ok(())
    }
}

fn route(data: &Data, request: Request, response: &mut Response) -> Option<()> {
    let target = request.path().to_string();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    match path {
        "/baseline11" => {
            let parameters = common::number(query, "a")? + common::number(query, "b")?;
            let mut content = Vec::new();
            request.body().read_to_end(&mut content).ok()?;
            let sum = parameters + common::content(&content)?;
            response.header(TEXT).body_vec(sum.to_string().into_bytes());
        }
        "/pipeline" => response.header(TEXT).body("ok"),
        "/upload" => {
            let (mut body, mut piece, mut count) = (request.body(), vec![0; PIECE_BYTES], 0);
            loop {
                match body.read(&mut piece).ok()? {
                    0 => break,
                    bytes => count += bytes,
                }
            }
            response.header(TEXT).body_vec(count.to_string().into_bytes());
        }
        _ => {
            let count = path.strip_prefix("/json/")?.parse().ok()?;
            let mut json = Vec::new();
            data.dataset.write_page(count, common::number(query, "m")?, &mut json).ok()?;
            response.header("Content-Type: application/json").body_vec(json);
        }
    }
    Some(())
}

/// Makes an application for each connection.
struct Applications(Arc<Data>);

impl HttpServiceFactory for Applications {
    type Service = Application;

    fn new_service(&self, _: usize) -> Application {
        Application(self.0.clone())
    }
}

fn main() {
    may::config().set_workers(1).set_pool_capacity(5_000);
    let (listener, data) = common::start();
    let address = listener.local_addr().expect("an address");
    // It binds its own.
    drop(listener);
    let server = Applications(Arc::new(data)).start(address).expect("a server");
    server.join().expect("the end of the server");
}
