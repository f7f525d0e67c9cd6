//! `enable-cors` and what belongs to it.

use crate::defaults;
use crate::model::{Cors, CorsOrigins, Credentials, FilterKind};
use crate::sources::kube::annotations::Policy;

pub fn filter(policy: &Policy) -> Option<FilterKind> {
    let cors = &policy.cors;
    let origins = cors.origins.clone().unwrap_or(CorsOrigins::Any);
    let credentials = match (&origins, cors.credentials.unwrap_or(true)) {
        (CorsOrigins::Listed(_), true) => Credentials::Allow,
        // ingress-nginx sends both, which browsers refuse: for them it comes to the same.
        (CorsOrigins::Any, _) | (CorsOrigins::Listed(_), false) => Credentials::Omit,
    };
    cors.is_on.then(|| {
        FilterKind::Cors(Cors {
            origins,
            methods: cors.methods.clone().unwrap_or_else(|| defaults::CORS_METHODS.map(Into::into).to_vec()),
            headers: cors.headers.clone().unwrap_or_else(|| defaults::CORS_HEADERS.map(Into::into).to_vec()),
            expose: cors.expose.clone(),
            credentials,
            max_age: cors.max_age.unwrap_or(defaults::CORS_MAX_AGE),
        })
    })
}
