//! Probes what a servlet reads.

use std::thread;
use std::time::Duration;

use super::probe::{Check, Probe, Row, answers, checks, complete, rows, sum};
use super::served::{Connector, Served};
use super::support::loopback::noise;

pub fn probes() -> impl Iterator<Item = Probe> {
    rows(READING).chain(checks(CHECKS))
}

const READING: &[Row] = &[
    (
        "content by its length",
        "POST /probe/content/sum\n\nabc",
        "200 length {Content-Type: text/plain;charset=UTF-8}: 3:352441c2",
    ),
    (
        "content in chunks",
        "POST /probe/content/sum\nTransfer-Encoding: chunked\n\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n",
        "200 length {Content-Type: text/plain;charset=UTF-8}: 3:352441c2",
    ),
    (
        "content of none",
        "POST /probe/content/sum\nContent-Length: 0",
        "200 length {Content-Type: text/plain;charset=UTF-8}: 0:0",
    ),
    (
        "content without a length",
        "POST /probe/content/sum",
        "200 length {Content-Type: text/plain;charset=UTF-8}: 0:0",
    ),
    (
        "content by bytes",
        "POST /probe/content/bytes\n\nabc",
        "200 length {Content-Type: text/plain;charset=UTF-8}: 3 -1 0",
    ),
    (
        "content half read",
        "POST /probe/content/some\n\nabcdefgh",
        "200 length {Content-Type: text/plain;charset=UTF-8}: abc",
    ),
    (
        "content not read",
        "POST /probe/content/ignore\n\nabcdefgh",
        "200 length {Content-Type: text/plain;charset=UTF-8}: ignored",
    ),
    (
        "content of a GET",
        "GET /probe/content/sum\n\nabc",
        "200 length {Content-Type: text/plain;charset=UTF-8}: 3:352441c2",
    ),
    (
        "content by stream and reader",
        "POST /probe/content/both\n\nabc",
        "500 length {Content-Type: text/plain;charset=UTF-8}: page for 500 getInputStream() has already been called for this request IllegalStateException /probe/content/both ERROR",
    ),
    (
        "content echoed as it comes",
        "POST /probe/content/echo\n\nabc",
        "200 chunked {Content-Type: text/plain;charset=UTF-8}: abc",
    ),
    (
        "content with a length and chunks",
        "POST /probe/content/sum\nContent-Length: 3\nTransfer-Encoding: chunked\n\n3\r\nabc\r\n0\r\n\r\n",
        "400 length: page of 400",
    ),
    (
        "content with two lengths",
        "POST /probe/content/sum\nContent-Length: 3\nContent-Length: 4\n\nabcd",
        "400 length: page of 400",
    ),
    (
        "content with a wrong length",
        "POST /probe/content/sum\nContent-Length: 3x\n\nabc",
        "400 length: page of 400",
    ),
    (
        "content in bad chunks",
        "POST /probe/content/sum\nTransfer-Encoding: chunked\n\nx\r\nabc\r\n0\r\n\r\n",
        "400 length: page of 400",
    ),
    (
        "content in another coding",
        "POST /probe/content/sum\nTransfer-Encoding: gzip, chunked\n\n3\r\nabc\r\n0\r\n\r\n",
        "501 length: page of 501",
    ),
    (
        "trailers",
        "POST /probe/show/\nTransfer-Encoding: chunked\nX-Show: trailers-before body trailers\n\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nx-more: a b\r\n\r\n",
        "200 length {Content-Type: text/plain;charset=UTF-8}: true | 3:352441c2 | true {X-Sum=7, x-more=a b}",
    ),
    (
        "trailers of none",
        "POST /probe/show/\nX-Show: body trailers\n\nabc",
        "200 length {Content-Type: text/plain;charset=UTF-8}: 3:352441c2 | true {}",
    ),
    (
        "trailers that may not be",
        "POST /probe/show/\nTransfer-Encoding: chunked\nX-Show: body trailers\n\n3\r\nabc\r\n0\r\nContent-Length: 7\r\nHost: b\r\nX-Good: 1\r\n\r\n",
        "200 length {Content-Type: text/plain;charset=UTF-8}: 3:352441c2 | true {X-Good=1}",
    ),
    (
        "expectation of another kind",
        "POST /probe/content/sum\nExpect: tea\n\nabc",
        "417 length close: page of 417",
    ),
    (
        "upload",
        "POST /probe/upload\nContent-Type: multipart/form-data; boundary=B\n\n--B\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nGrüße\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a b.txt\"\r\nContent-Type: text/x\r\nX-Part: 1\r\n\r\ncontent\r\n--B--\r\n",
        "200 length {Content-Type: text/plain;charset=UTF-8}: note null null null 7:fbd37071/file a b.txt text/x 1 7:fec530a9/GrÃ¼Ãe",
    ),
    (
        "upload that ends early",
        "POST /probe/upload\nContent-Type: multipart/form-data; boundary=B\n\n--B\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nGrü",
        "500 length: page of 500",
    ),
    ("upload that is none", "POST /probe/upload\nContent-Type: text/plain\n\nabc", "500 length: page of 500"),
];

const CHECKS: &[Check] = &[
    (
        "content after 100",
        |served| expectation(served, "sum"),
        "100 none; 200 length {Content-Type: text/plain;charset=UTF-8}: 3:352441c2",
    ),
    ("content that is refused before 100", |served| expectation(served, "refuse"), "413 length: page of 413"),
    (
        "content that is ignored before 100",
        |served| expectation(served, "ignore"),
        "200 length {Content-Type: text/plain;charset=UTF-8}: ignored",
    ),
    ("content sent slowly", slowly, "200 length {Content-Type: text/plain;charset=UTF-8}: 10:a684c7c6"),
    (
        "content of a megabyte",
        |served| large(served, "sum", 1_000_000),
        "200 length {Content-Type: text/plain;charset=UTF-8}: 1000000:39d96d73",
    ),
    (
        "content of a megabyte in chunks",
        large_chunks,
        "200 length {Content-Type: text/plain;charset=UTF-8}: 1000000:39d96d73",
    ),
    (
        "content of a megabyte, not read",
        |served| large(served, "ignore", 1_000_000),
        "200 length {Content-Type: text/plain;charset=UTF-8}: ignored",
    ),
    (
        "content of a megabyte, refused",
        |served| large(served, "refuse", 1_000_000),
        "413 length: page of 413",
    ),
    ("echo of a megabyte", |served| large(served, "echo", 1_000_000), "1000000 dd2499ba"),
    (
        "upload of four megabytes",
        |served| upload(served, 4_000_000),
        "200 length {Content-Type: text/plain;charset=UTF-8}: file f null null 4000000:2509cfb/null",
    ),
    (
        "upload that is too large",
        |served| upload(served, 8_500_000),
        "500 length {Content-Type: text/plain;charset=UTF-8}: page for 500 org.apache.tomcat.util.http.fileupload.impl.FileSizeLimitExceededException: The field file exceeds its maximum permitted size of 8000000 bytes. IllegalStateException /probe/upload ERROR",
    ),
    ("connection after content that is half read", |served| after(served, "some"), "abc, then 3"),
    ("connection after content that is not read", |served| after(served, "ignore"), "ignored, then 3"),
    ("client that leaves in the middle of its content", leaves, "is not called"),
    ("client that leaves in the middle of content that it was asked for", leaves_after_100, "broken"),
];

/// Sends content once it is asked for, and says what comes.
pub fn expectation(served: &Served, path: &str) -> String {
    let mut client = served.connect();
    client.send(complete(&format!("POST /probe/content/{path}\nExpect: 100-continue\nContent-Length: 3")));
    let first = client.read("POST");
    if first.code != 100 {
        return super::probe::line(&first, "POST").replace(" close", "");
    }
    client.send("abc");
    // Whether the connection is kept depends on what has come when the servlet answers.
    format!("100 none; {}", answers(&mut client, "POST").replace(" close", ""))
}

fn slowly(served: &Served) -> String {
    let mut client = served.connect();
    client.send(complete("POST /probe/content/sum\nContent-Length: 10"));
    for digit in 0..10 {
        client.send(digit.to_string());
        thread::sleep(Duration::from_millis(3));
    }
    answers(&mut client, "POST")
}

fn large(served: &Served, path: &str, bytes: usize) -> String {
    let mut client = served.connect();
    let head = complete(&format!("POST /probe/content/{path}\nContent-Length: {bytes}"));
    let content = noise(3, bytes);
    // The server may refuse it before it has taken it.
    let stream = client.try_clone_tcp();
    let writing = thread::spawn(move || {
        use std::io::Write;
        let mut stream = stream;
        let _ = stream.write_all(&head).and_then(|()| stream.write_all(&content));
    });
    let response = client.read_within("POST", Duration::from_secs(10));
    client.break_off();
    writing.join().unwrap();
    match response {
        Ok(response) if path == "echo" => {
            format!("{} {:08x}", response.content.len(), sum(&response.content))
        }
        Ok(response) => super::probe::line(&response, "POST"),
        Err(reason) => reason,
    }
}

fn large_chunks(served: &Served) -> String {
    let mut client = served.connect();
    let mut request = complete("POST /probe/content/sum\nTransfer-Encoding: chunked");
    for piece in noise(3, 1_000_000).chunks(7777) {
        request.extend(format!("{:x}\r\n", piece.len()).bytes());
        request.extend_from_slice(piece);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    client.send(request);
    answers(&mut client, "POST")
}

fn upload(served: &Served, bytes: usize) -> String {
    let mut client = served.connect();
    let mut content =
        b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n".to_vec();
    content.extend(noise(5, bytes));
    content.extend(b"\r\n--B--\r\n");
    let head = format!(
        "POST /probe/upload\nContent-Type: multipart/form-data; boundary=B\nContent-Length: {}",
        content.len()
    );
    let _ = client.try_send(&[complete(&head), content].concat());
    answers(&mut client, "POST")
}

fn after(served: &Served, path: &str) -> String {
    let mut client = served.connect();
    client.send(complete(&format!("POST /probe/content/{path}\n\nabcdefghijkl")));
    let first = client.read("POST").text();
    client.send(complete("POST /probe/content/bytes\n\nabc"));
    let second = client.read("POST").text();
    format!("{first}, then {}", second.split(' ').next().unwrap())
}

fn leaves(served: &Served) -> String {
    let id = format!("leaves-{:?}", served.connector);
    let mut client = served.connect();
    client.send(complete(&format!("POST /probe/life/read?id={id}\nContent-Length: 100\nX: y")));
    client.send("some");
    thread::sleep(Duration::from_millis(100));
    drop(client);
    match served.connector {
        Connector::Tomcat => {
            served.wait_for_note(&id, "broken");
            "broken".to_string()
        }
        // Nobody has called what could note anything.
        Connector::Tidegate => match served.notes(&id).as_str() {
            "" => "is not called".to_string(),
            notes => notes.to_string(),
        },
    }
}

/// A servlet that reads is told that its client has left.
fn leaves_after_100(served: &Served) -> String {
    let id = format!("leaves-after-{:?}", served.connector);
    let mut client = served.connect();
    let head = format!("POST /probe/life/read?id={id}\nExpect: 100-continue\nContent-Length: 100");
    client.send(complete(&head));
    assert_eq!(client.read("POST").code, 100);
    client.send("some");
    drop(client);
    served.wait_for_note(&id, "broken");
    "broken".to_string()
}
