//! "Did you mean": the known name that is closest to a wrong one, where it is close enough to be meant.

/// A sentence of help for a name that is not among the known ones.
pub fn help_for<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    if name == "<<" {
        return Some("merge keys are not read; write the keys out, or name the whole value with an alias".into());
    }
    if let Some(closest) = closest(name, known.clone()) {
        return Some(format!("did you mean \"{closest}\"?"));
    }
    const MOST_LISTED: usize = 20;
    let listed: Vec<_> = known.clone().take(MOST_LISTED).collect();
    match (listed.len(), known.count() > MOST_LISTED) {
        (0, _) => None,
        (1, _) => Some(format!("there is only {}", listed[0])),
        (_, false) => Some(format!("there are {}", listed.join(", "))),
        (_, true) => Some(format!("there are {}, …", listed.join(", "))),
    }
}

/// At most one edit per three characters, never more than three and never all of them; case and the kind of separator do not count.
pub fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 100;
    if name.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['_', ' '], "-");
    let wanted = plain(name);
    let length = wanted.chars().count();
    let allowed = length.div_ceil(3).min(3).min(length.saturating_sub(1));
    let is_close = |candidate: &&str| strsim::osa_distance(&wanted, &plain(candidate)) <= allowed;
    // Of some that are equally far, the one with the same beginning is meant.
    let likeness = |candidate: &&str| strsim::jaro_winkler(&wanted, &plain(candidate));
    known
        .filter(|candidate| candidate.len() <= LONGEST)
        .filter(is_close)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["upstream", "max-connections", "respond", "ca"];

    #[test]
    fn a_close_name_is_suggested() {
        for (wrong, right) in [("upsteam", "upstream"), ("maxConnections", "max-connections"), ("responds", "respond")]
        {
            let help = help_for(wrong, KNOWN.into_iter()).unwrap();
            assert_eq!(help, format!("did you mean \"{right}\"?"));
        }
    }

    #[test]
    fn where_nothing_is_close_the_known_names_are_listed() {
        let help = help_for("zone", KNOWN.into_iter()).unwrap();
        assert_eq!(help, "there are upstream, max-connections, respond, ca");
        assert_eq!(help_for("z", ["a", "b"].into_iter()).unwrap(), "there are a, b");
        assert_eq!(help_for("zone", ["off"].into_iter()).unwrap(), "there is only off");
        assert_eq!(help_for("zone", std::iter::empty()), None);
    }
}
