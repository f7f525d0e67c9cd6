//! The hosts file. It comes before DNS and before the search list, as everywhere else, and is read anew each
//! time, so that an edit needs no restart.

use std::net::IpAddr;

pub(super) const PATH: &str = "/etc/hosts";

/// The addresses of a name; its case and trailing dot don't matter.
pub(super) fn addresses_in(hosts: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    hosts.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_stand_on_several_lines_among_others() {
        let hosts = "# 10.0.0.9 api\n127.0.0.1\tlocalhost api # db\n\n::1 API\nrubbish api\n10.0.0.2 api.test";
        let found: Vec<String> = addresses_in(hosts, "api.").iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["127.0.0.1", "::1"]);
        assert!(addresses_in(hosts, "db").is_empty());
    }
}
