//! Cases in which the lanes once differed, or both were wrong, at their least. They are played in every run.

use super::case::{Begins, Case, Ending, Piece, Reply, Step, When};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Name, and case.
pub fn cases() -> Vec<(&'static str, Case)> {
    let get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let chunked = |body: &str| format!("PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let of_reply = |name, reply: &str| (name, Case::plain(get, reply));
    let of_request = |name, request: &str| (name, Case::plain(request, OK));
    vec![
        of_reply("a version that is the origin's own", "HTTP/1.0 201 Created\r\nContent-Length: 0\r\n\r\n"),
        of_reply("a length said twice", "HTTP/1.1 504 No\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"),
        of_reply("a length said twice in one field", "HTTP/1.1 404 No\r\nContent-Length: 2, 2\r\n\r\nno"),
        of_reply(
            "a size with something else behind it",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 a=b\r\nd\r\n0\r\n\r\n",
        ),
        of_reply("a coding where there is no body", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
        of_reply(
            "a coding twice",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        of_reply(
            "a coding beside a length that is none",
            "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\nContent-Length: 1;\r\n\r\n0\r\n\r\n",
        ),
        of_reply(
            "a length that Connection names",
            "HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 0\r\n\r\n",
        ),
        of_reply(
            "a field that a second Connection names",
            "HTTP/1.1 204 No\r\nX-List: two\r\nConnection: keep-alive\r\nConnection: server, X-List\r\n\r\n",
        ),
        of_reply("an interim answer with framing", "HTTP/1.1 199 What\r\nTransfer-Encoding: chunked\r\n\r\n"),
        of_reply("an interim answer before what is none", "HTTP/1.1 199 What\r\n\r\njklmno\r\n"),
        of_reply("a switch of protocols that nobody asks for", "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        of_reply("a status below all statuses", "HTTP/1.1 099 No\r\n\r\n"),
        of_reply(
            "a size of seventeen digits in an answer",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nd\r\n00000000000000000\r\n\r\n",
        ),
        of_request("a size of seventeen digits", &chunked("1\r\nd\r\n00000000000000000\r\n\r\n")),
        of_request("a size with something else behind it", &chunked("1\r\nd\r\n1 a=b\r\ne\r\n0\r\n\r\n")),
        of_request("an empty line for a size", &chunked("1\r\nd\r\n\r\n0\r\n\r\n")),
        of_request("a quote in a query", "GET /?a=\"b\" HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        of_request("angle brackets in a path", "GET /<a> HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        of_request(
            "a second Connection that says close",
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
        ),
        ("a path that is no text", Case::plain(b"GET /\xe9 HTTP/1.1\r\nHost: a.test\r\n\r\n", OK)),
        of_request("a host that is spelt in two ways", "GET http://A.Test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        of_request("a user's name in the host", "GET / HTTP/1.1\r\nHost: user@a.test\r\n\r\n"),
        of_request("a scheme for a target", "GET http: HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        of_request("a HEAD request that is refused", "HEAD / HTTP/1.1\r\nHost: a.test\r\nX Y: z\r\n\r\n"),
        of_request("a field folded over two lines", "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\n b\r\n\r\n"),
        (
            "a client that leaves an upstream which says nothing",
            of_silence(&chunked("1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n")),
        ),
        (
            "a head that comes in pieces, to be answered without a body",
            in_pieces(&["H", "EAD / HTTP/1.1\r\nHost: a.test\r\n\r\n"]),
        ),
        ("an origin that leaves a body which does not come", unfinished()),
        (
            "a body that is too large and broken, of a request for a page of JSON without it",
            Case::plain(
                "HEAD /small HTTP/1.1\r\nHost: a.test\r\nAccept: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                    .to_owned() + &format!("50\r\n{}\r\nx", "a".repeat(80)),
                OK,
            ),
        ),
        ("an empty body in chunks, tried again", Case::plain(chunked("0\r\n\r\n"), "no answer\r\n\r\n")),
        ("requests in one packet, chunked ones among them", pipelined(&[&chunked("1\r\nd\r\n0\r\n\r\n"), get, get])),
    ]
}

/// The client says that it sends no more when nothing has come for a while.
fn of_silence(request: &str) -> Case {
    let replies = vec![Reply { begins: Begins::AtEnd, steps: Vec::new() }];
    Case { ending: Ending::HalfCloses, replies, ..Case::plain(request, "") }
}

/// The origin ends the connection when it has the head.
fn unfinished() -> Case {
    let replies = vec![Reply { begins: Begins::AtHead, steps: vec![Step::Close] }];
    let request = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nhalf";
    Case { ending: Ending::Leaves, replies, ..Case::plain(request, "") }
}

fn in_pieces(pieces: &[&str]) -> Case {
    let pieces = pieces.iter().map(|piece| Piece { bytes: piece.as_bytes().to_vec(), when: When::AtOnce });
    Case { pieces: pieces.collect(), ..Case::plain("", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") }
}

fn pipelined(requests: &[&str]) -> Case {
    let case = Case::plain(requests.concat(), OK);
    Case { answers: requests.len(), pieces: vec![Piece { when: When::AtOnce, ..case.pieces[0].clone() }], ..case }
}
