//! `weir migrate check`: what would become of Ingresses, from files and from a real cluster.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use support::weir_command;

const SHOP: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  namespace: default
  annotations:
    nginx.ingress.kubernetes.io/ssl-redirect: "true"
    nginx.ingress.kubernetes.io/affinity: cookie
spec:
  ingressClassName: nginx
  rules:
  - host: shop.test
    http: { paths: [ { path: /, pathType: Prefix, backend: { service: { name: shop, port: { number: 80 } } } } ] }
"#;

const WAF: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: waf
  namespace: default
  annotations: { nginx.ingress.kubernetes.io/enable-modsecurity: "true", nginx.ingress.kubernetes.io/proxy-body-size: "<8x>" }
spec:
  ingressClassName: nginx
  rules:
  - host: waf.test
    http: { paths: [ { path: /, pathType: Prefix, backend: { service: { name: waf, port: { number: 80 } } } } ] }
"#;

fn checked(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        weir_command().args(["migrate", "check"]).args(arguments).output().expect("weir starts");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

fn written(folder: &Path, files: &[(&str, &str)]) -> String {
    for (name, text) in files {
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    folder.display().to_string()
}

#[test]
fn a_folder_of_manifests_gets_its_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &[("shop.yaml", SHOP), ("deep/waf.yml", WAF), ("notes.txt", "kind: [")]);
    let (code, text) = checked(&["-f", &path]);
    assert_eq!(code, Some(1), "{text}");
    for line in [
        "default/shop (shop.test): differs\n  identical  ssl-redirect\n  differs    affinity: ",
        "default/waf (waf.test): refused\n  refused    enable-modsecurity: ",
        "  refused    proxy-body-size: \"<8x>\" is not a size",
        "  identical  0 Ingresses, 1 annotations, 0 options\n",
        "  refused    1 Ingresses, 2 annotations, 0 options\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
}

#[test]
fn what_can_be_taken_over_ends_well_and_standard_input_is_read() {
    let mut command = weir_command();
    command.args(["migrate", "check", "-f", "-", "--format", "json"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("weir starts");
    child.stdin.take().unwrap().write_all(SHOP.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["ingresses"][0]["ingress"], "default/shop");
    assert_eq!(report["ingresses"][0]["annotations"][0]["verdict"], "differs");
    assert_eq!(report["totals"]["differs"]["ingresses"], 1);
}

#[test]
fn a_page_shows_what_was_written_as_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &[("waf.yaml", WAF)]);
    let (code, page) = checked(&["-f", &path, "--format", "html"]);
    assert_eq!(code, Some(1));
    assert!(page.contains("<h2>default/waf <small class=\"refused\">refused</small></h2>"), "{page}");
    assert!(page.contains("&lt;8x&gt;") && !page.contains("<8x>"), "{page}");
}

#[test]
fn flags_of_ingress_nginx_say_what_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        "kind: ConfigMap\nmetadata: { name: c, namespace: ingress }\ndata: { hsts: \"false\", no-such: \"1\" }\n";
    let class = "kind: IngressClass\nmetadata: { name: nginx }\nspec: { controller: example.test/other }\n";
    let own = SHOP.replace("nginx.ingress.kubernetes.io", "own.test").replace("  ingressClassName: nginx\n", "");
    let path =
        written(folder.path(), &[("own.yaml", &own), ("c.yaml", options), ("class.yaml", class), ("waf.yaml", WAF)]);
    let (code, text) = checked(&["-f", &path, "--annotations-prefix", "own.test", "--configmap", "ingress/c"]);
    assert_eq!(code, Some(1), "an option is not known: {text}");
    assert!(text.contains("of other classes, not looked at: default/shop, default/waf"), "{text}");
    assert!(text.contains("global options\n  identical  hsts\n  refused    no-such: "), "{text}");
    let (_, text) = checked(&["-f", &path, "--annotations-prefix", "own.test", "--watch-ingress-without-class"]);
    assert!(text.contains("default/shop (shop.test): differs"), "{text}");
    let (_, text) = checked(&["-f", &path, "--controller-class", "example.test/other"]);
    assert!(text.contains("default/waf (waf.test): refused"), "{text}");
    let (code, text) = checked(&["-f", &path, "--ingress-class", "other"]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn what_cannot_be_read_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &[("bad.yaml", "kind: Ingress\nmetadata: { name: a }\nspec: { rules: 5 }\n")]);
    let (code, text) = checked(&["-f", &path]);
    assert_eq!(code, Some(3));
    assert!(text.contains("bad.yaml: Ingress a: "), "{text}");
    let (code, text) = checked(&["-f", "/nowhere/at-all.yaml"]);
    assert_eq!(code, Some(3));
    assert!(text.contains("/nowhere/at-all.yaml cannot be read"), "{text}");
    let empty = tempfile::tempdir().unwrap();
    let (code, text) = checked(&["-f", &empty.path().display().to_string()]);
    assert_eq!(code, Some(3));
    assert!(text.contains("there are no manifests"), "{text}");
}
