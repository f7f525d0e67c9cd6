//! `basic-auth`. Its file is read by `passwords`.

use std::path::PathBuf;

use super::Lowering;
use crate::defaults;
use crate::model::{BasicAuth, ForwardCredentials};
use crate::sources::config::shapes;
use crate::sources::config::tree::NodeId;

pub fn basic_auth(cx: &Lowering, at: NodeId, shape: shapes::BasicAuth) -> BasicAuth {
    let file =
        cx.required(shape.file, at, "file", "file: users.htpasswd, as htpasswd -B -c users.htpasswd NAME makes one");
    BasicAuth {
        // Without one it has been reported: no such model is served.
        file: file.map_or_else(PathBuf::new, |(_, file)| cx.file(file.0)),
        realm: shape.realm.scalar_or(defaults::BASIC_AUTH_REALM.into()),
        forward: match shape.forward.value() {
            Some(true) => ForwardCredentials::Send,
            Some(false) => ForwardCredentials::Omit,
            None => defaults::FORWARD_CREDENTIALS,
        },
    }
}
