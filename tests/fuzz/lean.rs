//! The lean lane's readers. Their room is closed; the files stand alone but for what is open of the house.

#[path = "../../src/proxy/lean/body.rs"]
pub mod body;
#[path = "../../src/proxy/lean/fields.rs"]
pub mod fields;
#[path = "../../src/proxy/lean/head.rs"]
pub mod head;
#[path = "../../src/proxy/lean/reply.rs"]
pub mod reply;
