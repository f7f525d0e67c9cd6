//! What must hold of every request that reaches the origin: read strictly, it is one, and everybody would read it so.
//!
//! ```text
//! Received (as a lenient reader took it) ──► its bytes, read strictly ──► what is wrong with them
//! ```

use crate::support::Received;

/// Fields that Weir adds to each request that it makes: what lacks them was not made by Weir.
const MADE_BY_WEIR: [&str; 2] = ["x-request-id", "x-forwarded-for"];

/// Of which there may be no imitation.
const OWN: [&str; 5] = ["content-length", "transfer-encoding", "x-request-id", "x-forwarded-for", "x-real-ip"];

/// What is wrong with it, if anything is.
pub fn broken(request: &Received, is_meant: impl Fn(&str) -> bool) -> Option<String> {
    let wrong = read(&request.raw, is_meant).err()?;
    Some(format!("{wrong}: {}", request.raw.escape_ascii()))
}

fn read(raw: &[u8], is_meant: impl Fn(&str) -> bool) -> Result<(), String> {
    let end = raw.windows(4).position(|four| four == b"\r\n\r\n").ok_or("no end of the head")?;
    // Values may hold bytes beyond ASCII, which stand for themselves.
    let head: String = raw[..end].iter().copied().map(char::from).collect();
    if head.replace("\r\n", "").contains(|c: char| c.is_ascii_control() && c != '\t') {
        return Err("the head holds control bytes".into());
    }
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { return Err("the request line has not three words".into()) };
    if !is_token(method) {
        return Err("the method is no token".into());
    }
    if !is_meant(target) {
        return Err(format!("nobody asked for {target}"));
    }
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("a field has no colon")?;
        if !is_token(name) {
            return Err(format!("{name:?} is no name of a field"));
        }
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let body_length = framing(&fields)?;
    match (body_length, &raw[end + 4..]) {
        (Some(length), body) if body.len() == length => Ok(()),
        (Some(length), body) => Err(format!("{} bytes of body for a length of {length}", body.len())),
        (None, body) => chunks(body),
    }
}

/// The body's length; none of chunks.
fn framing(fields: &[(String, String)]) -> Result<Option<usize>, String> {
    let values = |wanted: &str| -> Vec<&str> {
        fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect()
    };
    for name in MADE_BY_WEIR.iter().chain(&["host"]) {
        if values(name).len() != 1 {
            return Err(format!("{name} is there {} times", values(name).len()));
        }
    }
    // CGI and WSGI read one as the other.
    for (name, _) in fields.iter().filter(|(name, _)| name.contains('_')) {
        if OWN.contains(&name.replace('_', "-").as_str()) {
            return Err(format!("{name} passes for a field that is Weir's to set"));
        }
    }
    // Whoever switches to it is spoken with by a client directly.
    if values("upgrade").iter().any(|value| value.contains("h2c")) || !values("http2-settings").is_empty() {
        return Err("the client asks for HTTP/2 on this very connection".into());
    }
    match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => Ok(Some(0)),
        ([], ["chunked"]) => Ok(None),
        ([length], []) => match length.parse() {
            // Not `+5`, and not `05`, which some read as octal.
            Ok(number) if usize::to_string(&number) == *length => Ok(Some(number)),
            _ => Err(format!("{length:?} is no length that everybody reads alike")),
        },
        (lengths, codings) => Err(format!("more than one framing: {lengths:?} and {codings:?}")),
    }
}

/// No extension is Weir's business, and none goes on.
fn chunks(mut body: &[u8]) -> Result<(), String> {
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n").ok_or("no end of a chunk's size")?;
        let (digits, rest) = (&body[..end], &body[end + 2..]);
        let is_hexadecimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        let size = std::str::from_utf8(digits).ok().filter(|_| is_hexadecimal);
        let size =
            size.and_then(|digits| usize::from_str_radix(digits, 16).ok()).ok_or("a chunk's size is no number")?;
        if size == 0 {
            return if rest == b"\r\n" { Ok(()) } else { trailers(rest) };
        }
        body = rest.get(size..).and_then(|rest| rest.strip_prefix(b"\r\n")).ok_or("a chunk does not end with CRLF")?;
    }
}

fn trailers(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the trailers are no text")?;
    let lines = text.strip_suffix("\r\n\r\n").ok_or("the trailers have no end")?;
    for line in lines.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or("a trailer has no colon")?;
        if !is_token(name) || value.contains(|c: char| c.is_ascii_control() && c != '\t') {
            return Err("a trailer is no field".into());
        }
        if ["content-length", "transfer-encoding", "host"].contains(&name.to_ascii_lowercase().as_str()) {
            return Err(format!("{name} as a trailer"));
        }
    }
    Ok(())
}

fn is_token(text: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}
