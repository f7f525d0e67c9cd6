//! The providers against what stands in for them: an HTTP server that plays their API, programs of the operator's.

mod api;
mod cloudflare;
mod exec;
mod google;

use super::*;
use crate::model;

const NAME: &str = "_acme-challenge.w.a.test";

fn solver_of(provider: DnsProvider) -> Box<dyn Solver> {
    solver(&provider, HttpClient::new(&[]).unwrap())
}

async fn reason(outcome: impl Future<Output = Result<(), String>>) -> String {
    outcome.await.expect_err("it fails")
}
