//! The owner with a resolver that is played, and the real resolver against a small server.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::*;
use crate::model::Replicas;
use crate::snapshot::limit::ReplicaCount;
use crate::snapshot::upstream::ServiceRecord;
use crate::snapshot::upstream::tests::definition;
use crate::tls::UpstreamTlsMaterial;

/// Answers by name what it was told to, and counts what it was asked.
#[derive(Default)]
struct Played {
    answers: Mutex<HashMap<String, Result<Answer, Arc<str>>>>,
    asked: Mutex<Vec<String>>,
}

impl Played {
    fn says(&self, question: &str, answer: Result<Answer, &str>) {
        self.answers.lock().unwrap().insert(question.into(), answer.map_err(Arc::from));
    }

    fn asked(&self, question: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == question).count()
    }
}

#[async_trait]
impl Resolve for Played {
    async fn resolve(&self, question: &Question) -> Result<Answer, Arc<str>> {
        self.asked.lock().unwrap().push(question.to_string());
        let answer = self.answers.lock().unwrap().get(&question.to_string()).cloned();
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

fn addresses(ips: &[&str], ttl: u64) -> Result<Answer, &'static str> {
    let records = Records::Addresses(ips.iter().map(|ip| ip.parse().unwrap()).collect());
    Ok(Answer { records, ttl: Duration::from_secs(ttl), half: None })
}

fn upstream(endpoints: &str) -> Arc<Upstream> {
    let now = Instant::now().into_std();
    Arc::new(Upstream::new(definition(endpoints).into(), None, &UpstreamTlsMaterial::default(), now).unwrap())
}

fn shown(upstream: &Upstream) -> Vec<String> {
    upstream.endpoints().endpoints().map(|endpoint| endpoint.address.to_string()).collect()
}

async fn changed(upstream: &Upstream) -> Vec<String> {
    upstream.changes().changed().await.unwrap();
    shown(upstream)
}

#[tokio::test(start_paused = true)]
async fn replicas_are_counted_again_when_the_ttl_ends_and_kept_while_the_name_fails() {
    let played = Arc::new(Played::default());
    let count = Arc::new(ReplicaCount::new(Replicas::Dns("weir.test".into())));
    assert_eq!(count.get().get(), 1, "while nobody knows");
    played.says("weir.test", addresses(&["10.0.0.1", "10.0.0.2", "10.0.0.3"], 30));
    let watch = ReplicaWatch::start(count.clone(), played.clone()).unwrap();
    let mut counts = Vec::new();
    for answer in [addresses(&["10.0.0.1", "10.0.0.2"], 30), Err("no"), addresses(&["10.0.0.2"], 30)] {
        tokio::time::sleep(Duration::from_secs(30)).await;
        counts.push(count.get().get());
        played.says("weir.test", answer);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    counts.push(count.get().get());
    assert_eq!(counts, [3, 2, 2, 1]);
    drop(watch);
    let asked = played.asked("weir.test");
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(played.asked("weir.test"), asked, "what is dropped asks no more");
    assert!(ReplicaWatch::start(Arc::new(ReplicaCount::new(Replicas::Count(2.try_into().unwrap()))), played).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_name_is_asked_again_when_its_ttl_ends_and_the_endpoints_follow() {
    let (played, upstream, begin) = (Arc::new(Played::default()), upstream("api.test:80"), Instant::now());
    played.says("api.test", addresses(&["10.0.0.2", "10.0.0.1"], 30));
    let discovery = Discovery::start(Arc::clone(&upstream), played.clone()).unwrap();
    assert_eq!(changed(&upstream).await, ["10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(begin.elapsed(), Duration::ZERO);

    played.says("api.test", addresses(&["10.0.0.2", "10.0.0.3"], 30));
    assert_eq!(changed(&upstream).await, ["10.0.0.2:80", "10.0.0.3:80"]);
    assert_eq!(begin.elapsed().as_secs(), 30);
    drop(discovery);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(played.asked("api.test"), 2, "what is dropped asks no more");
}

#[tokio::test(start_paused = true)]
async fn a_family_that_was_there_stays_while_it_cannot_be_asked_for() {
    let (played, upstream) = (Arc::new(Played::default()), upstream("api.test:80"));
    let half = |ips: &[&str]| {
        let answer = addresses(ips, 30)?;
        Ok(Answer { half: Some((Family::V4, "the server failed".into())), ..answer })
    };
    // One that never was there is not missed.
    played.says("api.test", half(&["2001:db8::1"]));
    let _discovery = Discovery::start(Arc::clone(&upstream), played.clone()).unwrap();
    assert_eq!(changed(&upstream).await, ["[2001:db8::1]:80"]);
    let both = ["10.0.0.1:80", "[2001:db8::1]:80"];
    played.says("api.test", addresses(&["10.0.0.1", "2001:db8::1"], 30));
    assert_eq!(changed(&upstream).await, both);
    played.says("api.test", half(&["2001:db8::2"]));
    assert_eq!(changed(&upstream).await, ["10.0.0.1:80", "[2001:db8::2]:80"], "the other one is followed");
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(shown(&upstream).len(), 2);
    assert!(upstream.answers().failure(&Question::Addresses("api.test".into())).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_while_another_name_is_silent() {
    let (played, upstream) = (Arc::new(Played::default()), upstream("up.test:80,silent.test:80"));
    played.says("up.test", addresses(&["10.0.0.1"], 30));
    let _discovery = Discovery::start(Arc::clone(&upstream), played.clone()).unwrap();
    assert_eq!(changed(&upstream).await, ["10.0.0.1:80"]);
    assert_eq!(played.asked("silent.test"), 1);
    tokio::time::sleep(PATIENCE * 2).await;
    assert_eq!(upstream.status(Instant::now().into_std()).unresolved[0].error.as_ref(), "no answer from DNS in time");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_does_not_resolve_at_the_start_is_found_soon_after_it_appears() {
    let (played, upstream, begin) = (Arc::new(Played::default()), upstream("backend-1:80"), Instant::now());
    played.says("backend-1", Err("there is no such name"));
    let _discovery = Discovery::start(Arc::clone(&upstream), played.clone()).unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(played.asked("backend-1"), 2);
    let status = upstream.status(begin.into_std());
    assert_eq!((&*status.unresolved[0].name, &*status.unresolved[0].error), ("backend-1", "there is no such name"));
    assert!(upstream.is_settled(), "a start does not wait for a name for ever");
    played.says("backend-1", addresses(&["10.0.0.1"], 30));
    assert_eq!(changed(&upstream).await, ["10.0.0.1:80"]);
    assert_eq!(begin.elapsed().as_secs(), 3);
    assert!(upstream.status(begin.into_std()).unresolved.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_the_last_good_answer() {
    let (played, upstream) = (Arc::new(Played::default()), upstream("api.test:80"));
    played.says("api.test", addresses(&["10.0.0.1"], 10));
    let _discovery = Discovery::start(Arc::clone(&upstream), played.clone()).unwrap();
    changed(&upstream).await;
    played.says("api.test", Err("server failure"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(played.asked("api.test") > 3);
    assert_eq!(shown(&upstream), ["10.0.0.1:80"]);
}

#[tokio::test(start_paused = true)]
async fn services_lead_to_the_addresses_of_their_targets() {
    let (played, upstream) = (Arc::new(Played::default()), upstream("srv:_http._tcp.api.test"));
    let service = |priority, target: &str| ServiceRecord { priority, weight: 1, port: 8080, target: target.into() };
    let records = Records::Services(vec![service(1, "a.test"), service(2, "b.test")]);
    played.says("srv:_http._tcp.api.test", Ok(Answer { records, ttl: Duration::from_secs(60), half: None }));
    played.says("a.test", addresses(&["10.0.0.1"], 60));
    played.says("b.test", addresses(&["10.0.0.2"], 60));
    let _discovery = Discovery::start(Arc::clone(&upstream), played.clone()).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(shown(&upstream), ["10.0.0.1:8080", "10.0.0.2:8080"]);
    let set = upstream.endpoints();
    assert_eq!(set.endpoints().map(|e| e.backup).collect::<Vec<_>>(), [false, true]);

    let records = Records::Services(vec![service(1, "b.test")]);
    played.says("srv:_http._tcp.api.test", Ok(Answer { records, ttl: Duration::from_secs(60), half: None }));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(shown(&upstream), ["10.0.0.2:8080"]);
    let before = played.asked("a.test");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(played.asked("a.test"), before, "a target that is gone is asked no more");
}

#[tokio::test(start_paused = true)]
async fn services_stay_with_their_targets_until_the_new_ones_are_known_or_have_failed() {
    let (played, upstream) = (Arc::new(Played::default()), upstream("srv:_http._tcp.api.test"));
    let leads_to = |target: &str| {
        let service = ServiceRecord { priority: 1, weight: 1, port: 8080, target: target.into() };
        Ok(Answer { records: Records::Services(vec![service]), ttl: Duration::from_secs(60), half: None })
    };
    played.says("srv:_http._tcp.api.test", leads_to("a.test"));
    played.says("a.test", addresses(&["10.0.0.1"], 60));
    let _discovery = Discovery::start(Arc::clone(&upstream), played.clone()).unwrap();
    tokio::time::sleep(Duration::from_secs(59)).await;
    played.says("srv:_http._tcp.api.test", leads_to("silent.test"));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((shown(&upstream), played.asked("silent.test")), (vec!["10.0.0.1:8080".to_owned()], 1));
    played.says("a.test", addresses(&["10.0.0.3"], 60));
    played.says("silent.test", addresses(&["10.0.0.2"], 60));
    tokio::time::sleep(PATIENCE).await;
    assert_eq!(shown(&upstream), ["10.0.0.2:8080"]);
    let before = played.asked("a.test");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(played.asked("a.test"), before, "a target that is gone is asked no more");
}

#[tokio::test]
async fn in_a_cluster_no_name_leads_back_here() {
    let played = Arc::new(Played::default());
    played.says("both.test", addresses(&["127.0.0.1", "10.0.0.1", "::ffff:127.0.0.9"], 30));
    played.says("here.test", addresses(&["127.0.0.1", "0.0.0.0", "::1"], 30));
    let resolver = Elsewhere(Arc::into_inner(played).unwrap());
    let asked = |name: &'static str| Question::Addresses(name.into());
    let answer = resolver.resolve(&asked("both.test")).await.unwrap();
    assert_eq!(answer.records, Records::Addresses(vec!["10.0.0.1".parse().unwrap()]));
    assert!(resolver.resolve(&asked("here.test")).await.unwrap_err().contains("leads back"));
}

#[test]
fn an_upstream_of_addresses_starts_nothing() {
    assert!(Discovery::start(upstream("10.0.0.1:80"), Arc::new(Played::default())).is_none());
}

/// A DNS server that knows `api.test` (A), `_http._tcp.api.test` (SRV), half of `half.test`, and nothing else.
async fn dns_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut packet).await {
            let reply = reply_to(&Message::from_vec(&packet[..length]).unwrap());
            socket.send_to(&reply.to_vec().unwrap(), client).await.unwrap();
        }
    });
    address
}

fn reply_to(query: &Message) -> Message {
    let asked = query.queries[0].clone();
    let mut reply = query.clone().into_response();
    match (asked.name().to_ascii().to_lowercase().as_str(), asked.query_type()) {
        ("api.test.", RecordType::A) => {
            let data = RData::A(Ipv4Addr::new(10, 0, 0, 1).into());
            reply.add_answer(Record::from_rdata(asked.name().clone(), 42, data));
        }
        ("api.test.", _) => {}
        ("half.test.", RecordType::AAAA) => {
            let data = RData::AAAA("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().into());
            reply.add_answer(Record::from_rdata(asked.name().clone(), 42, data));
        }
        ("half.test.", _) => reply.metadata.response_code = ResponseCode::ServFail,
        ("_http._tcp.api.test.", RecordType::SRV) => {
            let target = Name::from_ascii("API.test.").unwrap();
            let data = RData::SRV(SRV::new(1, 5, 8080, target));
            reply.add_answer(Record::from_rdata(asked.name().clone(), 7, data));
        }
        _ => reply.metadata.response_code = ResponseCode::NXDomain,
    }
    reply
}

#[tokio::test]
async fn the_given_servers_are_asked_and_answers_carry_their_ttl() {
    let resolver = DnsResolver::new(&[dns_server().await]);
    let answer = resolver.resolve(&Question::Addresses("api.test".into())).await.unwrap();
    assert_eq!(answer, addresses(&["10.0.0.1"], 42).unwrap());

    let answer = resolver.resolve(&Question::Services("_http._tcp.api.test".into())).await.unwrap();
    let service = ServiceRecord { priority: 1, weight: 5, port: 8080, target: "api.test".into() };
    assert_eq!(answer, Answer { records: Records::Services(vec![service]), ttl: Duration::from_secs(7), half: None });

    let error = resolver.resolve(&Question::Addresses("nobody.test".into())).await.unwrap_err();
    assert_eq!(&*error, "there is no such name");
}

#[tokio::test]
async fn a_name_of_which_one_family_cannot_be_said_is_half_an_answer() {
    let resolver = DnsResolver::new(&[dns_server().await]);
    let answer = resolver.resolve(&Question::Addresses("half.test".into())).await.unwrap();
    let (family, error) = answer.half.unwrap();
    assert_eq!((family, answer.records), (Family::V4, Records::Addresses(vec!["2001:db8::1".parse().unwrap()])));
    assert_ne!(&*error, "there is no such name");
}

#[tokio::test]
async fn localhost_resolves_without_any_server() {
    let resolver = DnsResolver::new(&["127.0.0.1:9".parse().unwrap()]);
    let answer = resolver.resolve(&Question::Addresses("localhost".into())).await.unwrap();
    let Records::Addresses(addresses) = answer.records else { panic!("not addresses") };
    assert!(addresses.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "{addresses:?}");
}
