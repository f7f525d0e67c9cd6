//! How many addresses a name has: that of a headless service has one for each replica that is ready.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::agenda::Agenda;
use super::{Resolve, ask, sleep_until};
use crate::snapshot::limit::ReplicaCount;
use crate::snapshot::upstream::{Question, Records};

/// Keeps a count of replicas true. It stops when this is dropped.
#[derive(Debug)]
pub struct ReplicaWatch {
    _owner: JoinSet<()>,
}

impl ReplicaWatch {
    /// Starts it on the current Tokio runtime. None where the count is given.
    pub fn start(count: Arc<ReplicaCount>, resolver: Arc<dyn Resolve>) -> Option<Self> {
        let question = Question::Addresses(count.dns_name()?.clone());
        let mut owner = JoinSet::new();
        owner.spawn(run(count, question, resolver));
        Some(Self { _owner: owner })
    }
}

/// A name that fails keeps its last count.
async fn run(count: Arc<ReplicaCount>, question: Question, resolver: Arc<dyn Resolve>) {
    let (mut agenda, mut failed) = (Agenda::default(), false);
    agenda.keep_only(&[question.clone()].into(), Instant::now());
    loop {
        sleep_until(agenda.next_due()).await;
        agenda.take_due(Instant::now());
        let (_, answer) = ask(resolver.clone(), question.clone()).await;
        let now = Instant::now();
        match answer {
            Ok(answer) => {
                agenda.answered(&question, answer.ttl, now);
                failed = false;
                note(&count, &question, &answer.records);
            }
            Err(error) => {
                agenda.failed(&question, now);
                if !std::mem::replace(&mut failed, true) {
                    tracing::warn!(dns_name = %question, %error, "the name of the replicas does not resolve: their last count is kept");
                }
            }
        }
    }
}

fn note(count: &ReplicaCount, question: &Question, records: &Records) {
    let replicas = match records {
        Records::Addresses(addresses) => u32::try_from(addresses.len()).unwrap_or(u32::MAX),
        Records::Services(_) => return,
    };
    if replicas > 0 && count.set(replicas) != replicas {
        tracing::info!(dns_name = %question, replicas, "the number of replicas is known anew");
    }
}
