//! Shows bytes to people: escaped, line by line, cut short, and without the values of fields that are secret.

/// Most lines of bytes that are shown of one system call. 16: a head has a dozen.
const LINES_MAX: usize = 16;
/// Most characters of such a line. 100: it fits a terminal.
const LINE_CHARS_MAX: usize = 100;
/// Longest name that is compared, in bytes; of a longer one its end is. 128: no name of a secret is as long, not even with an
/// escape for each of its letters.
const NAME_BYTES_MAX: usize = 128;
/// Parts of names of fields and parameters whose value is nobody's business.
const SECRETS: [&str; 13] = [
    "authorization",
    "cookie",
    "apikey",
    "api-key",
    "api_key",
    "jwt",
    "assertion",
    "signature",
    "credential",
    "secret",
    "token",
    "passw",
    "session",
];
/// Whole names of parameters whose value is nobody's business: they are too short to be looked for within others.
const SECRET_PARAMETERS: [&str; 7] = ["key", "sig", "sid", "code", "pwd", "pass", "auth"];
/// Fewest equal bytes that are shown as one and their number. 32: no word and no line of a picture in letters is shortened.
const RUN_BYTES_MIN: usize = 32;
/// Shown in place of a secret value.
const MASK: &str = "(not shown)";

/// Shows what flows one way through a connection. It knows where in a line it stands, so a value stays secret
/// wherever the bytes are cut into pieces. It does not ask what the bytes are: a name before a colon is masked to the end of
/// the line, be it in a head or in JSON, and one before an equals sign to the end of the parameter, be it in a target, in a
/// field, or in the content of a form.
#[derive(Debug, Default)]
pub(super) struct Shown {
    place: Place,
    line: Line,
    /// The last name that has come, in lower case; with a blank behind it once it is over.
    name: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// The bytes are shown.
    #[default]
    Open,
    /// The rest of the line is secret; the mask stands for all of it.
    SecretLine { is_masked: bool },
    /// A line begins after one that is secret, and may go on with it.
    AfterSecretLine { is_masked: bool },
    /// The value of a parameter is secret; the mask stands for all of it.
    SecretParameter { is_masked: bool },
}

/// The form of a line, as far as it says where a parameter ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Begun,
    /// The line begins with a word and a blank, as the first one of a request does: a blank ends a parameter.
    Words,
    /// The line is of another form: a blank may be in the value of a parameter.
    Other,
}

impl Shown {
    /// Returns a method and a target as they are shown, cut short.
    pub fn request(method: &str, target: &[u8]) -> String {
        let bytes = method.bytes().chain([b' ']).chain(target.iter().copied());
        let (lines, left_out) = Shown::default().lines(bytes);
        lines.concat() + if left_out > 0 { "…" } else { "" }
    }

    /// Returns the lines that show these bytes, and how many of the bytes they leave out.
    pub fn lines(&mut self, bytes: impl Iterator<Item = u8>) -> (Vec<String>, usize) {
        let bytes: Vec<u8> = bytes.collect();
        let mut lines = vec![String::new()];
        let mut left_out = 0;
        // Bytes that are all the same are shown once.
        for run in bytes.chunk_by(|one, next| one == next) {
            let (first, is_long) = (run[0], run.len() >= RUN_BYTES_MIN);
            let mut text = String::new();
            for byte in run {
                match self.pass(*byte) {
                    Visible::Byte if is_long && !text.is_empty() => {}
                    Visible::Byte => escape(*byte, &mut text),
                    Visible::Mask => text.push_str(MASK),
                    Visible::No => {}
                }
            }
            if is_long && !text.is_empty() && text != MASK {
                text = format!("{text} ({} times)", grouped(run.len()));
            }
            let count = lines.len();
            match lines.last_mut() {
                Some(line) if count <= LINES_MAX && line.len() < LINE_CHARS_MAX => line.push_str(&text),
                Some(line) if count <= LINES_MAX && first == b'\n' => line.push('…'),
                Some(_) | None => left_out += run.len(),
            }
            if first == b'\n' && count <= LINES_MAX {
                lines.push(String::new());
            }
        }
        lines.retain(|line| !line.is_empty());
        (lines, left_out)
    }

    /// Takes note of a byte, and says how it is shown.
    fn pass(&mut self, byte: u8) -> Visible {
        match (self.place, byte) {
            (Place::SecretLine { is_masked }, b'\n') => {
                self.place = Place::AfterSecretLine { is_masked };
                Visible::Byte
            }
            (Place::SecretLine { .. }, b'\r') => Visible::Byte,
            // A line that begins with a blank goes on with the value before (RFC 9112 §5.2): what was secret stays so.
            (Place::SecretLine { is_masked }, _) | (Place::AfterSecretLine { is_masked }, b' ' | b'\t') => {
                self.place = Place::SecretLine { is_masked: true };
                if is_masked { Visible::No } else { Visible::Mask }
            }
            (Place::AfterSecretLine { .. }, _) => {
                self.begin_line();
                self.pass_openly(byte);
                Visible::Byte
            }
            (Place::SecretParameter { is_masked }, _) => {
                let is_over =
                    matches!(byte, b'&' | b'\r' | b'\n') || byte == b' ' && self.line == Line::Words;
                if is_over {
                    self.place = Place::Open;
                    self.pass_openly(byte);
                    return Visible::Byte;
                }
                self.place = Place::SecretParameter { is_masked: true };
                if is_masked { Visible::No } else { Visible::Mask }
            }
            (Place::Open, _) => {
                self.pass_openly(byte);
                Visible::Byte
            }
        }
    }

    /// Takes note of a byte that is shown.
    fn pass_openly(&mut self, byte: u8) {
        if self.line == Line::Begun {
            self.line = match byte {
                b' ' => Line::Words,
                b'=' | b':' => Line::Other,
                _ => Line::Begun,
            };
        }
        match byte {
            b'\n' => self.begin_line(),
            b':' if self.is_secret() => self.place = Place::SecretLine { is_masked: false },
            b'=' if self.is_secret() || self.is_secret_parameter() => {
                self.place = Place::SecretParameter { is_masked: false };
            }
            b' ' | b'\t' | b'"' | b'\'' if !self.name.is_empty() => {
                if !self.name.ends_with(b" ") {
                    self.name.push(b' ');
                }
            }
            b'-' | b'_' | b'.' | b'%' | b'\\' | b'[' | b']' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                if self.name.ends_with(b" ") {
                    self.name.clear();
                }
                if self.name.len() == NAME_BYTES_MAX {
                    self.name.remove(0);
                }
                self.name.push(byte.to_ascii_lowercase());
            }
            _ => self.name.clear(),
        }
    }

    fn begin_line(&mut self) {
        *self = Shown::default();
    }

    fn is_secret(&self) -> bool {
        let name = self.decoded_name();
        SECRETS.iter().any(|secret| name.contains(secret))
    }

    fn is_secret_parameter(&self) -> bool {
        let name = self.decoded_name();
        SECRET_PARAMETERS.iter().any(|secret| name.trim_ascii_end() == *secret)
    }

    /// The name as whoever receives it reads it: `%74oken` is a token, too, and in JSON `\u0074oken`.
    fn decoded_name(&self) -> String {
        let mut name = String::new();
        let mut rest = &*self.name;
        while let [first, behind @ ..] = rest {
            let escaped = match (first, behind) {
                (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|digits| (digits, 3)),
                (b'\\', [b'u', b'0', b'0', high, low, ..]) => {
                    hex(*high).zip(hex(*low)).map(|digits| (digits, 6))
                }
                _ => None,
            };
            let (byte, used) = escaped.map_or((*first, 1), |((high, low), used)| (high << 4 | low, used));
            name.push(char::from(byte.to_ascii_lowercase()));
            rest = &rest[used..];
        }
        name
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

/// Adds a byte as it can be printed anywhere: quotes are left alone.
fn escape(byte: u8, into: &mut String) {
    match byte {
        b'"' | b'\'' => into.push(char::from(byte)),
        _ => into.extend(byte.escape_ascii().map(char::from)),
    }
}

/// A number in groups of three digits.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// How a byte is shown.
enum Visible {
    /// The byte is shown as it is.
    Byte,
    /// The mask is shown, for all of the value.
    Mask,
    /// Nothing is shown.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut shown = Shown::default();
        pieces.iter().map(|piece| shown.lines(piece.iter().copied()).0.concat()).collect()
    }

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: sid=hush\r\n more hush\r\nX-API-Key:hush\r\n\
        authorization: Basic hush\r\nAccept: */*\r\n\r\n";

    #[test]
    fn values_of_secret_fields_are_not_shown_wherever_the_bytes_are_cut() {
        let whole = shown(&[HEAD]);
        assert!(whole.contains(r"GET / HTTP/1.1\r\nHost: a\r\nCookie:(not shown)\r\n"), "{whole}");
        assert!(whole.ends_with(r"authorization:(not shown)\r\nAccept: */*\r\n\r\n"), "{whole}");
        for cut in 0..=HEAD.len() {
            let text = shown(&[&HEAD[..cut], &HEAD[cut..]]);
            assert!(!text.contains("hush") && text.contains("Accept: */*"), "{cut}: {text}");
        }
        let bytes: Vec<&[u8]> = HEAD.chunks(1).collect();
        assert_eq!(shown(&bytes), whole);
    }

    #[test]
    fn secrets_are_known_by_their_names_in_fields_targets_forms_and_json() {
        for (bytes, expected) in [
            ("apikey: hush\r\n", "apikey:(not shown)"),
            ("X-Goog-Iap-Jwt-Assertion: hush\r\n", "X-Goog-Iap-Jwt-Assertion:(not shown)"),
            ("GET /a?access_token=hush&b=1 HTTP/1.1\r\n", "GET /a?access_token=(not shown)&b=1 HTTP/1.1"),
            ("GET /a?x=1&sig=hush HTTP/1.1\r\n", "GET /a?x=1&sig=(not shown) HTTP/1.1"),
            ("Referer: http://a/?b=1&session_id=hush\r\n", "Referer: http://a/?b=1&session_id=(not shown)"),
            ("GET /?%74oken=hush&a=1 HTTP/1.1\r\n", "/?%74oken=(not shown)&a=1 HTTP/1.1"),
            (
                "GET /?a=1&%50%41%53%53=hush&%6Bey=hush HTTP/1.1",
                "&%50%41%53%53=(not shown)&%6Bey=(not shown) HTTP/1.1",
            ),
            ("GET /?%61%63%63%65%73%73%5F%74%6F%6B%65%6E=hush&%zz=1 HTTP/1.1", "=(not shown)&%zz=1 HTTP/1.1"),
            ("Host: a\r\n\r\nuser=me&password=hush hush&ok=1", "user=me&password=(not shown)&ok=1"),
            ("user=my name&user%5Bpassword%5D=hush hush", "user=my name&user%5Bpassword%5D=(not shown)"),
            ("{\"user\": \"me\", \"api_key\" : \"hush\"}", "{\"user\": \"me\", \"api_key\" :(not shown)"),
            (r#"{"\u0074oken": "hush"}"#, r#"{"\\u0074oken":(not shown)"#),
            (r#"{"access_\u0054\u006F\u006b\u0065\u006E" : "hush"}"#, " :(not shown)"),
            (r#"{"a": "{\"password\": \"hush\"}"}"#, ":(not shown)"),
            (r#"{"\u00zz": "ok"}"#, r#"": "ok""#),
            (
                "GET /?key=1&monkey=2&code=hush&decode=3 HTTP/1.1",
                "key=(not shown)&monkey=2&code=(not shown)&decode=3",
            ),
            ("Vary: Cookie, Authorization\r\nAccept: */*", "Vary: Cookie, Authorization\\r\\nAccept: */*"),
        ] {
            for cut in 0..=bytes.len() {
                let text = shown(&[&bytes.as_bytes()[..cut], &bytes.as_bytes()[cut..]]);
                assert!(text.contains(expected) && !text.contains("hush"), "{cut}: {text}");
            }
        }
        let target = [&b"/?token=hush&x="[..], &b"yz".repeat(200)].concat();
        let request = Shown::request("GET", &target);
        assert!(request.starts_with("GET /?token=(not shown)&x=yzyz") && request.ends_with('…'), "{request}");
        assert!(request.len() < LINE_CHARS_MAX + 5, "{request}");
    }

    #[test]
    fn bytes_are_escaped_and_cut_short() {
        let lines = |bytes: &[u8]| Shown::default().lines(bytes.iter().copied());
        assert_eq!(lines(b"\x1b[31m\xff\x00\"x\"\r\n"), (vec![r#"\x1b[31m\xff\x00"x"\r\n"#.to_string()], 0));
        assert_eq!(lines(&[b'x'; 70_000]), (vec!["x (70,000 times)".to_string()], 0));
        let (long, left_out) = lines(&b"xy".repeat(1_000));
        assert_eq!((long[0].len(), left_out), (LINE_CHARS_MAX, 2_000 - LINE_CHARS_MAX));
        let (long, left_out) = lines(&[&b"xy".repeat(60)[..], b"\nz"].concat());
        assert_eq!((long.len(), left_out, &*long[1]), (2, 120 - LINE_CHARS_MAX, "z"));
        assert!(long[0].ends_with("xy…"), "{long:?}");
        let (many, left_out) = lines(&b"a\n".repeat(1_000));
        assert_eq!((many.len(), left_out), (LINES_MAX, 2 * (1_000 - LINES_MAX)));
    }
}
