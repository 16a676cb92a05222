//! Tests a folder below a prefix of a site, over real sockets.

mod support;

use support::loopback::serve_gateway;
use support::temp_folder::TempFolder;
use tidegate::Server;
use tidegate_files::StaticFiles;
use tidegate_middleware::{Mounts, WithFields};

const LONG: usize = 300_000;

#[test]
fn folder_is_served_below_a_prefix() {
    let folder = TempFolder::new();
    std::fs::write(folder.path().join("index.html"), "home").unwrap();
    std::fs::write(folder.path().join("long.bin"), [b'x'; LONG]).unwrap();
    let files = StaticFiles::new(folder.path()).unwrap();
    let site = WithFields::new(Mounts::new().at("/files", files)).set("X-Frame-Options", "DENY").unwrap();
    let server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), site);
    let mut client = server.connect();
    // Links in a page are relative to the folder that it is in.
    let response = client.get("/files");
    assert_eq!((response.code, response.field("Location")), (301, Some("/files/")));
    assert_eq!(client.get("/files/").text(), "home");
    let response = client.get("/files/long.bin");
    assert_eq!((response.content.len(), response.field("X-Frame-Options")), (LONG, Some("DENY")));
    let date = response.field("Last-Modified").unwrap().to_string();
    client.send(format!("GET /files/long.bin HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: {date}\r\n\r\n"));
    let response = client.read("GET");
    assert_eq!((response.code, response.field("X-Frame-Options")), (304, Some("DENY")));
    assert_eq!(client.get("/files/../etc").code, 404);
    assert_eq!(client.get("/elsewhere").code, 404);
}
