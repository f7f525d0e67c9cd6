//! `cors`.

use std::sync::Arc;

use super::Lowering;
use super::process::all;
use crate::defaults;
use crate::model::{Cors, CorsOrigins, Credentials};
use crate::sources::config::decode::{Either, Field, List, Scalar};
use crate::sources::config::shapes::{self, OriginCondition, scalar};
use crate::sources::config::tree::NodeId;

pub fn cors(cx: &Lowering, at: NodeId, shape: shapes::Cors) -> Cors {
    let credentials = match shape.credentials.given() {
        Some((at, true)) => Some(at),
        Some((_, false)) | None => None,
    };
    let written = cx.required(shape.origins, at, "origins", "origins: [\"https://a.test\"]");
    let origins = origins(cx, written, credentials);
    if credentials.is_some() {
        refuse_star(cx, &shape.methods, "every method");
        refuse_star(cx, &shape.headers, "every field");
        refuse_star(cx, &shape.expose, "every field");
    }
    Cors {
        origins,
        methods: names(shape.methods, &defaults::CORS_METHODS),
        headers: names(shape.headers, &defaults::CORS_HEADERS),
        expose: all(shape.expose),
        credentials: if credentials.is_some() { Credentials::Allow } else { defaults::CORS_CREDENTIALS },
        max_age: shape.max_age.scalar_or(defaults::CORS_MAX_AGE),
    }
}

type WrittenOrigins = List<Either<scalar::CorsOrigin, OriginCondition>>;

/// `credentials` is where they are allowed.
fn origins(cx: &Lowering, written: Option<(NodeId, WrittenOrigins)>, credentials: Option<NodeId>) -> CorsOrigins {
    let Some((at, list)) = written else { return CorsOrigins::Listed(Vec::new()) };
    if list.is_empty() {
        cx.error_with(at.value(), "an empty list allows no origin", "write whom, as origins: [\"https://a.test\"]");
    }
    let count = list.len();
    let mut patterns = Vec::new();
    for (at, origin) in list.into_iter().filter_map(Field::given) {
        match origin {
            Either::Full(OriginCondition::Regex(pattern)) => patterns.push(pattern.0),
            Either::Short(scalar::CorsOrigin(Some(pattern))) => patterns.push(pattern),
            Either::Short(scalar::CorsOrigin(None)) if count > 1 => {
                cx.error_with(at.value(), "\"*\" is every origin, so that the others say nothing", "keep either");
            }
            Either::Short(scalar::CorsOrigin(None)) => {
                if let Some(credentials) = credentials {
                    let message = "with every origin any site could act for whoever visits it; browsers refuse that";
                    let help = "name the origins, as origins: [\"https://*.a.test\"], or leave credentials out";
                    cx.error_with(credentials.value(), message, help);
                }
                return CorsOrigins::Any;
            }
        }
    }
    CorsOrigins::Listed(patterns)
}

fn names<S: Scalar<Value = Arc<str>>>(written: Field<List<S>>, default: &[&str]) -> Vec<Arc<str>> {
    match written {
        Field::Absent => default.iter().map(|name| (*name).into()).collect(),
        Field::Given(..) | Field::Wrong(_) => all(written),
    }
}

/// Beside credentials browsers take a star to the letter (Fetch §3.3.4).
fn refuse_star<S: Scalar<Value = Arc<str>> + Clone>(cx: &Lowering, written: &Field<List<S>>, meant: &str) {
    let Field::Given(_, list) = written else { return };
    for item in list {
        if let Field::Given(at, name) = item
            && &*name.clone().into_value() == "*"
        {
            let message = format!("beside credentials \"*\" is not {meant} but one of that name");
            cx.error_with(at.value(), message, "write the names out");
        }
    }
}
