//! Filters of three levels become one chain.
//!
//! ```text
//! listener ─┐
//! host ─────┼─► all that restrict access; of the rest the nearest of each kind ──► checks, edits, bounds
//! route ────┘
//! ```

use http::{HeaderName, HeaderValue};

use crate::model::{EditSet, Filter, FilterKind, HeaderEdits, HeaderTemplate, SecurityHeaders, TemplatePart};
use crate::snapshot::chain::{AppliedFilter, Check, Edit, EditValue, FilterChain};

/// Of two filters of one kind the nearest to the route stands; order within a level does not matter. Restrictions of
/// access add up: to restrict a route further must not open what its listener had closed.
pub fn chain(listener: &[Filter], host: &[Filter], route: &[Filter]) -> FilterChain {
    let mut nearest: Vec<(&Filter, &'static str)> = Vec::new();
    for (level, filters) in [("route", route), ("host", host), ("listener", listener)] {
        for filter in filters {
            let adds_up = matches!(filter.kind, FilterKind::Allow(_) | FilterKind::Deny(_));
            if adds_up || !nearest.iter().any(|(other, _)| other.kind.name() == filter.kind.name()) {
                nearest.push((filter, level));
            }
        }
    }
    nearest.sort_by_key(|(filter, _)| position(&filter.kind));
    let mut chain = FilterChain::default();
    for (filter, level) in nearest {
        add(&mut chain, &filter.kind);
        chain.applied.push(AppliedFilter { name: filter.kind.name(), level, origin: filter.origin.clone() });
    }
    chain
}

/// When a kind acts: who may come in, then where they are sent, then what is bounded, then what is edited.
/// `headers` comes last, so that what an operator wrote out stands above the preset.
fn position(kind: &FilterKind) -> u8 {
    match kind {
        FilterKind::Deny(_) => 0,
        FilterKind::Allow(_) => 1,
        FilterKind::HttpsRedirect(_) => 2,
        FilterKind::MaxBodySize(_) => 3,
        FilterKind::SecurityHeaders(_) => 4,
        FilterKind::Headers(_) => 5,
    }
}

fn add(chain: &mut FilterChain, kind: &FilterKind) {
    match kind {
        FilterKind::Deny(networks) => chain.checks.push(Check::Deny(networks.clone())),
        FilterKind::Allow(networks) => chain.checks.push(Check::Allow(networks.clone())),
        FilterKind::HttpsRedirect(redirect) => chain.checks.push(Check::HttpsRedirect(redirect.clone())),
        FilterKind::MaxBodySize(size) => chain.max_body = Some(size.0),
        FilterKind::SecurityHeaders(preset) => chain.response_edits.extend(security_headers(preset)),
        FilterKind::Headers(HeaderEdits { request, response }) => {
            chain.request_edits.extend(edits(request));
            chain.response_edits.extend(edits(response));
        }
    }
}

fn edits(set: &EditSet) -> impl Iterator<Item = Edit> {
    let removed = set.remove.iter().filter_map(|name| Some(Edit::Remove(header(name)?)));
    let replaced = set.set.iter().filter_map(|(name, value)| Some(Edit::Set(header(name)?, edit_value(value)?)));
    let added = set.add.iter().filter_map(|(name, value)| Some(Edit::Add(header(name)?, edit_value(value)?)));
    removed.chain(replaced).chain(added)
}

fn security_headers(preset: &SecurityHeaders) -> Vec<Edit> {
    let plain = [
        ("x-frame-options", &preset.frame_options),
        ("x-content-type-options", &preset.content_type_options),
        ("referrer-policy", &preset.referrer_policy),
        ("permissions-policy", &preset.permissions_policy),
        ("content-security-policy", &preset.content_security_policy),
    ];
    let fixed = |value: &str| HeaderValue::from_str(value).ok().map(EditValue::Static);
    let mut edits: Vec<Edit> = plain
        .into_iter()
        .filter_map(|(name, value)| Some(Edit::SetDefault(HeaderName::from_static(name), fixed(value.as_deref()?)?)))
        .collect();
    if let Some(value) = preset.hsts.as_deref().and_then(fixed) {
        edits.push(Edit::SetDefaultOnTls(HeaderName::from_static("strict-transport-security"), value));
    }
    edits
}

/// Names are checked where they are read; one that is none is left out rather than sent.
fn header(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok()
}

fn edit_value(template: &HeaderTemplate) -> Option<EditValue> {
    match template.0.as_slice() {
        [TemplatePart::Text(text)] => HeaderValue::from_str(text).ok().map(EditValue::Static),
        parts => Some(EditValue::Template(parts.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Origin;
    use crate::model::ByteSize;

    fn limit(size: u64) -> Filter {
        Filter { origin: Origin::builtin(), kind: FilterKind::MaxBodySize(ByteSize(size)) }
    }

    fn deny(network: &str) -> Filter {
        Filter { origin: Origin::builtin(), kind: FilterKind::Deny(vec![network.parse().unwrap()]) }
    }

    #[test]
    fn the_nearest_filter_of_a_kind_stands() {
        let chain = chain(&[limit(1)], &[limit(2)], &[limit(3)]);
        assert_eq!(chain.max_body, Some(3));
        assert_eq!(chain.applied.len(), 1);
    }

    #[test]
    fn restrictions_of_access_add_up() {
        let chain = chain(&[deny("10.0.0.0/8")], &[limit(2)], &[deny("192.0.2.0/24")]);
        let levels: Vec<_> = chain.applied.iter().map(|filter| (filter.name, filter.level)).collect();
        assert_eq!(levels, [("deny", "route"), ("deny", "listener"), ("max-body-size", "host")]);
        assert_eq!(chain.checks.len(), 2);
    }
}
