//! `allow` and `deny`: who may come in, by address.

use ipnet::IpNet;

use super::Verdict;
use crate::snapshot::request::RequestView;

pub const REFUSED: Verdict = Verdict::refuse(403, "this address may not come in here");

pub fn deny(networks: &[IpNet], request: &RequestView<'_>) -> Option<Verdict> {
    contains(networks, request).then_some(REFUSED)
}

pub fn allow(networks: &[IpNet], request: &RequestView<'_>) -> Option<Verdict> {
    (!contains(networks, request)).then_some(REFUSED)
}

fn contains(networks: &[IpNet], request: &RequestView<'_>) -> bool {
    networks.iter().any(|network| network.contains(&request.client))
}
