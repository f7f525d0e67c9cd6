//! Where a record must be written so that it is seen under a name: at the end of the name's CNAMEs.
//!
//! ```text
//! _acme-challenge.a.test ──CNAME──► a.challenges.test      the key for challenges.test is all that is given away
//! ```

use std::net::SocketAddr;

use super::lookup::Lookup;

/// What resolvers follow; a longer chain is a loop.
const MAX_HOPS: usize = 8;

/// The name that `name` is an alias of, or itself. `resolvers` empty: the system's.
///
/// Where DNS fails, the chain ends: whoever writes the record, or waits for it, meets the failure and can name it.
pub async fn target(name: &str, resolvers: &[SocketAddr]) -> String {
    let Ok(lookup) = Lookup::new(resolvers) else { return name.into() };
    let mut reached = name.to_owned();
    for _ in 0..MAX_HOPS {
        match lookup.alias(&reached).await {
            Ok(Some(next)) if is_host_like(&next) => reached = next,
            Ok(_) | Err(_) => return reached,
        }
    }
    name.into()
}

/// What comes from DNS goes into URLs and command lines.
fn is_host_like(name: &str) -> bool {
    let label = |label: &str| {
        let of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && !label.starts_with('-') && label.chars().all(of_name)
    };
    name.split('.').all(label)
}
