//! Weir, what is behind it, and one change after the other.
//!
//! ```text
//! change(n) ──► the file: policies, names, routes and listeners by turns ──► in force?
//!          └──► the origins: one comes, one is drained and stops, one is killed
//! ```

use std::net::SocketAddr;
use std::time::SystemTime;

use super::ledger::Ledger;
use super::lines::Doors;
use super::origins::{Pool, stop_when_done};
use crate::support::{Signal, Weir, eventually, free_address, request};

/// Longer than any slow client takes for what this bounds, short enough to see the end of idle connections.
pub const PATIENCE: &str = "5s";

pub struct Scene {
    pub weir: Weir,
    pub doors: Doors,
    steady: Pool,
    wild: Pool,
    /// Killed, and still in the file.
    dead: Vec<SocketAddr>,
    /// Of the file in force.
    number: usize,
}

impl Scene {
    pub fn open() -> Scene {
        let doors = Doors { http: free_address(), https: free_address() };
        let mut scene = Scene {
            weir: Weir::spawn("hosts: []\n"),
            doors,
            steady: Pool::start(3),
            wild: Pool::start(3),
            dead: Vec::new(),
            number: 0,
        };
        scene.weir = Weir::start(&scene.file());
        scene
    }

    /// The n-th of all; returns when it is in force.
    pub fn change(&mut self, nth: usize, ledger: &Ledger) {
        match nth % 8 {
            0 => self.rewrite(),
            1 => {
                self.steady.grow();
                self.rewrite();
                ledger.done("an origin was added");
            }
            2 => self.refuse(ledger),
            3 => {
                let leaving = self.steady.take_oldest();
                self.rewrite();
                stop_when_done(leaving);
                ledger.done("an origin was drained and stopped");
            }
            4 => {
                let victim = self.wild.take_oldest();
                self.dead.push(victim.address);
                victim.stop();
                ledger.done("an origin was killed");
            }
            5 => self.overwrite(),
            6 => {
                self.wild.grow();
                self.dead.clear();
                self.rewrite();
            }
            _ => self.nudge(ledger),
        }
    }

    pub fn files_in_force(&self) -> usize {
        self.number
    }

    fn rewrite(&mut self) {
        self.number += 1;
        self.weir.write(&self.file());
        self.wait_until_in_force();
    }

    fn overwrite(&mut self) {
        self.number += 1;
        self.weir.overwrite(&self.file());
        self.wait_until_in_force();
    }

    fn wait_until_in_force(&self) {
        let number = self.number.to_string();
        let is_in_force = || request(self.doors.http, "GET", "/number").send().text() == number;
        eventually(&format!("file {number} is in force"), || is_in_force().then_some(()));
    }

    /// A file that cannot be used, and the good one again.
    fn refuse(&mut self, ledger: &Ledger) {
        self.weir.write("hosts: [ { names: [\"*\"], routes: [ { path: /, upstraem: nowhere } ] } ]\n");
        self.weir.wait_for_refusal("upstraem");
        ledger.done("a file was refused");
        self.rewrite();
    }

    /// Nothing has changed, and Weir is asked to look.
    fn nudge(&mut self, ledger: &Ledger) {
        let file = std::fs::File::options().append(true).open(self.weir.file()).expect("the file is there");
        file.set_modified(SystemTime::now()).expect("the file can be touched");
        self.weir.signal(Signal::Hangup);
        ledger.done("a file was touched");
    }

    fn file(&self) -> String {
        let n = self.number;
        let turn = |words: &[&'static str]| words[n % words.len()];
        let listed = |addresses: Vec<SocketAddr>| {
            let quoted: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
            quoted.join(", ")
        };
        let wild = [self.dead.clone(), self.wild.addresses()].concat();
        let limits =
            format!("limits: {{ header-timeout: {PATIENCE}, body-timeout: {PATIENCE}, idle-timeout: {PATIENCE} }}");
        // By turns: another name of the upstream, another policy, another lane, more listeners, hosts and routes.
        format!(
            r#"
access-log: off
lanes: {lanes}
listeners:
  http: {{ address: "{http}", {limits} }}
  https: {{ address: "{https}", tls: {{}}, {limits} }}
{extra}
upstreams:
  steady-{name}:
    endpoints: [ {steady} ]
    balance: {balance}
  wild:
    endpoints: [ {wild} ]
    balance: {balance}
    {check}
hosts:
  - names: ["*"]
    filters: [ {filters} ]
    routes:
      - {{ exact: /number, respond: {{ status: 200, body: "{n}" }} }}
      - {{ path: /steady, upstream: steady-{name} }}
      - {{ path: /wild, upstream: wild }}
{route}
{hosts}
"#,
            lanes = turn(&["auto", "auto", "auto", "auto", "full"]),
            http = self.doors.http,
            https = self.doors.https,
            extra = match n % 3 {
                // Another one each time: one that was left may be somebody else's by now.
                0 => format!("  extra: {{ address: \"{}\" }}", free_address()),
                _ => String::new(),
            },
            name = n / 2 % 2,
            steady = listed(self.steady.addresses()),
            wild = listed(wild),
            balance = turn(&["round-robin", "least-connections", "random", "peak-ewma"]),
            check = turn(&["", "health-check: { tcp: {}, interval: 500ms }", "slow-start: 1s"]),
            filters = turn(&[
                "",
                "security-headers",
                "{ headers: { request: { set: { X-Path: '${path}' } }, response: { remove: [Server] } } }",
                "{ rate-limit: { rate: 100000/s, burst: 100000 } }",
                "{ concurrency-limit: { max: 10000 } }",
                "{ request-buffering: {} }",
                "{ compress: {} }",
            ]),
            route = turn(&[
                "",
                "      - { path: /wild/get, upstream: wild, timeouts: { read: 20s } }",
                "      - { regex: '^/steady/(post|large)$', upstream: steady-0 }",
            ])
            .replace("steady-0", &format!("steady-{}", n / 2 % 2)),
            hosts = match n % 5 {
                3 => more_hosts(),
                _ => String::new(),
            },
        )
    }
}

fn more_hosts() -> String {
    let host = |number| format!("  - {{ names: [h{number}.test], routes: [ {{ path: /, upstream: wild }} ] }}\n");
    (0..100).map(host).collect()
}
