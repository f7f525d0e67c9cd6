//! The examples are what people copy: each is checked, and the first user's goes where it should.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::weir_command;
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A copy of the examples with the certificates, secrets and folders they name.
struct Examples {
    folder: TempDir,
}

impl Examples {
    fn new() -> Examples {
        let folder = tempfile::tempdir().unwrap();
        let certificates = folder.path().join("certs");
        let made = Command::new("bash")
            .arg(Path::new(ROOT).join("certs/make-dev-certs.sh"))
            .arg("-d")
            .arg(&certificates)
            .args(["localhost", "example.test", "*.example.test", "sql-studio.app", "*.sql-studio.app"])
            .output()
            .expect("bash is there");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::write(certificates.join("tsig.key"), "c2VjcmV0").expect("the file can be written");
        std::fs::create_dir_all(folder.path().join("config/site/files")).expect("a folder");
        Examples { folder }
    }

    /// Puts the example where the files it names are.
    fn place(&self, example: &Path) -> PathBuf {
        let text = std::fs::read_to_string(example).unwrap();
        let copy = self.folder.path().join("config").join(example.file_name().unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::write(&copy, text).unwrap();
        copy
    }

    fn check(&self, example: &Path) -> Output {
        weir_command().arg("check").arg(self.place(example)).output().expect("weir starts")
    }
}

fn examples() -> Vec<PathBuf> {
    let in_folder = |folder: &str| {
        let entries = std::fs::read_dir(Path::new(ROOT).join(folder)).expect("the folder is there");
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let mut files = [in_folder("config"), in_folder("config/compose/weir")].concat();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

#[test]
fn every_example_passes_the_check_without_a_warning() {
    let files = examples();
    assert!(files.len() >= 7, "{files:?}");
    let made = Examples::new();
    for file in files {
        let output = made.check(&file);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{}:\n{said}", file.display());
        assert!(!said.contains("warning"), "{}:\n{said}", file.display());
    }
}

#[test]
fn the_first_file_of_the_readme_passes_the_check() {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```yaml\n").expect("it shows a file");
    let (yaml, _) = rest.split_once("```").expect("the block ends");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.yaml");
    std::fs::write(&file, yaml).unwrap();
    let output = weir_command().arg("check").arg(&file).output().expect("weir starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && !said.contains("warning"), "{said}");
}

#[test]
fn the_alerts_fire_when_they_should() {
    for arguments in [
        ["check", "rules", "alerts.yaml"],
        ["test", "rules", "alerts.test.yaml"],
        ["test", "rules", "traffic.test.yaml"],
    ] {
        let folder = Path::new(ROOT).join("config/prometheus");
        let output = Command::new("promtool").args(arguments).current_dir(folder).output();
        let output = output.unwrap_or_else(|error| panic!("promtool cannot be started ({error}): install prometheus"));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.contains("SUCCESS"), "{said}");
    }
}

#[test]
fn every_example_is_in_the_table_of_the_readme() {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("config/README.md")).unwrap();
    for file in examples().iter().filter(|path| path.parent().unwrap().ends_with("config")) {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(readme.contains(&format!("[{name}]({name})")), "{name}");
    }
}

#[test]
fn the_first_users_routes_go_where_nginx_sent_them() {
    let made = Examples::new();
    let file = made.place(&Path::new(ROOT).join("config/first-user.yaml"));
    let explained = |method: &str, url: &str| {
        let output = weir_command().arg("explain").arg(&file).args([method, url]).output().expect("weir starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (method, url, part) in [
        ("POST", "https://api.sql-studio.app/api/v1/auth/login", "auth"),
        ("GET", "https://api.sql-studio.app/api/v1/projects", "backend"),
        ("GET", "https://api.sql-studio.app/ws/session", "7d"),
        ("GET", "https://api.sql-studio.app/health", "2s"),
        ("GET", "https://sql-studio.app/", "frontend"),
        ("GET", "https://www.sql-studio.app/assets/app.js", "frontend"),
        ("GET", "http://10.0.0.5/lb-health", "200"),
        ("GET", "http://sql-studio.app/pricing", "301"),
    ] {
        let text = explained(method, url);
        assert!(text.contains(part), "{method} {url}: no {part} in\n{text}");
    }
}
