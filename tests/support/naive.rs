//! A second reader of requests, written from RFC 9112 and RFC 9110 and not from our code: slow, plain, and
//! with another structure. Both must take the same requests, and refuse the same.
//!
//! [`read_stream`] says which requests stand in some bytes and how they end; [`encode`] writes a request
//! in the one way that nobody can misread.

use std::str;

use tidegate::limits::Limits;

/// A request as it was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub target: String,
    /// The digit behind `HTTP/1.`.
    pub minor: u8,
    pub fields: Vec<(String, Vec<u8>)>,
    /// The content; none if neither length nor coding announces any.
    pub content: Option<Vec<u8>>,
}

/// The way in which a stream of requests ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// More is awaited: the next request, or the rest of one.
    Open,
    /// The last request, or its response, has closed the connection.
    Closed,
    /// The next bytes are refused, with one of these codes.
    Refused(Vec<u16>),
}

/// The codes of what is wrong; several rules may be broken at once.
type Wrong = Vec<u16>;

/// Reads requests until something is missing, wrong, or the connection is to be closed. `closes` tells that
/// of a request by what its response will be.
pub fn read_stream(
    input: &[u8],
    has_ended: bool,
    limits: &Limits,
    closes: impl Fn(&Request) -> bool,
) -> (Vec<Request>, End) {
    let (mut requests, mut rest) = (Vec::new(), input);
    loop {
        let mut empty_lines = 0;
        while rest.starts_with(b"\n") || rest.starts_with(b"\r\n") {
            rest = &rest[1 + usize::from(rest[0] == b'\r')..];
            empty_lines += 1;
        }
        if empty_lines > 100 {
            return (requests, End::Refused(vec![400]));
        }
        match read_request(rest, limits) {
            Ok(Some((request, used))) => {
                rest = &rest[used..];
                let is_last = !persists(&request) || closes(&request);
                requests.push(request);
                if is_last {
                    return (requests, End::Closed);
                }
            }
            Ok(None) if !has_ended => return (requests, End::Open),
            Ok(None) if matches!(rest, b"" | b"\r") => return (requests, End::Closed),
            Ok(None) => return (requests, End::Refused(vec![400])),
            Err(codes) => return (requests, End::Refused(codes)),
        }
    }
}

/// Whether the connection persists (RFC 9112 §9.3).
fn persists(request: &Request) -> bool {
    let options: Vec<String> = values(request, "connection")
        .flat_map(|value| value.split(|byte| *byte == b',').map(<[u8]>::to_vec).collect::<Vec<_>>())
        .map(|item| String::from_utf8_lossy(&item).trim_matches([' ', '\t']).to_ascii_lowercase())
        .collect();
    let has = |option: &str| options.iter().any(|other| other == option);
    !has("close") && (request.minor == 1 || has("keep-alive"))
}

fn values<'r>(request: &'r Request, name: &'r str) -> impl Iterator<Item = &'r Vec<u8>> {
    request.fields.iter().filter(move |(other, _)| other.to_ascii_lowercase() == name).map(|(_, value)| value)
}

/// Reads one request, and returns it with the bytes it takes; none if some are missing.
fn read_request(input: &[u8], limits: &Limits) -> Result<Option<(Request, usize)>, Wrong> {
    let Some((mut request, head)) = read_head(input, limits)? else {
        return Ok(None);
    };
    check_meaning(&request, limits)?;
    let behind = &input[head..];
    if values(&request, "transfer-encoding").next().is_some() {
        let Some((content, used)) = read_chunks(behind, limits)? else {
            return Ok(None);
        };
        request.content = Some(content);
        return Ok(Some((request, head + used)));
    }
    let length = values(&request, "content-length").next().map(|value| decimal(value).unwrap_or(0));
    let Some(length) = length.map(|length| length as usize) else {
        return Ok(Some((request, head)));
    };
    if behind.len() < length {
        return Ok(None);
    }
    request.content = Some(behind[..length].to_vec());
    Ok(Some((request, head + length)))
}

/// Reads a head line by line (RFC 9112 §2 to §5).
fn read_head(input: &[u8], limits: &Limits) -> Result<Option<(Request, usize)>, Wrong> {
    if input.first().is_some_and(|byte| *byte != b'\r' && !is_tchar(*byte)) {
        return Err(vec![400]);
    }
    let mut request: Option<Request> = None;
    let mut at = 0;
    loop {
        let line_bytes = input[at..].iter().position(|byte| *byte == b'\n');
        // A line that has not ended will take a byte more, at least.
        let end = line_bytes.map_or(input.len() + 1, |bytes| at + bytes + 1);
        if request.is_none() && end > limits.request_line_bytes_max {
            let has_method = input[..limits.request_line_bytes_max].contains(&b' ');
            return Err(vec![if has_method { 414 } else { 501 }]);
        }
        if end > limits.head_bytes_max {
            return Err(vec![431]);
        }
        if line_bytes.is_none() {
            return Ok(None);
        }
        let line = &input[at..end - 1];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        at = end;
        match &mut request {
            None => request = Some(read_request_line(line)?),
            Some(request) if line.is_empty() => return Ok(Some((request.clone(), at))),
            Some(request) => {
                request.fields.push(read_field(line)?);
                if request.fields.len() > limits.fields_max {
                    return Err(vec![431]);
                }
            }
        }
    }
}

fn read_request_line(line: &[u8]) -> Result<Request, Wrong> {
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else {
        return Err(vec![400]);
    };
    let is_method = !method.is_empty() && method.iter().all(|byte| is_tchar(*byte));
    let is_visible = target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    let text = str::from_utf8(target).ok().filter(|text| is_method && is_visible && !text.is_empty());
    let text = text.ok_or(vec![400])?;
    let minor = match version {
        b"HTTP/1.0" => 0,
        b"HTTP/1.1" => 1,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(vec![505]),
        _ => return Err(vec![400]),
    };
    let method = String::from_utf8_lossy(method).into_owned();
    Ok(Request { method, target: text.to_string(), minor, fields: Vec::new(), content: None })
}

fn read_field(line: &[u8]) -> Result<(String, Vec<u8>), Wrong> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(vec![400])?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_name = !name.is_empty() && name.iter().all(|byte| is_tchar(*byte));
    let is_value = value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
    if !is_name || !is_value {
        return Err(vec![400]);
    }
    let is_blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let first = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let last = value.iter().rposition(|byte| !is_blank(byte)).map_or(first, |at| at + 1);
    Ok((String::from_utf8_lossy(name).into_owned(), value[first..last].to_vec()))
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Checks every rule about a whole head, none before another.
fn check_meaning(request: &Request, limits: &Limits) -> Result<(), Wrong> {
    let mut codes = Vec::new();
    let mut wrong = |is_wrong: bool, code: u16| {
        if is_wrong {
            codes.push(code);
        }
    };
    let is_target = is_target(&request.method, &request.target);
    wrong(!is_target, 400);
    wrong(is_target && request.method == "CONNECT", 501);
    let hosts: Vec<_> = values(request, "host").collect();
    wrong(hosts.len() > 1 || (hosts.is_empty() && request.minor == 1), 400);
    wrong(hosts.iter().any(|host| !is_authority(host)), 400);
    wrong(values(request, "expect").any(|value| !value.eq_ignore_ascii_case(b"100-continue")), 417);

    let lengths: Vec<_> = values(request, "content-length").collect();
    let has_coding = values(request, "transfer-encoding").next().is_some();
    wrong(lengths.len() > 1 || (has_coding && !lengths.is_empty()), 400);
    for length in &lengths {
        wrong(decimal(length).is_none(), 400);
        wrong(decimal(length).is_some_and(|length| length > limits.body_bytes_max.into()), 413);
    }
    let wants_length = ["POST", "PUT", "PATCH"].contains(&request.method.as_str());
    wrong(request.minor == 0 && wants_length && lengths.is_empty() && !has_coding, 411);
    wrong(request.minor == 0 && has_coding, 400);
    if has_coding {
        let mut codings = Vec::new();
        for line in values(request, "transfer-encoding") {
            let text = String::from_utf8_lossy(line).to_ascii_lowercase();
            let items = text.split(',').map(|item| item.trim_matches([' ', '\t']).to_string());
            let items: Vec<String> = items.filter(|item| !item.is_empty()).collect();
            wrong(items.is_empty(), 400);
            codings.extend(items);
        }
        let chunked = codings.iter().filter(|coding| *coding == "chunked").count();
        let is_last = codings.last().is_some_and(|coding| coding == "chunked");
        wrong(!is_last || chunked > 1, 400);
        wrong(is_last && codings.len() > 1, 501);
    }
    if codes.is_empty() { Ok(()) } else { Err(codes) }
}

/// Parses digits (RFC 9110 §8.6); numbers that do not fit are as good as the largest.
fn decimal(value: &[u8]) -> Option<u128> {
    let text = str::from_utf8(value).ok().filter(|text| !text.is_empty())?;
    let is_number = text.chars().all(|char| char.is_ascii_digit());
    is_number.then(|| text.trim_start_matches('0')).map(|digits| match digits.len() {
        0 => 0,
        1..=30 => digits.parse().expect("a number"),
        _ => u128::MAX,
    })
}

/// Whether this is a target (RFC 9112 §3.2).
fn is_target(method: &str, target: &str) -> bool {
    if !target.is_ascii() {
        return false;
    }
    if method == "CONNECT" {
        let Some((host, port)) = target.rsplit_once(':') else { return false };
        return !host.is_empty() && !port.is_empty() && is_authority(target.as_bytes());
    }
    if target == "*" {
        return method == "OPTIONS";
    }
    let after_scheme = match target.find("://") {
        _ if target.starts_with('/') => None,
        Some(at) if ["http", "https"].contains(&target[..at].to_ascii_lowercase().as_str()) => Some(at + 3),
        _ => return false,
    };
    let rest = &target[after_scheme.unwrap_or(0)..];
    let path_start = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(path_start);
    if after_scheme.is_some()
        && (authority.split(':').next() == Some("") || !is_authority(authority.as_bytes()))
    {
        return false;
    }
    let path = rest.split('?').next().unwrap_or("");
    !rest.contains('#') && !path.contains('\\') && has_escapes(path)
}

/// Whether each `%` is followed by two digits, which are not both zero.
fn has_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let digits: String = after.chars().take(2).collect();
        digits.len() == 2 && digits.chars().all(|digit| digit.is_ascii_hexdigit()) && digits != "00"
    })
}

/// Whether this is an authority without user information (RFC 3986 §3.2); a port has five digits at most.
fn is_authority(value: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(value) else { return false };
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(char);
    let (host, port) = match text.rfind(':') {
        Some(at) if !text[at..].contains(']') => (&text[..at], &text[at + 1..]),
        _ => (text, ""),
    };
    let is_port = port.len() <= 5 && port.chars().all(|char| char.is_ascii_digit());
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match literal {
        Some(literal) if literal.to_ascii_lowercase().starts_with('v') => {
            literal[1..].split_once('.').is_some_and(|(version, address)| {
                let is_version = !version.is_empty() && version.chars().all(|char| char.is_ascii_hexdigit());
                let is_address = |address: &str| address.chars().all(|char| is_plain(char) || char == ':');
                is_version && !address.is_empty() && is_address(address)
            })
        }
        Some(literal) => is_ipv6(literal),
        None => host.chars().all(|char| is_plain(char) || char == '%') && has_escapes(host),
    };
    is_port && is_host
}

/// Whether this is an IPv6 address (RFC 3986 §3.2.2, described in words in RFC 4291 §2.2): eight groups, of
/// which the last two can be an address of version 4, and `::` once for one group of zeros or more.
fn is_ipv6(text: &str) -> bool {
    // How many groups of 16 bits these are.
    let groups = |text: &str, is_last: bool| -> Option<usize> {
        let parts: Vec<&str> = if text.is_empty() { Vec::new() } else { text.split(':').collect() };
        let mut count = 0;
        for (at, part) in parts.iter().enumerate() {
            let is_hex = (1..=4).contains(&part.len()) && part.chars().all(|char| char.is_ascii_hexdigit());
            count += match is_hex {
                true => 1,
                false if is_last && at + 1 == parts.len() && is_ipv4(part) => 2,
                false => return None,
            };
        }
        Some(count)
    };
    match text.split_once("::") {
        Some((before, after)) => {
            matches!((groups(before, false), groups(after, true)), (Some(a), Some(b)) if a + b <= 7)
        }
        None => groups(text, true) == Some(8),
    }
}

fn is_ipv4(text: &str) -> bool {
    let is_octet = |octet: &str| {
        (1..=3).contains(&octet.len())
            && octet.chars().all(|char| char.is_ascii_digit())
            && (octet.len() == 1 || !octet.starts_with('0'))
            && octet.parse::<u16>().is_ok_and(|octet| octet <= 255)
    };
    text.split('.').count() == 4 && text.split('.').all(is_octet)
}

/// Reads chunked content (RFC 9112 §7.1), and returns it with the bytes that it takes with its framing.
fn read_chunks(input: &[u8], limits: &Limits) -> Result<Option<(Vec<u8>, usize)>, Wrong> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let Some((size, line)) = read_chunk_line(&input[at..])? else {
            return Ok(None);
        };
        at += line;
        if size == 0 {
            break;
        }
        if content.len() as u128 + size > limits.body_bytes_max.into() {
            return Err(vec![413]);
        }
        let end = at + size as usize;
        let Some(data) = input.get(at..end) else { return Ok(None) };
        content.extend_from_slice(data);
        at = end;
        match expect(&input[at..], b"\r\n")? {
            true => at += 2,
            false => return Ok(None),
        }
    }
    loop {
        if input[at..].starts_with(b"\r") {
            return Ok(expect(&input[at..], b"\r\n")?.then_some((content, at + 2)));
        }
        let Some(line) = read_trailer(&input[at..])? else { return Ok(None) };
        at += line;
    }
}

/// Whether this comes next; an error, unless it is only not there yet.
fn expect(input: &[u8], expected: &[u8]) -> Result<bool, Wrong> {
    let shared = input.len().min(expected.len());
    if input[..shared] == expected[..shared] { Ok(shared == expected.len()) } else { Err(vec![400]) }
}

/// Reads a chunk's size, and returns it with the length of its line.
fn read_chunk_line(input: &[u8]) -> Result<Option<(u128, usize)>, Wrong> {
    let digits = input.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits > 16 {
        return Err(vec![400]);
    }
    let Some(next) = input.get(digits) else { return Ok(None) };
    let extension = match next {
        _ if digits == 0 => return Err(vec![400]),
        b';' => input[digits + 1..].iter().take_while(|byte| **byte != b'\r').count() + 1,
        b'\r' => 0,
        _ => return Err(vec![400]),
    };
    let text = &input[digits..digits + extension];
    let is_complete = digits + extension < input.len();
    if extension > 257 || !has_extensions(text, is_complete) {
        return Err(vec![400]);
    }
    let size = u128::from_str_radix(str::from_utf8(&input[..digits]).expect("digits"), 16).expect("a size");
    let end = digits + extension;
    Ok(expect(&input[end..], b"\r\n")?.then_some((size, end + 2)))
}

/// Whether a text is empty, or consists of extensions that each begin with a semicolon (RFC 9112 §7.1.1).
/// `is_complete` decides about an extension that has only begun.
fn has_extensions(text: &[u8], is_complete: bool) -> bool {
    let is_blank = |byte: &&u8| **byte == b' ' || **byte == b'\t';
    let count = |rest: &[u8], what: &dyn Fn(&&u8) -> bool| rest.iter().take_while(what).count();
    let is_token = |byte: &&u8| is_tchar(**byte);
    let mut rest = text;
    while let [b';', behind @ ..] = rest {
        rest = &behind[count(behind, &is_blank)..];
        let name = count(rest, &is_token);
        if name == 0 {
            return rest.is_empty() && !is_complete;
        }
        let behind = &rest[name..];
        let after_blanks = &behind[count(behind, &is_blank)..];
        let mut last = behind;
        if let [b'=', behind @ ..] = after_blanks {
            let value = &behind[count(behind, &is_blank)..];
            let length = match value {
                [] => return !is_complete,
                [b'"', quoted @ ..] => match quoted_length(quoted) {
                    Quoted::Open => return !is_complete,
                    Quoted::Wrong => return false,
                    Quoted::Closed(length) => 1 + length,
                },
                _ => count(value, &is_token),
            };
            if length == 0 {
                return false;
            }
            last = &value[length..];
        }
        let behind_blanks = &last[count(last, &is_blank)..];
        match behind_blanks {
            [] => return last.is_empty() || !is_complete,
            [b';', ..] => rest = behind_blanks,
            _ => return false,
        }
    }
    rest.is_empty()
}

/// A string whose first quote was read.
enum Quoted {
    /// The string ends after this many bytes.
    Closed(usize),
    /// The string does not end here.
    Open,
    /// A byte in the string is not allowed.
    Wrong,
}

/// Finds the end of a quoted string (RFC 9110 §5.6.4).
fn quoted_length(text: &[u8]) -> Quoted {
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        let byte = match byte {
            b'"' => return Quoted::Closed(at + 1),
            b'\\' => match bytes.next() {
                None => return Quoted::Open,
                Some((_, escaped)) => escaped,
            },
            byte => byte,
        };
        if (*byte < b' ' && *byte != b'\t') || *byte == 0x7f {
            return Quoted::Wrong;
        }
    }
    Quoted::Open
}

/// Returns the length of a line of the trailer section.
fn read_trailer(input: &[u8]) -> Result<Option<usize>, Wrong> {
    let name = input.iter().take_while(|byte| is_tchar(**byte)).count();
    match input.get(name) {
        None => return Ok(None),
        Some(b':') if name > 0 => {}
        Some(_) => return Err(vec![400]),
    }
    let is_value = |byte: &&u8| **byte == b'\t' || (**byte >= b' ' && **byte != 0x7f);
    let end = name + 1 + input[name + 1..].iter().take_while(is_value).count();
    Ok(expect(&input[end..], b"\r\n")?.then_some(end + 2))
}

/// Encodes a request in the one way that nobody can misread: a length where there is content, and no coding.
pub fn encode(request: &Request) -> Vec<u8> {
    let mut bytes =
        format!("{} {} HTTP/1.{}\r\n", request.method, request.target, request.minor).into_bytes();
    for (name, value) in &plain(request).fields {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    if let Some(content) = &request.content {
        bytes.extend(format!("Content-Length: {}\r\n", content.len()).bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(request.content.iter().flatten());
    bytes
}

/// Returns the request without the fields that only frame it.
pub fn plain(request: &Request) -> Request {
    let frames =
        |name: &str| ["content-length", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str());
    let fields = request.fields.iter().filter(|(name, _)| !frames(name)).cloned().collect();
    Request { fields, ..request.clone() }
}
