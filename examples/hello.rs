//! The shortest application: one closure.
//!
//! ```text
//! cargo run --release --example hello
//! curl -i http://127.0.0.1:8000/you
//! ```

use tidegate::serve;

fn main() -> std::io::Result<()> {
    println!("Starting on http://127.0.0.1:8000/ (Ctrl-C stops)");
    serve("127.0.0.1:8000", |environ, start_response| {
        let greeting = format!("Hello, {}!\n", environ.path().trim_start_matches('/'));
        start_response.status(200).field("Content-Type", "text/plain").send(greeting)
    })
}
