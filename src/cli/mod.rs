//! The command line: `weir run`, `check`, `explain`, `demo`, and what goes with them.
//!
//! Exit codes: 0 done, 1 the file has errors (or the answer is "no"), 2 the command line is wrong, 3 something outside
//! failed (a port in use, a file that cannot be written).

mod admin;
mod certs;
mod check;
mod demo;
mod explain;
mod health;
mod ingress;
mod run;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(name = "weir", version, about, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Try it:        weir demo\nCheck a file:  weir check weir.yaml\nServe it:      weir run weir.yaml"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve what the file says, and follow its changes
    ///
    /// The file, and every file it names, is watched: a good change is applied without closing a connection, a bad one
    /// is reported (in the log, at /config/status and as a metric) and changes nothing.
    ///
    /// Signals: SIGHUP reload now; SIGTERM, SIGINT drain and stop; SIGUSR1 reopen the access log; SIGUSR2 start
    /// this binary's successor, hand the listeners over, and drain.
    ///
    /// Environment: WEIR_LOG sets the log level (error, warn, info, debug; default info), WEIR_LOG_FORMAT the format
    /// (text, json).
    Run {
        /// The configuration, in YAML; `weir schema` describes it
        file: PathBuf,
    },
    /// Serve the Ingresses of a Kubernetes cluster, as ingress-nginx would
    ///
    /// Its flags are ingress-nginx's, with their defaults: the arguments of its DaemonSet carry over. What is known there and
    /// means nothing here is told of and passed over.
    ///
    /// Nothing is listened on but the port of the probes until what the cluster holds is served; then /readyz answers 200.
    /// While the API server is away, the last known state is served. Signals and environment: as for `weir run`.
    Ingress(Box<ingress::Flags>),
    /// Report everything that is wrong with a file, without serving it
    ///
    /// Exit code 0: it can be used (there may be warnings). 1: it cannot.
    Check {
        file: PathBuf,
        /// How findings are printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Say what would happen to a request, and why
    ///
    /// Asks the matcher that serves: which listener, host and route take it, why the others do not, which filters act,
    /// and which endpoints would be considered.
    ///
    /// Example: weir explain weir.yaml GET https://example.org/api/users -H 'x-env: staging' --from 203.0.113.7
    Explain {
        file: PathBuf,
        /// The request's method, as GET
        method: String,
        /// The whole URL; its scheme and port choose the listener
        url: String,
        /// A header field, as 'name: value'; may be given several times
        #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
        headers: Vec<String>,
        /// The client's address
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
        from: std::net::IpAddr,
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Start two small origins and Weir in front of them, and print requests to try
    Demo {
        /// Where Weir listens; a free port if that one is taken
        #[arg(long, default_value = "127.0.0.1:8080")]
        address: SocketAddr,
    },
    /// Print the JSON Schema of the file, for editors
    Schema,
    /// Ask a running Weir whether it is ready (for container health checks); exit code 1 if not
    Health {
        /// Its admin address
        #[arg(long, default_value = "127.0.0.1:9180")]
        admin: SocketAddr,
    },
    /// List the certificates of a running Weir, or have one renewed or revoked
    ///
    /// Without a subcommand: every certificate with its names, source, issuer, expiry, next renewal and last error. Exit
    /// code 1 where one has expired or could not be had.
    Certs {
        /// Weir's admin address
        #[arg(long, default_value = "127.0.0.1:9180", global = true)]
        admin: SocketAddr,
        /// How they are printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
        #[command(subcommand)]
        what: Option<Certs>,
    },
    /// Print the version
    Version,
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
}

#[derive(Subcommand)]
enum Certs {
    /// Order a certificate anew now, due or not, and wait until that has ended
    Renew {
        /// Its first name
        name: String,
        /// How long to wait, in seconds
        #[arg(long, default_value_t = 300)]
        wait: u64,
    },
    /// Have the authority revoke a certificate; another is ordered in its place
    Revoke {
        /// Its first name
        name: String,
        /// Why: unspecified, key-compromise, affiliation-changed, superseded or cessation-of-operation
        #[arg(long, default_value = "unspecified")]
        reason: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The answer is "no", or the file has errors.
const NO: u8 = 1;
/// Something outside of the command and its file failed.
const FAILED: u8 = 3;

pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run { file } => run::run(&file),
        Command::Ingress(flags) => match flags.options() {
            Ok(options) => run::serve(options),
            Err(message) => Cli::command().error(ErrorKind::ArgumentConflict, message).exit(),
        },
        Command::Check { file, format } => Ok(check::check(&file, format)),
        Command::Explain { file, method, url, headers, from, format } => {
            explain::explain(&file, &explain::Question { method, url, headers, from }, format)
        }
        Command::Demo { address } => demo::demo(address),
        Command::Schema => print(&format!("{:#}\n", crate::sources::config::schema())),
        Command::Health { admin } => health::health(admin),
        Command::Certs { admin, format, what: None } => certs::list(admin, format),
        Command::Certs { admin, what: Some(Certs::Renew { name, wait }), .. } => {
            certs::renew(admin, &name, Duration::from_secs(wait))
        }
        Command::Certs { admin, what: Some(Certs::Revoke { name, reason }), .. } => {
            certs::revoke(admin, &name, &reason)
        }
        Command::Version => print(&format!("weir {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "weir", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("weir: {error:#}");
        ExitCode::from(FAILED)
    })
}

/// A reader that has gone (`weir schema | head`) is no failure.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
