//! `mirror`, in words; acting is `full::mirror`.

use crate::model::{MirroredBody, Percent};
use crate::snapshot::mirror::Mirror;

/// For `explain`, which copies nothing.
pub fn in_words(mirror: &Mirror) -> String {
    let definition = mirror.definition();
    let share = match definition.percentage {
        Percent(100) => String::new(),
        Percent(share) => format!("{share}% of the time "),
    };
    let body = match definition.request_body {
        MirroredBody::Send => "",
        MirroredBody::Omit => ", without its body",
    };
    let host = definition.host.as_ref().map_or_else(String::new, |host| format!(", as {host}"));
    format!("{share}a copy goes to upstream {}{host}{body}; nobody waits for it", definition.upstream)
}
