//! Request buffering.

use super::Lowering;
use crate::defaults;
use crate::model::{BodyBuffer, RequestBuffering};
use crate::sources::config::decode::Either;
use crate::sources::config::shapes;

pub fn request_buffering(cx: &Lowering, written: Either<shapes::Switch, shapes::RequestBuffering>) -> RequestBuffering {
    let shape = match written {
        Either::Short(shapes::Switch::Off) => return RequestBuffering::Off,
        Either::Short(shapes::Switch::On) => shapes::RequestBuffering::default(),
        Either::Full(shape) => shape,
    };
    RequestBuffering::On(BodyBuffer {
        max_memory: shape.max_memory.scalar_or(defaults::BUFFER_MEMORY),
        max_size: shape.max_size.scalar_or(defaults::BUFFER_SIZE),
        folder: shape.folder.scalar().map(|folder| cx.path(folder)),
    })
}
