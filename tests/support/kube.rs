//! A real Kubernetes API: etcd and kube-apiserver in a folder and a network of the test's own, and `weir ingress` on it.
//!
//! ```text
//! test ──objects──► kube-apiserver ──watch──► weir ingress ──► origins at 10.x (endpoints may not be on the loopback)
//! ```
//!
//! Only tests of `weir ingress` have it, as a module of their own: the others need no client of Kubernetes.
//!
//! The programs come from `KUBEBUILDER_ASSETS`, or from where `tests/run.sh` puts them. A test that lacks them fails.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Authority, LIMIT, Process, Request, Response, Signal, block_on, eventually, free_address, free_port, request,
    weir_binary,
};

/// May do everything.
pub const ADMIN: &str = "admin-token";
/// May do what a test binds to the user `limited`.
pub const LIMITED: &str = "limited-token";

/// The API of one cluster.
pub struct Cluster {
    // Before the folder: they must have ended when it is removed.
    api: Option<Process>,
    _etcd: Process,
    folder: TempDir,
    address: SocketAddr,
    etcd_address: SocketAddr,
    client: Client,
}

impl Cluster {
    /// One for all tests that neither stop nor break it. Each makes its own namespaces and classes.
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        enter_network();
        SHARED.get_or_init(Self::start)
    }

    #[track_caller]
    pub fn start() -> Cluster {
        enter_network();
        let folder = tempfile::tempdir().expect("a folder for the cluster");
        let (address, etcd_address) = (free_address(), free_address());
        write_keys(folder.path(), address);
        let etcd = start_etcd(folder.path(), etcd_address);
        let api = start_api(folder.path(), address, etcd_address);
        let client = client(&folder.path().join("admin.kubeconfig"));
        let mut cluster = Cluster { api: Some(api), _etcd: etcd, folder, address, etcd_address, client };
        cluster.wait_until_ready();
        cluster
    }

    /// For a program that reads one: of a user by its token.
    pub fn kubeconfig(&self, token: &str) -> PathBuf {
        self.folder.path().join(format!("{}.kubeconfig", token.trim_end_matches("-token")))
    }

    /// The API server is gone from one moment to the next.
    pub fn kill_api(&mut self) {
        if let Some(api) = self.api.take() {
            api.signal(Signal::Kill);
            drop(api);
        }
    }

    #[track_caller]
    pub fn restart_api(&mut self) {
        self.kill_api();
        self.api = Some(start_api(self.folder.path(), self.address, self.etcd_address));
        self.wait_until_ready();
    }

    /// What was before is forgotten: who watched from there is told 410.
    pub fn compact(&self) {
        let ask = |path: &str, body: Value| -> Value {
            let answer = request(self.etcd_address, "POST", path).body(body.to_string()).send();
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            serde_json::from_str(&answer.text()).expect("JSON")
        };
        let now = ask("/v3/kv/range", json!({ "key": "AA==" }));
        let revision = now["header"]["revision"].as_str().expect("a revision").to_owned();
        ask("/v3/kv/compaction", json!({ "revision": revision, "physical": true }));
    }

    #[track_caller]
    fn wait_until_ready(&mut self) {
        // On a busy machine it takes more than one wait.
        for _ in 0..8 {
            if self.is_ready_soon() {
                return;
            }
            if let Some(api) = &mut self.api
                && let Some(status) = api.exit_status()
            {
                panic!("kube-apiserver ended with {status}: {}", api.log());
            }
        }
        panic!("kube-apiserver does not become ready");
    }

    fn is_ready_soon(&self) -> bool {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            let asked = http::Request::get("/readyz").body(Vec::new()).expect("a request");
            let is_ready = block_on(async { self.client.request_text(asked).await.is_ok() });
            if is_ready {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// Makes the object, or what it is from now on.
    #[track_caller]
    pub fn apply(&self, object: Value) {
        self.try_apply(&object).unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    /// Many at one time, in their order but for a few.
    pub fn apply_all(&self, objects: Vec<Value>) {
        const AT_ONCE: usize = 16;
        for some in objects.chunks(200) {
            let apply = |object: &Value| {
                let path = format!("{}?fieldManager=test&force=true", path_of(object));
                let asked = http::Request::patch(path).header("content-type", "application/apply-patch+yaml");
                let asked = asked.body(object.to_string().into_bytes()).expect("a request");
                let client = self.client.clone();
                async move { client.request::<Value>(asked).await.expect("the object is made") }
            };
            let applied = futures::stream::iter(some.iter().map(apply)).buffer_unordered(AT_ONCE);
            block_on(applied.for_each(|_| async {}));
        }
    }

    pub fn try_apply(&self, object: &Value) -> Result<Value, kube::Error> {
        let path = format!("{}?fieldManager=test&force=true", path_of(object));
        self.send("PATCH", &path, "application/apply-patch+yaml", Some(object))
    }

    /// Merges `status` into the object's.
    #[track_caller]
    pub fn set_status(&self, object: &Value, status: Value) {
        let path = format!("{}/status", path_of(object));
        let patch = json!({ "status": status });
        self.send("PATCH", &path, "application/merge-patch+json", Some(&patch))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    #[track_caller]
    pub fn delete(&self, object: &Value) {
        let path = path_of(object);
        self.send("DELETE", &path, "application/json", None).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// A pod at once: no kubelet says that it has ended.
    #[track_caller]
    pub fn delete_pod(&self, namespace: &str, name: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds=0");
        self.send("DELETE", &path, "application/json", None).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// What the API has under this path.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.send("GET", path, "application/json", None).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The same of an object.
    #[track_caller]
    pub fn get_object(&self, object: &Value) -> Value {
        self.get(&path_of(object))
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: Option<&Value>) -> Result<Value, kube::Error> {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let asked = http::Request::builder().method(method).uri(path).header("content-type", kind);
        let asked = asked.body(body).expect("a request");
        block_on(self.client.request::<Value>(asked))
    }

    /// A namespace of this name, and a class of the same.
    pub fn prepare(&self, name: &str) {
        self.apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }));
        self.apply(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": name },
            "spec": { "controller": controller(name) },
        }));
    }
}

/// The controller of a test's class.
pub fn controller(name: &str) -> String {
    format!("weir.test/{name}")
}

fn path_of(object: &Value) -> String {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let version = text("/apiVersion").expect("apiVersion");
    let kind = text("/kind").expect("kind").to_ascii_lowercase();
    let plural = match kind.strip_suffix('s') {
        Some(_) => format!("{kind}es"),
        None => format!("{kind}s"),
    };
    let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let namespace = text("/metadata/namespace").map_or(String::new(), |name| format!("/namespaces/{name}"));
    format!("{root}{namespace}/{plural}/{}", text("/metadata/name").expect("a name"))
}

// Objects.

pub fn service(namespace: &str, name: &str, ports: &[(&str, u16)]) -> Value {
    let ports: Vec<_> = ports.iter().map(|(name, port)| json!({ "name": name, "port": port })).collect();
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": namespace, "name": name }, "spec": { "ports": ports } })
}

/// Ready endpoints, all on one port, of the Service `name`.
pub fn slice(namespace: &str, name: &str, port: (&str, u16), addresses: &[IpAddr]) -> Value {
    let endpoints: Vec<_> =
        addresses.iter().map(|address| json!({ "addresses": [address], "conditions": { "ready": true } })).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "namespace": namespace, "name": format!("{name}-1"), "labels": { "kubernetes.io/service-name": name } },
        "addressType": "IPv4", "ports": [{ "name": port.0, "port": port.1, "protocol": "TCP" }], "endpoints": endpoints,
    })
}

/// Of the class that is named as the namespace; `paths` lead to Services and their ports by name or number.
pub fn ingress(namespace: &str, name: &str, host: &str, paths: &[(&str, &str, Value)]) -> Value {
    let paths: Vec<_> = paths
        .iter()
        .map(|(path, service, port)| {
            let port = if port.is_number() { json!({ "number": port }) } else { json!({ "name": port }) };
            json!({ "path": path, "pathType": "Prefix", "backend": { "service": { "name": service, "port": port } } })
        })
        .collect();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "namespace": namespace, "name": name },
        "spec": { "ingressClassName": namespace, "rules": [{ "host": host, "http": { "paths": paths } }] },
    })
}

pub fn tls_secret(namespace: &str, name: &str, cert: &str, key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "namespace": namespace, "name": name }, "stringData": { "tls.crt": cert, "tls.key": key },
    })
}

/// An address that only this test process knows, for an endpoint.
pub fn endpoint_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, b, c, d] = number.to_be_bytes();
    SocketAddr::new(Ipv4Addr::new(10, b, c, d).into(), free_port())
}

// Weir.

/// A running `weir ingress`.
pub struct Ingress {
    process: Process,
    // After the process: it must have ended when this is removed.
    _folder: TempDir,
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub admin: SocketAddr,
}

impl Ingress {
    /// Serves the class `class` and waits until it is ready.
    #[track_caller]
    pub fn start(cluster: &Cluster, class: &str, arguments: &[&str]) -> Ingress {
        let mut ingress = Self::spawn(cluster, class, arguments);
        ingress.wait_until_ready();
        ingress
    }

    pub fn spawn(cluster: &Cluster, class: &str, arguments: &[&str]) -> Ingress {
        Self::spawn_as(&cluster.kubeconfig(ADMIN), class, arguments, &[])
    }

    pub fn spawn_as(kubeconfig: &Path, class: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Ingress {
        enter_network();
        let folder = tempfile::tempdir().expect("a folder for the test");
        // On a port that the test has chosen, where it has.
        let address = |flag: &str| {
            let given = arguments.iter().find_map(|argument| argument.strip_prefix(flag)?.strip_prefix('='));
            given.map_or_else(free_address, |port| (Ipv4Addr::LOCALHOST, port.parse().expect("a port")).into())
        };
        let (http, https, admin) = (address("--http-port"), address("--https-port"), free_address());
        let mut command = Command::new(weir_binary());
        command.arg("ingress").arg("--kubeconfig").arg(kubeconfig);
        let defaults = [
            format!("--http-port={}", http.port()),
            format!("--https-port={}", https.port()),
            format!("--healthz-port={}", admin.port()),
            format!("--ingress-class={class}"),
            format!("--controller-class={}", controller(class)),
            format!("--election-id={class}"),
        ];
        let is_given = |default: &&String| {
            let (flag, _) = default.split_once('=').expect("a flag with a value");
            !arguments.iter().any(|argument| argument.split('=').next() == Some(flag))
        };
        command.args(defaults.iter().filter(is_given)).args(arguments);
        command.envs(environment.iter().copied()).current_dir(folder.path());
        let process = Process::start(command, &folder.path().join("weir.log"));
        Ingress { process, _folder: folder, http, https, admin }
    }

    /// As [`Ingress::start`], where that may take longer than other things.
    pub fn start_slowly(cluster: &Cluster, class: &str, arguments: &[&str], limit: Duration) -> Ingress {
        let end = Instant::now() + limit;
        let mut ingress = Self::spawn(cluster, class, arguments);
        let is_ready = |admin| Request::try_get(admin, "/readyz").is_ok_and(|answer| answer.status == 200);
        while Instant::now() < end && !is_ready(ingress.admin) {
            std::thread::sleep(Duration::from_millis(10));
        }
        ingress.wait_until_ready();
        ingress
    }

    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        let admin = self.admin;
        eventually("weir is ready", || {
            if let Some(status) = self.process.exit_status() {
                panic!("weir ended with {status} instead of serving");
            }
            (Request::try_get(admin, "/readyz").ok()?.status == 200).then_some(())
        });
    }

    pub fn get(&self, host: &str, target: &str) -> Response {
        request(self.http, "GET", target).host(host).send()
    }

    /// Waits until a request is answered with this status.
    #[track_caller]
    pub fn answers(&self, host: &str, target: &str, status: u16) -> Response {
        eventually(&format!("{host}{target} is answered {status}"), || {
            let answer = request(self.http, "GET", target).host(host).try_send().ok()?;
            (answer.status == status).then_some(answer)
        })
    }

    /// Waits until a request is answered 200 with this body.
    #[track_caller]
    pub fn shows(&self, host: &str, target: &str, body: &str) {
        eventually(&format!("{host}{target} shows {body:?}"), || {
            let answer = request(self.http, "GET", target).host(host).try_send().ok()?;
            (answer.status == 200 && answer.text() == body).then_some(())
        });
    }

    pub fn admin(&self, target: &str) -> Response {
        request(self.admin, "GET", target).send()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    #[track_caller]
    pub fn wait_for_exit(&mut self) -> std::process::ExitStatus {
        self.process.wait()
    }

    pub fn exit_status(&mut self) -> Option<std::process::ExitStatus> {
        self.process.exit_status()
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn resident_kib(&self) -> u64 {
        self.process.resident_kib()
    }
}

// The programs.

pub fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("KUBEBUILDER_ASSETS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/kube"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return path;
    }
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&on_path).map(|folder| folder.join(name)).find(|path| path.exists()).unwrap_or_else(|| {
        panic!("there is no {name} in {}: set KUBEBUILDER_ASSETS, or let tests/run.sh get it", folder.display())
    })
}

fn write_keys(folder: &Path, address: SocketAddr) {
    let write =
        |name: &str, content: &str| std::fs::write(folder.join(name), content).expect("the file can be written");
    let authority = Authority::new("test cluster");
    let server = authority.issue(&["127.0.0.1", "localhost", "kubernetes.default.svc"]);
    // Signs the tokens of service accounts.
    let accounts = authority.issue(&["service-accounts"]);
    write("ca.crt", &authority.pem());
    write("api.crt", &server.cert);
    write("api.key", &server.key);
    write("accounts.crt", &accounts.cert);
    write("accounts.key", &accounts.key);
    write("tokens.csv", &format!("{ADMIN},admin,admin,system:masters\n{LIMITED},limited,limited\n"));
    for token in [ADMIN, LIMITED] {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": {
                "server": format!("https://{address}"), "certificate-authority": folder.join("ca.crt"),
            } }],
            "users": [{ "name": "test", "user": { "token": token } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        });
        write(&format!("{}.kubeconfig", token.trim_end_matches("-token")), &kubeconfig.to_string());
    }
}

fn start_etcd(folder: &Path, address: SocketAddr) -> Process {
    let (clients, peers) = (format!("http://{address}"), format!("http://{}", free_address()));
    let mut command = Command::new(program("etcd"));
    command.args(["--name", "test", "--log-level", "warn", "--unsafe-no-fsync"]);
    command.arg("--data-dir").arg(folder.join("etcd"));
    command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &format!("test={peers}")]);
    Process::start(command, &folder.join("etcd.log"))
}

fn start_api(folder: &Path, address: SocketAddr, etcd: SocketAddr) -> Process {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new(program("kube-apiserver"));
    command.args([
        format!("--etcd-servers=http://{etcd}"),
        format!("--bind-address={}", address.ip()),
        format!("--secure-port={}", address.port()),
        // Else it looks for a way out of this network, and there is none.
        "--advertise-address=10.0.0.1".to_owned(),
        format!("--tls-cert-file={}", file("api.crt")),
        format!("--tls-private-key-file={}", file("api.key")),
        format!("--token-auth-file={}", file("tokens.csv")),
        format!("--service-account-key-file={}", file("accounts.crt")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        // No controller makes the account that pods need.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--profiling=false".to_owned(),
    ]);
    Process::start(command, &folder.join("api.log"))
}

fn client(kubeconfig: &Path) -> Client {
    // The test's own client: the program under test chooses for itself.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    block_on(async {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Client::try_from(config.expect("a configuration")).expect("a client")
    })
}

// The network.

/// Moves this thread, and what it starts from then on, into a network where all of 10.0.0.0/8 is this machine: an endpoint
/// may not stand on the loopback. Call it before anything else is started.
pub fn enter_network() {
    static NETWORK: OnceLock<File> = OnceLock::new();
    let network = NETWORK.get_or_init(|| std::thread::spawn(make_network).join().expect("a network can be made"));
    // SAFETY: plain system call on a descriptor that lives as long as the process.
    let entered = unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(entered, 0, "the network cannot be entered: {}", std::io::Error::last_os_error());
}

fn make_network() -> File {
    // SAFETY: plain system call; only this thread moves.
    let made = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    let error = std::io::Error::last_os_error();
    assert_eq!(made, 0, "no network of its own ({error}): run the tests as root, or with CAP_SYS_ADMIN");
    for arguments in [&["link", "set", "lo", "up"][..], &["address", "add", "10.0.0.1/8", "dev", "lo"]] {
        let ended = Command::new("ip").args(arguments).status().expect("ip can be started");
        assert!(ended.success(), "ip {arguments:?}: {ended}");
    }
    File::open("/proc/thread-self/ns/net").expect("the network can be opened")
}
