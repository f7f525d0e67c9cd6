//! `https-redirect`, `www-redirect`, `app-root`, `trailing-slash`.

use super::Lowering;
use super::route::location_form;
use crate::defaults;
use crate::model::{AppRoot, HttpsRedirect, RedirectSlash, SlashSpelling, TrailingSlash, WwwForm, WwwRedirect};
use crate::sources::config::decode::{Either, Field};
use crate::sources::config::shapes::{self, SlashWord, WwwWord, scalar};
use crate::sources::config::tree::NodeId;

pub fn https(shape: shapes::HttpsRedirect) -> HttpsRedirect {
    HttpsRedirect {
        status: shape.status.scalar_or(defaults::HTTPS_REDIRECT_STATUS),
        port: shape.port.scalar_or(defaults::HTTPS_REDIRECT_PORT),
        slash: RedirectSlash::Keep,
    }
}

pub fn www(cx: &Lowering, at: NodeId, written: Either<WwwWord, shapes::WwwRedirect>) -> WwwRedirect {
    let (to, status) = match written {
        Either::Short(word) => (Some(word), Field::Absent),
        Either::Full(shape) => (cx.required(shape.to, at, "to", "to: to-apex").map(|(_, word)| word), shape.status),
    };
    WwwRedirect {
        to: match to {
            Some(WwwWord::ToWww) => WwwForm::Www,
            // Without a word it has been reported: no such model is served.
            Some(WwwWord::ToApex) | None => WwwForm::Apex,
        },
        status: status.scalar_or(defaults::WWW_REDIRECT_STATUS),
    }
}

pub fn app_root(cx: &Lowering, at: NodeId, written: Either<scalar::SentTarget, shapes::AppRoot>) -> AppRoot {
    let (path, status, relative) = match written {
        Either::Short(path) => (Some((at, path)), Field::Absent, Field::Absent),
        Either::Full(shape) => (cx.required(shape.path, at, "path", "path: /app"), shape.status, shape.relative),
    };
    if let Some((at, path)) = &path
        && path.0.split('?').next() == Some("/")
    {
        let message = "the root would be redirected to itself for ever";
        cx.error_with(at.value(), message, "write where the application begins, as /app");
    }
    AppRoot {
        path: path.map_or_else(|| "/".into(), |(_, path)| path.0),
        status: status.scalar_or(defaults::APP_ROOT_STATUS),
        form: location_form(relative),
    }
}

pub fn trailing_slash(cx: &Lowering, at: NodeId, written: Either<SlashWord, shapes::TrailingSlash>) -> TrailingSlash {
    let (word, status, relative) = match written {
        Either::Short(word) => (Some(word), Field::Absent, Field::Absent),
        Either::Full(shape) => {
            let word = cx.required(shape.slash, at, "slash", "slash: add, or slash: remove");
            (word.map(|(_, word)| word), shape.status, shape.relative)
        }
    };
    TrailingSlash {
        spelling: match word {
            Some(SlashWord::Add) => SlashSpelling::With,
            // Without a word it has been reported: no such model is served.
            Some(SlashWord::Remove) | None => SlashSpelling::Without,
        },
        status: status.scalar_or(defaults::TRAILING_SLASH_STATUS),
        form: location_form(relative),
    }
}
