//! The shortest application.
fn main() -> std::io::Result<()> {
    tidegate::serve("127.0.0.1:8765", |_environ, start_response| {
        start_response.status(200).field("Content-Type", "text/plain").send("Hello, World!")
    })
}
