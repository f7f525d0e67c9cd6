//! Answers of Weir's own: short error pages, redirects, fixed responses.
//!
//! An error is a line of text, a small page, or JSON, as the client's Accept prefers; it names the request, so that
//! the line in the log can be found.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::head::Refusal;
use super::stream::ClientStream;

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
    /// What the client can do about an error of Weir's own: a page may stand in its place.
    pub error: Option<Cow<'static, str>>,
}

impl Answer {
    /// An error page. `detail` is for the client: it says what the client can act on, and nothing of the inside.
    pub fn error(status: u16, detail: impl Into<Cow<'static, str>>, request_id: &str, accept: Option<&[u8]>) -> Self {
        let (title, error) = (title(status), detail.into());
        let detail = &*error;
        let (kind, body) = match preferred(accept) {
            Kind::Json => (
                "application/json",
                format!(
                    "{{\"status\":{status},\"error\":{},\"message\":{},\"request_id\":{}}}\n",
                    json(title),
                    json(detail),
                    json(request_id)
                ),
            ),
            Kind::Html => (
                "text/html; charset=utf-8",
                format!(
                    "<!doctype html>\n<title>{status} {title}</title>\n<h1>{title}</h1>\n<p>{}</p>\n<p><small>{}</small></p>\n",
                    html(detail),
                    html(request_id)
                ),
            ),
            Kind::Text => ("text/plain; charset=utf-8", format!("{status} {title}: {detail}\nrequest {request_id}\n")),
        };
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static(kind))];
        Self { status, headers, body: body.into(), error: Some(error) }
    }

    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), error: None }
    }

    pub fn redirect(status: u16, location: HeaderValue) -> Self {
        Self { headers: vec![(LOCATION, location)], ..Self::empty(status) }
    }

    /// The head, ready for edits. Informational and 204, 304 answers have no length (RFC 9110 §8.6).
    pub fn head(&self) -> pingora::Result<ResponseHeader> {
        let mut head = ResponseHeader::build(self.status, Some(self.headers.len() + 2))?;
        for (name, value) in &self.headers {
            head.append_header(name.clone(), value.clone())?;
        }
        if !matches!(self.status, 204 | 304) {
            head.insert_header(CONTENT_LENGTH, self.body.len())?;
        }
        Ok(head)
    }
}

/// Sends a head (edited meanwhile) and its body. Returns how many bytes of body went out.
pub async fn send(session: &mut Session, head: ResponseHeader, body: Bytes) -> pingora::Result<usize> {
    let bodiless = body.is_empty()
        || session.req_header().method == http::Method::HEAD
        || matches!(head.status.as_u16(), 204 | 304);
    session.write_response_header(Box::new(head), bodiless).await?;
    if bodiless {
        // A stream of HTTP/2 is at its end only when that is said.
        session.write_response_body(None, true).await?;
        return Ok(0);
    }
    let length = body.len();
    session.write_response_body(Some(body), true).await?;
    Ok(length)
}

/// The answer to a head that is not worth a session, as the last on its connection.
pub fn refuse(stream: &mut ClientStream, refusal: Refusal) {
    let Refusal { status, reason } = refusal;
    let title = title(status);
    let body = format!("{status} {title}: {reason}\n");
    let mut answer = format!(
        "HTTP/1.1 {status} {title}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // The refused head has not been taken.
    if !stream.read_ahead().starts_with(b"HEAD ") {
        answer.push_str(&body);
    }
    stream.write_buffer().extend_from_slice(answer.as_bytes());
}

/// What a client is told of a request that could not be served.
pub fn failure_detail(status: u16) -> &'static str {
    match status {
        400 => "the request is malformed",
        408 => "the request body did not arrive in time",
        413 => "the request body is larger than the limit",
        502 => "the server behind this proxy could not be reached, or broke off",
        503 => "no server behind this proxy can take the request now",
        504 => "the server behind this proxy did not answer in time",
        _ => "the request could not be served",
    }
}

pub fn title(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error")
}

enum Kind {
    Json,
    Html,
    Text,
}

/// The first of the kinds we have that Accept names; q-values are for content that is worth negotiating.
fn preferred(accept: Option<&[u8]>) -> Kind {
    let Some(accept) = accept.and_then(|value| std::str::from_utf8(value).ok()) else { return Kind::Text };
    for range in accept.split(',') {
        match range.split(';').next().unwrap_or_default().trim() {
            "application/json" | "application/problem+json" => return Kind::Json,
            "text/html" | "application/xhtml+xml" => return Kind::Html,
            "text/plain" => return Kind::Text,
            _ => {}
        }
    }
    Kind::Text
}

/// The value of Accept, for [`Answer::error`].
pub fn accept(session: &Session) -> Option<&[u8]> {
    session.req_header().headers.get(ACCEPT).map(HeaderValue::as_bytes)
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(accept: &'static str) -> String {
        String::from_utf8(Answer::error(503, "no <endpoint>", "abc", Some(accept.as_bytes())).body.to_vec()).unwrap()
    }

    #[test]
    fn an_error_page_comes_as_accept_prefers() {
        assert!(body("application/json").contains("\"message\":\"no <endpoint>\""));
        assert!(body("text/html,application/xhtml+xml,*/*;q=0.8").contains("no &lt;endpoint&gt;"));
        assert_eq!(body("*/*"), "503 Service Unavailable: no <endpoint>\nrequest abc\n");
    }
}
