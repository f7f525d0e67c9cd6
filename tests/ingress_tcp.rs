//! `weir ingress` and what is no HTTP: TCP and UDP services of ConfigMaps, and TLS that ends at a pod.

// It has a part of it.
#[allow(dead_code)]
#[path = "support/kube.rs"]
mod cluster;
mod support;

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Value, json};

use cluster::{Cluster, Ingress, endpoint_address, ingress, service, slice};
use support::{Authority, Blackhole, Connection, LIMIT, TcpOrigin, TlsEcho, eventually, free_port, read_line};

fn config_map(namespace: &str, name: &str, data: &[(String, &str)]) -> Value {
    let data: serde_json::Map<String, Value> = data.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "namespace": namespace, "name": name }, "data": data,
    })
}

/// A Service `name` with one port 5432, and one endpoint there.
fn backend(cluster: &Cluster, namespace: &str, name: &str, address: SocketAddr) {
    cluster.apply(service(namespace, name, &[("db", 5432)]));
    cluster.apply(slice(namespace, name, ("db", address.port()), &[address.ip()]));
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// Waits until whoever listens on the port says this.
#[track_caller]
fn says(port: u16, expected: &str) {
    eventually(&format!("port {port} says {expected:?}"), || {
        let stream = TcpStream::connect(local(port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        (read_line(&mut &stream).ok()? == expected).then_some(())
    });
}

#[track_caller]
fn nobody_listens(port: u16) {
    eventually(&format!("nobody listens on {port}"), || TcpStream::connect(local(port)).is_err().then_some(()));
}

/// The Warnings on a ConfigMap, once one of them has this in it.
#[track_caller]
fn warned(cluster: &Cluster, namespace: &str, name: &str, words: &str) {
    eventually(&format!("an Event on {name} that says {words:?}"), || {
        let events = cluster.get(&format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"));
        let about = |event: &&Value| event["regarding"]["name"] == name && event["regarding"]["kind"] == "ConfigMap";
        let notes = events["items"].as_array()?.iter().filter(about).filter_map(|event| event["note"].as_str());
        notes.clone().any(|note| note.contains(words)).then_some(())
    });
}

#[test]
fn ports_open_and_close_with_the_config_map_and_touch_no_other() {
    let cluster = Cluster::shared();
    cluster.prepare("tcp");
    let (first, second) = (endpoint_address(), endpoint_address());
    let _first = TcpOrigin::named_at(first, "first");
    let _second = TcpOrigin::named_at(second, "second");
    backend(cluster, "tcp", "first", first);
    backend(cluster, "tcp", "second", second);
    let (one, other) = (free_port(), free_port());
    let show = |entries: &[(u16, &str)]| {
        let data: Vec<_> = entries.iter().map(|(port, value)| (port.to_string(), *value)).collect();
        let mut map = config_map("tcp", "services", &data);
        // Server-side apply takes what is no longer written out of the object.
        map["metadata"]["labels"] = json!({ "round": entries.len().to_string() });
        cluster.apply(map);
    };
    show(&[(one, "tcp/first:db")]);
    let weir = Ingress::start(cluster, "tcp", &["--tcp-services-configmap=tcp/services"]);
    says(one, "first");
    let mut held = Connection::open(local(one));
    held.read_until("first\n");

    show(&[(one, "tcp/first:5432"), (other, "tcp/second:5432")]);
    says(other, "second");
    // Another Service behind an open port, and the endpoints of one.
    show(&[(one, "tcp/second:db"), (other, "tcp/second:5432")]);
    says(one, "second");
    cluster.apply(slice("tcp", "second", ("db", first.port()), &[first.ip()]));
    says(other, "first");
    show(&[(other, "tcp/second:5432")]);
    nobody_listens(one);
    says(other, "first");
    held.write("still here\n");
    held.read_until("still here\n");
    cluster.delete(&config_map("tcp", "services", &[]));
    nobody_listens(other);
    held.write("still here\n");
    held.read_until("still here\n");
    assert_eq!(weir.get("nobody.test", "/").status, 404);
}

#[test]
fn bad_entries_and_taken_ports_are_told_and_cost_nothing_else() {
    let cluster = Cluster::shared();
    cluster.prepare("tcp-bad");
    let address = endpoint_address();
    let _origin = TcpOrigin::named_at(address, "origin");
    backend(cluster, "tcp-bad", "db", address);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken_port, port, http) = (taken.local_addr().unwrap().port(), free_port(), free_port());
    let entries = [
        (port, "tcp-bad/db:db"),
        (taken_port, "tcp-bad/db:db"),
        (http, "tcp-bad/db:db"),
        (1, "tcp-bad/nothing:1"),
        (2, "nonsense"),
    ];
    let data: Vec<_> = entries.map(|(port, value)| (port.to_string(), value)).into();
    cluster.apply(config_map("tcp-bad", "services", &data));
    let http_port = format!("--http-port={http}");
    let weir = Ingress::start(cluster, "tcp-bad", &["--tcp-services-configmap=tcp-bad/services", &http_port]);
    says(port, "origin");
    warned(cluster, "tcp-bad", "services", "there is no Service tcp-bad/nothing");
    warned(cluster, "tcp-bad", "services", "write it as namespace/service:port");
    warned(cluster, "tcp-bad", "services", &format!("port {http} is Weir's own (--http-port)"));
    warned(cluster, "tcp-bad", "services", &format!(":{taken_port}: "));
    drop(taken);
    says(taken_port, "origin");
    let status = weir.admin("/config/status").text();
    assert!(status.contains("configmap/tcp-bad/services"), "{status}");
    assert_eq!(support::request(local(http), "GET", "/").host("nobody.test").send().status, 404);
}

#[test]
fn the_proxy_protocol_is_spoken_where_the_entry_says_so() {
    let cluster = Cluster::shared();
    cluster.prepare("tcp-proxy");
    let (told, tells) = channel();
    let told = Mutex::new(told);
    let address = endpoint_address();
    let _origin = TcpOrigin::start_at(address, move |stream| {
        told.lock().unwrap().send(read_line(stream)?).unwrap();
        support::echo(stream)
    });
    backend(cluster, "tcp-proxy", "db", address);
    let (both, out) = (free_port(), free_port());
    let data = [(both.to_string(), "tcp-proxy/db:db:PROXY:PROXY"), (out.to_string(), "tcp-proxy/db:db::PROXY")];
    cluster.apply(config_map("tcp-proxy", "services", &data));
    cluster.apply(config_map("tcp-proxy", "options", &[("proxy-real-ip-cidr".into(), "127.0.0.0/8")]));
    let _weir = Ingress::start(
        cluster,
        "tcp-proxy",
        &["--tcp-services-configmap=tcp-proxy/services", "--configmap=tcp-proxy/options"],
    );
    let mut client = Connection::open(local(both));
    client.write("PROXY TCP4 203.0.113.9 192.0.2.1 4711 5432\r\nping\n");
    client.read_until("ping\n");
    assert_eq!(tells.recv_timeout(LIMIT).unwrap(), "PROXY TCP4 203.0.113.9 192.0.2.1 4711 5432");
    let mut client = Connection::open(local(out));
    client.write("ping\n");
    client.read_until("ping\n");
    let from = client.local_address();
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {out}", from.port());
    assert_eq!(tells.recv_timeout(LIMIT).unwrap(), expected);
    // Who does not speak it where it must be spoken has no connection.
    let mut other = Connection::open(local(both));
    let _ = other.try_write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    other.assert_closed();
}

#[test]
fn options_bound_what_is_carried() {
    let cluster = Cluster::shared();
    cluster.prepare("tcp-options");
    let address = endpoint_address();
    let _origin = TcpOrigin::named_at(address, "origin");
    backend(cluster, "tcp-options", "db", address);
    let port = free_port();
    cluster.apply(config_map("tcp-options", "services", &[(port.to_string(), "tcp-options/db:db")]));
    cluster.apply(config_map("tcp-options", "options", &[("proxy-stream-timeout".into(), "1s")]));
    let arguments = ["--tcp-services-configmap=tcp-options/services", "--configmap=tcp-options/options"];
    let _weir = Ingress::start(cluster, "tcp-options", &arguments);
    says(port, "origin");
    let mut idle = Connection::open(local(port));
    idle.read_until("origin\n");
    idle.assert_closed();
}

/// Whether a connection comes to the origin; none: it neither ends nor is heard of.
fn is_carried(port: u16) -> Option<bool> {
    let stream = TcpStream::connect(local(port)).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    Some(read_line(&mut &stream).is_ok_and(|line| line == "origin"))
}

/// Of a Service: its name, the endpoint that does not answer, and the options.
type Setting = (&'static str, SocketAddr, &'static [(&'static str, &'static str)]);

#[test]
fn options_say_how_often_and_how_long_an_endpoint_is_looked_for() {
    let cluster = Cluster::shared();
    cluster.prepare("tcp-next");
    let alive = endpoint_address();
    let _origin = TcpOrigin::named_at(alive, "origin");
    let other = |last: u8| SocketAddr::from(([10, 96, 255, last], alive.port()));
    let slow = Blackhole::start_at(other(1));
    // A Service for each of the settings: an endpoint that failed is left out for a while.
    let settings: [Setting; 4] = [
        ("usual", other(2), &[]),
        ("never", other(2), &[("proxy-stream-next-upstream", "false")]),
        ("once", other(2), &[("proxy-stream-next-upstream-tries", "1")]),
        ("soon", slow.address, &[("proxy-stream-next-upstream-timeout", "200ms"), ("proxy-connect-timeout", "1")]),
    ];
    for (name, dead, options) in settings {
        let port = free_port();
        cluster.apply(service("tcp-next", name, &[("db", 5432)]));
        cluster.apply(slice("tcp-next", name, ("db", alive.port()), &[dead.ip(), alive.ip()]));
        cluster.apply(config_map("tcp-next", name, &[(port.to_string(), &format!("tcp-next/{name}:db"))]));
        let options: Vec<_> = options.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
        cluster.apply(config_map("tcp-next", &format!("{name}-options"), &options));
        let services = format!("--tcp-services-configmap=tcp-next/{name}");
        let map = format!("--configmap=tcp-next/{name}-options");
        let _weir = Ingress::start(cluster, "tcp-next", &[&services, &map]);
        let carried: Vec<_> = (0..2).map(|_| is_carried(port).expect("somebody listens")).collect();
        let expected = if name == "usual" { 2 } else { 1 };
        assert_eq!(carried.iter().filter(|carried| **carried).count(), expected, "{name}: {carried:?}");
    }
}

#[test]
fn a_session_of_datagrams_ends_with_as_many_answers_as_the_option_says() {
    let cluster = Cluster::shared();
    cluster.prepare("udp-two");
    let address = endpoint_address();
    let server = UdpSocket::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = server.recv_from(&mut buffer) {
            for answer in [b"one", b"two", b"end"] {
                let _ = server.send_to(answer, from);
            }
        }
    });
    let mut dns = service("udp-two", "dns", &[("dns", 53)]);
    dns["spec"]["ports"] = json!([{ "name": "dns", "port": 53, "protocol": "UDP" }]);
    cluster.apply(dns);
    let mut slice = slice("udp-two", "dns", ("dns", address.port()), &[address.ip()]);
    slice["ports"] = json!([{ "name": "dns", "port": address.port(), "protocol": "UDP" }]);
    cluster.apply(slice);
    let port = free_port();
    cluster.apply(config_map("udp-two", "services", &[(port.to_string(), "udp-two/dns:53")]));
    cluster.apply(config_map("udp-two", "options", &[("proxy-stream-responses".into(), "2")]));
    let arguments = ["--udp-services-configmap=udp-two/services", "--configmap=udp-two/options"];
    let _weir = Ingress::start(cluster, "udp-two", &arguments);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(local(port)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    client.send(b"ping").unwrap();
    let mut answers = Vec::new();
    let mut buffer = [0; 64];
    while let Ok(length) = client.recv(&mut buffer) {
        answers.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    assert_eq!(answers, ["one", "two"]);
}

#[test]
fn datagrams_go_to_the_service_s_udp_port() {
    let cluster = Cluster::shared();
    cluster.prepare("udp");
    let (address, decoy) = (endpoint_address(), free_port());
    let server = UdpSocket::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..length], from);
        }
    });
    let mut dns = service("udp", "dns", &[("dns", 53)]);
    dns["spec"]["ports"] = json!([
        { "name": "dns-tcp", "port": 53, "protocol": "TCP" }, { "name": "dns", "port": 53, "protocol": "UDP" },
    ]);
    cluster.apply(dns);
    let mut slice = slice("udp", "dns", ("dns", address.port()), &[address.ip()]);
    slice["ports"] = json!([
        { "name": "dns-tcp", "port": decoy, "protocol": "TCP" },
        { "name": "dns", "port": address.port(), "protocol": "UDP" },
    ]);
    cluster.apply(slice);
    let port = free_port();
    cluster.apply(config_map("udp", "services", &[(port.to_string(), "udp/dns:53")]));
    let weir = Ingress::start(cluster, "udp", &["--udp-services-configmap=udp/services"]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(local(port)).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    eventually("an answer", || {
        client.send(b"ping").ok()?;
        let mut buffer = [0; 64];
        let length = client.recv(&mut buffer).ok()?;
        (&buffer[..length] == b"ping").then_some(())
    });
    // proxy-stream-responses is 1, as in ingress-nginx.
    eventually("the session is over", || {
        let log = weir.log();
        log.lines().any(|line| line.contains("\"protocol\":\"UDP\"") && line.contains("\"completed\"")).then_some(())
    });
}

#[test]
fn tls_of_a_host_ends_at_its_pods_where_the_annotation_and_the_flag_say_so() {
    let cluster = Cluster::shared();
    cluster.prepare("passthrough");
    let (authority, address) = (Authority::new("pods"), endpoint_address());
    let theirs = authority.issue(&["db.test", "a.wild.test"]);
    let _pod = TlsEcho::start_at(address, &theirs);
    backend(cluster, "passthrough", "db", address);
    let make = |name: &str, host: &str, annotations: Value| {
        let mut object = ingress("passthrough", name, host, &[("/", "db", json!("db"))]);
        object["metadata"]["annotations"] = annotations;
        cluster.apply(object.clone());
        object
    };
    let passed = json!({
        "nginx.ingress.kubernetes.io/ssl-passthrough": "true",
        // Means nothing over TLS.
        "nginx.ingress.kubernetes.io/denylist-source-range": "0.0.0.0/0",
    });
    make("exact", "db.test", passed.clone());
    make("wild", "*.wild.test", passed.clone());
    make("ended-here", "web.test", json!({}));
    let weir = Ingress::start(cluster, "passthrough", &["--enable-ssl-passthrough"]);
    let anyone = support::TlsClient::trusting_anyone(&[b"http/1.1"]);
    let is_passed = |weir: &Ingress, host: &str| anyone.certificate_for(weir.https, host) == theirs.der();
    assert!(is_passed(&weir, "db.test") && is_passed(&weir, "a.wild.test"));
    assert!(!is_passed(&weir, "web.test") && !is_passed(&weir, "other.test"));
    let mut connection = authority.client().connect(weir.https, "db.test").unwrap();
    connection.write("ping\n");
    connection.read_until("ping\n");
    // Without TLS it is a host like any other.
    assert_eq!(weir.get("db.test", "/").status, 403);

    make("ended-here", "web.test", passed.clone());
    eventually("the next handshake is the pod's", || is_passed(&weir, "web.test").then_some(()));
    make("exact", "db.test", json!({}));
    eventually("and this one is Weir's", || (!is_passed(&weir, "db.test")).then_some(()));
    connection.write("still here\n");
    connection.read_until("still here\n");

    // Without the flag nothing that was meant for the pod is read here.
    drop(weir);
    let weir = Ingress::start(cluster, "passthrough", &[]);
    assert!(!is_passed(&weir, "a.wild.test"));
    let mut tls = anyone.connect(weir.https, "a.wild.test").unwrap();
    tls.write("GET / HTTP/1.1\r\nHost: a.wild.test\r\n\r\n");
    assert_eq!(tls.read_response().status, 503);
}
