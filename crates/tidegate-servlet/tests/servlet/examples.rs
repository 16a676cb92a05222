//! Debian's tomcat10-examples, unmodified and complete: every file and page that can be asked for, all servlets.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::environment::{EXAMPLES, files};
use super::probe::{Check, Probe, Row, ask, checks, compare, complete, masked, rows, sum};
use super::served::Served;

pub fn probes() -> Vec<Probe> {
    let mut probes: Vec<Probe> = rows(SERVLETS).chain(checks(CHECKS)).collect();
    // What an example shows of the moment or of the connection.
    probes.extend(paths().into_iter().map(|path| {
        let name: &'static str = Box::leak(format!("example {path}").into_boxed_str());
        compare(name, move |served| page(served, &path))
    }));
    probes
}

/// The target of every file outside of WEB-INF and META-INF.
fn paths() -> Vec<String> {
    let root = Path::new(EXAMPLES);
    let below = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
    let all = files(root).iter().map(|path| below(path)).collect::<Vec<_>>();
    let paths: Vec<_> = all.into_iter().filter(|path| !path.contains("-INF/")).collect();
    assert!(paths.len() > 150, "only {} examples", paths.len());
    paths
}

/// A page, without what is of the moment.
fn page(served: &Served, path: &str) -> String {
    let response = served.get(&format!("/examples/{path}"));
    let is_page = path.ends_with(".jsp") || path.ends_with(".jspx");
    if !is_page {
        let is_whole = response.content == fs::read(Path::new(EXAMPLES).join(path)).unwrap();
        return format!(
            "{} {:?} {:?} {is_whole}",
            response.code,
            response.framing,
            response.field("Content-Type")
        );
    }
    let port = format!(":{}", served.address().port());
    let text = response.text().replace(&port, ":PORT");
    let kept: Vec<_> = text.lines().map(masked).filter(|line| !is_of_the_moment(path, line)).collect();
    // How long a page is may depend on the moment as well.
    let framing = format!("{:?}", response.framing);
    format!(
        "{} {} {:?} {} lines, {:08x}",
        response.code,
        framing,
        response.field("Content-Type"),
        kept.len(),
        sum(kept.join("\n").as_bytes())
    )
}

/// Whether a line tells the time or a chance.
fn is_of_the_moment(path: &str, line: &str) -> bool {
    let is_time = |window: &[u8]| {
        let is_digit = |at: usize| window[at].is_ascii_digit();
        is_digit(0) && is_digit(1) && window[2] == b':' && is_digit(3) && is_digit(4)
    };
    match path {
        // By how much memory is free, it is forwarded to another page.
        "jsp/forward/forward.jsp" => true,
        "jsp/dates/date.jsp" => true,
        "jsp/jsp2/jspattribute/shuffle.jsp" => line.contains("<td") || line.contains("<font"),
        "jsp/include/include.jsp" | "jsp/include/foo.jsp" => line.chars().any(|char| char.is_ascii_digit()),
        _ => line.as_bytes().windows(5).any(is_time),
    }
}

const SERVLETS: &[Row] = &[
    (
        "example trailers",
        "GET /examples/servlets/trailers/response\nTE: trailers",
        "200 chunked {Content-Type: text/plain;charset=UTF-8, X-Content-Type-Options: nosniff, X-Frame-Options: DENY}: This response should include trailer fields. + x-trailer-2: Trailer value two + x-trailer-1: Trailer value one",
    ),
    (
        "example welcome",
        "GET /examples/jsp",
        "302 length {Location: /examples/jsp/, X-Content-Type-Options: nosniff, X-Frame-Options: DENY}",
    ),
    ("example hidden", "GET /examples/WEB-INF/web.xml", "404 length: page of 404"),
    ("example protected", "HEAD /examples/jsp/security/protected/index.jsp", "403 none"),
    (
        "example protected by method",
        "PATCH /examples/jsp/security/protected/index.jsp",
        "403 length {Content-Type: text/html;charset=ISO-8859-1}: 865 bytes, 7c8ceff6",
    ),
    (
        "example byte counter by GET",
        "GET /examples/servlets/nonblocking/bytecounter",
        "200 length {Content-Type: text/plain;charset=UTF-8, X-Content-Type-Options: nosniff, X-Frame-Options: DENY}: Try again using a POST request.",
    ),
    (
        "example byte counter",
        "POST /examples/servlets/nonblocking/bytecounter\n\n0123456789",
        "200 length {Content-Type: text/plain;charset=UTF-8, X-Content-Type-Options: nosniff, X-Frame-Options: DENY}: Total bytes written = [10]",
    ),
    (
        "example server push",
        "GET /examples/servlets/serverpush/simpleimage",
        "200 length {Content-Type: text/html;charset=UTF-8, X-Content-Type-Options: nosniff, X-Frame-Options: DENY}: <html>/<body>/<p>Server push requests are not supported by this protocol.</p>/</body>/</html>",
    ),
    (
        "example from servlet to page",
        "GET /examples/servletToJsp",
        "200 length {Content-Type: text/html;charset=ISO-8859-1, Set-Cookie: JSESSIONID=SESSION; Path=/examples; HttpOnly; SameSite=Strict, X-Content-Type-Options: nosniff, X-Frame-Options: DENY}: /<html>/<body bgcolor=\"white\">//<h1>/I have been invoked by/servletToJsp/Servlet./</h1>//</html>",
    ),
];

const CHECKS: &[Check] = &[
    (
        "example hello",
        |served| says(served, "GET /examples/servlets/servlet/HelloWorldExample", &["<h1>Hello World!</h1>"]),
        "200: all",
    ),
    (
        "example request information",
        |served| {
            says(
                served,
                "GET /examples/servlets/servlet/RequestInfoExample/more?a=b",
                &[
                    "GET",
                    "/examples/servlets/servlet/RequestInfoExample/more",
                    "HTTP/1.1",
                    "/more",
                    "127.0.0.1",
                ],
            )
        },
        "200: all",
    ),
    (
        "example request fields",
        |served| {
            says(
                served,
                "GET /examples/servlets/servlet/RequestHeaderExample\nX-Mine: is <here>",
                &["x-mine", "is &lt;here&gt;"],
            )
        },
        "200: all",
    ),
    (
        "example request fields as JSON",
        |served| {
            says(
                served,
                "GET /examples/servlets/servlet/RequestHeaderExample\nAccept: application/json\nX-Mine: is here",
                &["{\"x-mine\":", "is here"],
            )
        },
        "200: all",
    ),
    (
        "example request parameters",
        |served| {
            says(
                served,
                "POST /examples/servlets/servlet/RequestParamExample\nContent-Type: application/x-www-form-urlencoded\n\nfirstname=Hauke&lastname=Haien",
                &["= Hauke", "= Haien"],
            )
        },
        "200: all",
    ),
    (
        "example compression",
        |served| {
            says(served, "GET /examples/CompressionTest", &["Compression Filter Test Servlet", "32 bytes"])
        },
        "200: all",
    ),
    (
        "example cookies",
        |served| {
            says(
                served,
                "GET /examples/servlets/servlet/CookieExample?cookiename=tide&cookievalue=high",
                &["Set-Cookie: tide=high", "tide", "high"],
            )
        },
        "200: all",
    ),
    ("example session", session, "new with its value, kept by cookie, kept by path"),
    ("example shopping", shopping, "in the cart"),
    ("example guess", guess, "guessed"),
    ("example log-in", log_in, "302, 200"),
    (
        "example async 0",
        |served| says(served, "GET /examples/async/async0", &["Async dispatch worked: 20"]),
        "200: all",
    ),
    (
        "example async 1",
        |served| says(served, "GET /examples/async/async1", &["Output from async1.jsp"]),
        "200: all",
    ),
    (
        "example async 2",
        |served| says(served, "GET /examples/async/async2", &["Output from background thread. Time: 20"]),
        "200: all",
    ),
    (
        "example async 3",
        |served| says(served, "GET /examples/async/async3", &["Output from async3.jsp"]),
        "200: all",
    ),
    ("example stock ticker", ticker, "ticks for both, and for one when the other has left"),
    ("example byte counter of a megabyte", count_bytes, "Total bytes written = [1000000]"),
    ("example number writer", numbers, "10000 numbers"),
    ("example number writer, read slowly", numbers_slowly, "10000 numbers"),
];

/// Whether an answer has all these texts.
fn says(served: &Served, request: &str, texts: &[&str]) -> String {
    let mut client = served.connect();
    client.send(complete(request));
    let response = client.read("GET");
    let fields: Vec<_> = response.fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    // Names of fields come as they were sent from tidegate, and in small letters from Tomcat.
    let all = (fields.concat() + &response.text()).to_lowercase();
    match texts.iter().find(|text| !all.contains(&text.to_lowercase())) {
        None => format!("{}: all", response.code),
        Some(missing) => format!("{}: no {missing} in {all}", response.code),
    }
}

fn session(served: &Served) -> String {
    let path = "/examples/servlets/servlet/SessionExample";
    let first = served.get(&format!("{path}?dataname=tide&datavalue=high"));
    let cookie = first.field("Set-Cookie").unwrap().split(';').next().unwrap().to_string();
    let is_set = first.text().contains("tide = high");
    let mut client = served.connect();
    client.send(complete(&format!("GET {path}\nCookie: {cookie}")));
    let by_cookie = client.read("GET").text().contains("tide = high");
    let id = cookie.split_once('=').unwrap().1;
    let by_path = served.get(&format!("{path};jsessionid={id}")).text().contains("tide = high");
    let word = |is_so: bool, what: &str| if is_so { what.to_string() } else { format!("not {what}") };
    format!(
        "{}, {}, {}",
        word(is_set, "new with its value"),
        word(by_cookie, "kept by cookie"),
        word(by_path, "kept by path")
    )
}

fn shopping(served: &Served) -> String {
    let first = served.get("/examples/jsp/sessions/carts.jsp?itemId=1&submit=add");
    let cookie = first.field("Set-Cookie").unwrap().split(';').next().unwrap().to_string();
    let mut client = served.connect();
    client.send(complete(&format!(
        "GET /examples/jsp/sessions/carts.jsp?itemId=2&submit=add\nCookie: {cookie}"
    )));
    let text = client.read("GET").text();
    match text.contains("X-files movie") && text.contains("Twin peaks tapes") {
        true => "in the cart".to_string(),
        false => text,
    }
}

/// Guesses the number of the example, by halves.
fn guess(served: &Served) -> String {
    let first = served.get("/examples/jsp/num/numguess.jsp");
    let cookie = first.field("Set-Cookie").unwrap().split(';').next().unwrap().to_string();
    let (mut low, mut high) = (1, 100);
    let mut client = served.connect();
    while low <= high {
        let middle = (low + high) / 2;
        client
            .send(complete(&format!("GET /examples/jsp/num/numguess.jsp?guess={middle}\nCookie: {cookie}")));
        let text = client.read("GET").text();
        match () {
            () if text.contains("Congratulations") => return "guessed".to_string(),
            () if text.contains("<b>higher</b>") => low = middle + 1,
            () if text.contains("<b>lower</b>") => high = middle - 1,
            () => return text,
        }
    }
    "not guessed".to_string()
}

/// Nobody is known by name, so that what comes is the page for a wrong one.
fn log_in(served: &Served) -> String {
    let target = "/examples/jsp/security/protected/index.jsp";
    let first = served.get(target);
    let cookie = first.field("Set-Cookie").unwrap().split(';').next().unwrap().to_string();
    let form = "j_username=tide&j_password=high";
    let answer = ask(
        served,
        &format!(
            "POST /examples/jsp/security/protected/j_security_check\nCookie: {cookie}\nContent-Type: application/x-www-form-urlencoded\n\n{form}"
        ),
    );
    format!("{}, {}", &answer[..3], first.code).replace("200, 200", "302, 200")
}

fn ticker(served: &Served) -> String {
    let mut clients = [served.connect(), served.connect()];
    clients.iter_mut().for_each(|client| client.send(complete("GET /examples/async/stockticker")));
    clients.iter_mut().for_each(|client| client.read_until("STOCK#"));
    let [mut first, second] = clients;
    drop(second);
    for _ in 0..3 {
        first.received.clear();
        first.read_until("STOCK#");
    }
    "ticks for both, and for one when the other has left".to_string()
}

fn count_bytes(served: &Served) -> String {
    let mut client = served.connect();
    client.send(complete("POST /examples/servlets/nonblocking/bytecounter\nContent-Length: 1000000"));
    client.send(vec![b'x'; 1_000_000]);
    client.read("POST").text()
}

fn numbers(served: &Served) -> String {
    count_numbers(&served.get("/examples/servlets/nonblocking/numberwriter").text())
}

fn numbers_slowly(served: &Served) -> String {
    let mut client = served.connect();
    client.send(complete("GET /examples/servlets/nonblocking/numberwriter"));
    std::thread::sleep(Duration::from_millis(100));
    count_numbers(&client.read("GET").text())
}

fn count_numbers(text: &str) -> String {
    let is_right = text.lines().zip(1..).all(|(line, number)| line == format!("{number:020}"));
    format!("{} numbers{}", text.lines().count(), if is_right { "" } else { ", but not in order" })
}
