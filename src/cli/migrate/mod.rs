//! `weir migrate check`: what would become of Ingresses that ingress-nginx serves. Reads, and changes nothing.

mod html;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::{NO, print};
use crate::app;
use crate::sources::kube::migration::{self, Assessment};
use crate::sources::kube::state::{ClusterState, ObjectKey};
use crate::sources::kube::translate::{ClassByName, ClassRules, Publish, Settings, SslPassthrough, WithoutClass};
use crate::sources::kube::{client, manifests, process};

#[derive(Args)]
pub struct MigrateCheck {
    /// Manifests, in YAML or JSON: files, folders, or - for standard input; may be given several times
    #[arg(short = 'f', long = "filename", value_name = "PATH", conflicts_with_all = ["context", "kubeconfig"])]
    files: Vec<PathBuf>,
    /// The cluster of this context of the kubeconfig, which is only read; without -f and --context that of the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Another kubeconfig
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// How the verdicts are printed
    #[arg(long, value_enum, default_value_t = Report::Text)]
    format: Report,
    /// As ingress-nginx was told
    #[arg(long, value_name = "NAME", default_value = "nginx")]
    ingress_class: String,
    /// As ingress-nginx was told
    #[arg(long, value_name = "NAME", default_value = "k8s.io/ingress-nginx")]
    controller_class: String,
    /// Ingresses without a class are served, too
    #[arg(long)]
    watch_ingress_without_class: bool,
    /// The ConfigMap of global options
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = key)]
    configmap: Option<ObjectKey>,
    /// As ingress-nginx was told
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = key)]
    tcp_services_configmap: Option<ObjectKey>,
    /// As ingress-nginx was told
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = key)]
    udp_services_configmap: Option<ObjectKey>,
    /// As ingress-nginx was told
    #[arg(long)]
    enable_ssl_passthrough: bool,
    /// What annotations begin with
    #[arg(long, value_name = "PREFIX", default_value = "nginx.ingress.kubernetes.io")]
    annotations_prefix: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Report {
    Text,
    Json,
    Html,
}

fn key(written: &str) -> Result<ObjectKey, String> {
    ObjectKey::parse(written).ok_or_else(|| "write it as namespace/name".to_owned())
}

/// Exit code 1 where something is refused.
pub fn check(asked: &MigrateCheck) -> anyhow::Result<ExitCode> {
    let state = if asked.files.is_empty() { of_cluster(asked)? } else { of_files(&asked.files)? };
    let assessment = migration::assess(&state, &asked.settings());
    let report = match asked.format {
        Report::Text => text::report(&assessment),
        Report::Json => format!("{}\n", serde_json::to_string_pretty(&assessment)?),
        Report::Html => html::report(&assessment),
    };
    print(&report)?;
    Ok(if is_refused(&assessment) { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

fn is_refused(assessment: &Assessment) -> bool {
    let totals = assessment.totals.get(migration::Verdict::Refused.as_str());
    totals.is_some_and(|totals| totals.ingresses + totals.options + totals.services > 0)
}

impl MigrateCheck {
    fn settings(&self) -> Settings {
        let nowhere = ([0, 0, 0, 0], 0);
        Settings {
            class: ClassRules {
                annotation: self.ingress_class.as_str().into(),
                controller: self.controller_class.as_str().into(),
                by_name: ClassByName::Ignore,
                without_class: match self.watch_ingress_without_class {
                    true => WithoutClass::Serve,
                    false => WithoutClass::Ignore,
                },
            },
            annotations_prefix: self.annotations_prefix.trim_end_matches('/').into(),
            config_map: self.configmap.clone(),
            default_certificate: None,
            default_backend: None,
            tcp_services: self.tcp_services_configmap.clone(),
            udp_services: self.udp_services_configmap.clone(),
            ssl_passthrough: match self.enable_ssl_passthrough {
                true => SslPassthrough::Honour,
                false => SslPassthrough::Refuse,
            },
            publish: Publish::Fixed([].into()),
            http: nowhere.into(),
            https: nowhere.into(),
            process: process::process(nowhere.into(), std::time::Duration::ZERO),
        }
    }
}

impl MigrateCheck {
    fn config_maps(&self) -> impl Iterator<Item = &ObjectKey> {
        [&self.configmap, &self.tcp_services_configmap, &self.udp_services_configmap].into_iter().flatten()
    }
}

fn of_cluster(asked: &MigrateCheck) -> anyhow::Result<ClusterState> {
    app::control_runtime()?.block_on(async {
        let client = client::connect_to(asked.kubeconfig.as_deref(), asked.context.as_deref()).await?;
        migration::list(client, asked.config_maps()).await.context("the cluster cannot be read")
    })
}

fn of_files(paths: &[PathBuf]) -> anyhow::Result<ClusterState> {
    let mut state = ClusterState::default();
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    if files.is_empty() {
        bail!("there are no manifests (.yaml, .yml, .json) in {}", paths[0].display());
    }
    for file in files {
        let text = match file.as_os_str() == "-" {
            true => std::io::read_to_string(std::io::stdin()).context("standard input cannot be read")?,
            false => std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?,
        };
        manifests::read_into(&mut state, &text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    }
    Ok(state)
}

/// A file whatever its name; of a folder the manifests, in their order.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        let is_manifest =
            entry.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
        if entry.is_dir() || is_manifest {
            collect(&entry, files)?;
        }
    }
    Ok(())
}
