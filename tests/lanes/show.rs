//! A case in words: such as can be read, and put into the list of known ones.

use std::fmt::Write;

use super::case::{Case, Reply, Step};

/// Rust's way to write the bytes.
pub fn escaped(bytes: &[u8]) -> String {
    const LONGEST: usize = 1500;
    let shown = &bytes[..bytes.len().min(LONGEST)];
    let more = if bytes.len() > LONGEST { format!(" … ({} bytes)", bytes.len()) } else { String::new() };
    format!("b\"{}\"{more}", shown.escape_ascii())
}

pub fn case(case: &Case) -> String {
    let mut text = format!(
        "{:?}, {} answers, {:?}, afterwards {:?}, pool {:?}, {:?}\n",
        case.client, case.answers, case.ending, case.afterwards, case.pool, case.pace
    );
    for piece in &case.pieces {
        let _ = writeln!(text, "  sends {:?}: {}", piece.when, escaped(&piece.bytes));
    }
    for (number, reply) in case.replies.iter().enumerate() {
        let _ = writeln!(text, "  reply {number} {:?}: {}", reply.begins, steps(reply));
    }
    text
}

fn steps(reply: &Reply) -> String {
    let words = reply.steps.iter().map(|step| match step {
        Step::Send(bytes) => format!("Send({})", escaped(bytes)),
        step => format!("{step:?}"),
    });
    words.collect::<Vec<_>>().join(", ")
}
