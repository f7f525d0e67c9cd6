//! Filters that something beside the model belongs to: a count, a question, keys, a shadow.
//!
//! They are few among the tens of thousands of a large model: one walk finds them for all who ask.

use super::{Filter, FilterKind, ForwardAuth, Jwt, Limit, Mirror, Model};

pub struct BoundFilters<'m>(Vec<&'m FilterKind>);

impl<'m> BoundFilters<'m> {
    /// Of all levels, in their order.
    pub fn of(model: &'m Model) -> Self {
        Self(model.filters().map(|filter: &Filter| &filter.kind).filter(|kind| is_bound(kind)).collect())
    }

    pub fn limits(&self) -> impl Iterator<Item = Limit<'m>> {
        self.0.iter().filter_map(|kind| kind.limit())
    }

    pub fn forward_auths(&self) -> impl Iterator<Item = &'m ForwardAuth> {
        self.0.iter().filter_map(|kind| if let FilterKind::ForwardAuth(auth) = kind { Some(auth) } else { None })
    }

    pub fn jwts(&self) -> impl Iterator<Item = &'m Jwt> {
        self.0.iter().filter_map(|kind| if let FilterKind::Jwt(jwt) = kind { Some(jwt) } else { None })
    }

    pub fn mirrors(&self) -> impl Iterator<Item = &'m Mirror> {
        self.0.iter().filter_map(|kind| kind.mirror())
    }

    /// Whether some redirect asks which names are served.
    pub fn ask_for_names(&self) -> bool {
        self.0.iter().any(|kind| matches!(kind, FilterKind::WwwRedirect(_)))
    }
}

fn is_bound(kind: &FilterKind) -> bool {
    match kind {
        FilterKind::RateLimit(_)
        | FilterKind::ConcurrencyLimit(_)
        | FilterKind::ForwardAuth(_)
        | FilterKind::Jwt(_)
        | FilterKind::Mirror(_)
        | FilterKind::WwwRedirect(_) => true,
        FilterKind::Allow(_)
        | FilterKind::Deny(_)
        | FilterKind::Cors(_)
        | FilterKind::HttpsRedirect(_)
        | FilterKind::AppRoot(_)
        | FilterKind::TrailingSlash(_)
        | FilterKind::MaxBodySize(_)
        | FilterKind::Cache(_)
        | FilterKind::CacheHeaders(_)
        | FilterKind::Compress(_)
        | FilterKind::SecurityHeaders(_)
        | FilterKind::Headers(_)
        | FilterKind::Bandwidth(_)
        | FilterKind::RequestBuffering(_)
        | FilterKind::Satisfy(_)
        | FilterKind::ResponseRewrite(_)
        | FilterKind::AccessLog(_)
        | FilterKind::Conditions(_)
        | FilterKind::BasicAuth(_)
        | FilterKind::ErrorPages(_) => false,
    }
}
