//! kubectl and Helm, as people use them, and what Weir's manifests become by them.
//!
//! ```text
//! folder ──kubectl kustomize──┐
//! values ──k8s/chart, Helm────┴─► kube-apiserver, asked and not told ──► objects with their defaults
//! ```
//!
//! Goes with `kube.rs`: a test that has it as a module has that one, too.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::kube::{ADMIN, Cluster, enter_network, program};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// kubectl against one cluster, as its administrator.
pub struct Kubectl {
    cluster: Cluster,
}

impl Kubectl {
    /// One for all tests of the file, with what Weir's manifests need before they can be asked about.
    pub fn shared() -> &'static Kubectl {
        static SHARED: OnceLock<Kubectl> = OnceLock::new();
        enter_network();
        SHARED.get_or_init(|| Kubectl { cluster: Cluster::start() }.prepared())
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(program("kubectl"));
        command.env("KUBECONFIG", self.cluster.kubeconfig(ADMIN)).args(arguments);
        fed(command, input)
    }

    /// Sends manifests; the objects as the API server has them, its defaults filled in.
    #[track_caller]
    pub fn apply(&self, manifests: &str, how: Apply) -> Vec<Value> {
        let mut arguments = vec!["apply", "--validate=strict", "--output=json", "--filename=-"];
        if how == Apply::OnlyAsk {
            arguments.push("--dry-run=server");
        }
        let output = self.run(&arguments, manifests);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.trim().is_empty(), "kubectl apply: {said}\n{manifests}");
        let made: Value = serde_json::from_slice(&output.stdout).expect("kubectl writes JSON");
        match made.get("items") {
            Some(items) => items.as_array().expect("a list").clone(),
            None => vec![made],
        }
    }

    /// The base itself, the kinds that operators bring, and a few namespaces, of which some enforce the pod security standard
    /// `restricted`.
    #[track_caller]
    fn prepared(self) -> Kubectl {
        self.apply(include_str!("crds.yaml"), Apply::ForGood);
        self.apply(&kustomize(&in_root("k8s/base")), Apply::ForGood);
        for (name, level) in
            [("restricted", "restricted"), ("smoke", "restricted"), ("chart", "privileged"), ("shop", "restricted")]
        {
            let labels = json!({ "pod-security.kubernetes.io/enforce": level });
            let metadata = json!({ "name": name, "labels": labels });
            self.apply(
                &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }).to_string(),
                Apply::ForGood,
            );
        }
        // Pods need it, and no controller is there to make it.
        let account = json!({ "name": "default", "namespace": "restricted" });
        self.apply(
            &json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": account }).to_string(),
            Apply::ForGood,
        );
        self
    }

    /// For a program that is to have the rights of a service account, as `namespace:name`.
    #[track_caller]
    pub fn kubeconfig_of(&self, account: &str, folder: &Path) -> PathBuf {
        let (namespace, name) = account.split_once(':').expect("namespace:name");
        let token = succeeded(self.run(&["create", "token", name, "--namespace", namespace], ""));
        let kubeconfig = std::fs::read_to_string(self.cluster.kubeconfig(ADMIN)).expect("a kubeconfig");
        let path = folder.join(format!("{name}.kubeconfig"));
        std::fs::write(&path, kubeconfig.replace(ADMIN, token.trim())).expect("it can be written");
        path
    }

    /// What a namespace that enforces `restricted` says to a pod of the workload.
    pub fn refused_as_restricted(&self, workload: &Value) -> Option<String> {
        let mut spec = workload["spec"]["template"]["spec"].clone();
        // The account is of another namespace, and no matter of pod security.
        for key in ["serviceAccountName", "serviceAccount"] {
            spec.as_object_mut().expect("an object").remove(key);
        }
        let metadata = json!({ "name": "asked", "namespace": "restricted" });
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
        let output = self.run(&["create", "--dry-run=server", "--filename=-"], &pod.to_string());
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Of a service account, as `namespace:name`.
    #[track_caller]
    pub fn assert_may(&self, account: &str, needed: &[Asked], refused: &[Asked]) {
        for (asked, allowed) in needed.iter().zip(self.may(account, needed)) {
            assert!(allowed, "{account} needs {asked:?}");
        }
        for (asked, allowed) in refused.iter().zip(self.may(account, refused)) {
            assert!(!allowed, "{account} is given {asked:?}");
        }
    }

    /// What it is told when it asks.
    #[track_caller]
    fn may(&self, account: &str, asked: &[Asked]) -> Vec<bool> {
        if asked.is_empty() {
            return Vec::new();
        }
        let reviews: Vec<String> = asked.iter().map(|asked| access_review(*asked).to_string()).collect();
        let account = format!("--as=system:serviceaccount:{account}");
        let output =
            self.run(&["create", "--validate=false", "--output=json", "--filename=-", &account], &reviews.join("\n"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl create: {said}");
        let answers = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
        let allowed = |answer: Value| answer["status"]["allowed"].as_bool().expect("an answer");
        let told: Vec<bool> = answers.map(|answer| allowed(answer.expect("kubectl writes JSON"))).collect();
        assert_eq!(told.len(), asked.len());
        told
    }
}

fn access_review((verb, resource, namespace): Asked) -> Value {
    let (resource, name) = resource.split_once('=').unwrap_or((resource, ""));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "verb": verb,
            "resource": resource,
            "group": group,
            "subresource": subresource,
            "name": name,
            "namespace": namespace,
        } },
    })
}

/// A verb, a resource (`resource.group/subresource=name`) and a namespace, empty for all of them.
pub type Asked = (&'static str, &'static str, &'static str);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Apply {
    ForGood,
    /// All is checked as if it were to be kept, and nothing is.
    OnlyAsk,
}

/// What `kubectl kustomize` makes of a folder.
#[track_caller]
pub fn kustomize(folder: &Path) -> String {
    let mut command = Command::new(program("kubectl"));
    command.arg("kustomize").arg(folder);
    succeeded(fed(command, ""))
}

/// What the chart makes of these values in `namespace`, as the release `weir`.
#[track_caller]
pub fn chart(namespace: &str, values: &Value) -> String {
    succeeded(helm("template", namespace, values))
}

/// What is wrong with these values.
#[track_caller]
pub fn refused_by_the_chart(values: &Value) -> String {
    let output = helm("template", "weir", values);
    assert!(!output.status.success(), "the chart takes {values}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub fn lint_the_chart(values: &Value) {
    succeeded(helm("lint", "weir", values));
}

fn helm(what: &str, namespace: &str, values: &Value) -> Output {
    let mut command = Command::new(Path::new(ROOT).join("target/tools/venv/bin/python3"));
    command.arg(Path::new(ROOT).join("tests/support/helm.py")).arg(what);
    command.arg(Path::new(ROOT).join("k8s/chart")).arg(namespace);
    fed(command, &values.to_string())
}

fn fed(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started ({error}): tests/run.sh installs it"));
    // What is written is read to the end before anything is answered.
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

pub fn in_root(path: &str) -> PathBuf {
    Path::new(ROOT).join(path)
}

/// The one of its kind.
#[track_caller]
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("there is a {kind}"));
    assert!(found.next().is_none(), "there is one {kind}");
    first
}

/// The flags that a workload's container is given.
pub fn arguments_of(workload: &Value) -> Vec<String> {
    let arguments = workload["spec"]["template"]["spec"]["containers"][0]["args"].as_array().expect("arguments");
    arguments.iter().map(|argument| argument.as_str().expect("text").to_owned()).collect()
}
