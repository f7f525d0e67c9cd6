//! Flags of ingress-nginx that are accepted and change nothing.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// Those that were written.
pub struct PassedOver(Vec<&'static Flag>);

struct Flag {
    name: &'static str,
    short: Option<char>,
    takes: Takes,
    /// Why nothing follows from it.
    because: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Value,
    /// `--flag`, `--flag=true`
    Switch,
}

const fn value(name: &'static str, because: &'static str) -> Flag {
    Flag { name, short: None, takes: Takes::Value, because }
}

const fn switch(name: &'static str, because: &'static str) -> Flag {
    Flag { name, short: None, takes: Takes::Switch, because }
}

const NGINX: &str = "there is no nginx to run";
const GLOG: &str = "the log is set by WEIR_LOG and WEIR_LOG_FORMAT";
const METRICS: &str = "metrics have labels and buckets of their own";

/// By name.
const FLAGS: &[Flag] = &[
    switch("alsologtostderr", GLOG),
    switch("add_dir_header", GLOG),
    value("bucket-factor", METRICS),
    switch("deep-inspect", "nothing of an Ingress is rendered into a text that could be broken out of"),
    value("default-server-port", "what no Ingress takes is answered where it arrives"),
    switch("disable-full-test", "there is no configuration file to test"),
    switch("disable-sync-events", "no Event tells of every change"),
    value("dynamic-configuration-retries", NGINX),
    switch("enable-annotation-validation", "values of annotations are always checked"),
    switch("enable-metrics", "metrics are always there"),
    switch("enable-ssl-chain-completion", "a chain is served as its Secret has it"),
    switch("enable-topology-aware-routing", "endpoints of every zone are used"),
    value("exclude-socket-metrics", METRICS),
    value("health-check-path", "probes are answered at /healthz and /readyz"),
    value("health-check-timeout", NGINX),
    value("internal-logger-address", NGINX),
    value("length-buckets", METRICS),
    value("log_backtrace_at", GLOG),
    value("log_dir", GLOG),
    value("log_file", GLOG),
    value("log_file_max_size", GLOG),
    switch("logtostderr", GLOG),
    value("max-buckets", METRICS),
    switch("metrics-per-host", METRICS),
    switch("metrics-per-undefined-host", METRICS),
    value("monitor-max-batch-size", METRICS),
    switch("one_output", GLOG),
    value("post-shutdown-grace-period", "the process ends when the last request has"),
    switch("profiling", "there is no profiler to ask"),
    value("profiler-address", "there is no profiler to ask"),
    value("profiler-port", "there is no profiler to ask"),
    switch("report-status-classes", METRICS),
    value("size-buckets", METRICS),
    switch("skip_headers", GLOG),
    switch("skip_log_headers", GLOG),
    value("ssl-passthrough-proxy-port", "TLS is passed through where it arrives"),
    value("status-port", NGINX),
    value("stderrthreshold", GLOG),
    value("stream-port", NGINX),
    value("sync-period", "objects are watched, and listed anew only where a watch was lost"),
    value("sync-rate-limit", "a change costs no reload"),
    value("time-buckets", METRICS),
    Flag { name: "v", short: Some('v'), takes: Takes::Value, because: GLOG },
    value("vmodule", GLOG),
];

impl PassedOver {
    #[cfg(test)]
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|flag| flag.name)
    }

    pub fn warn(&self) {
        for flag in &self.0 {
            eprintln!("weir: --{} changes nothing: {}", flag.name, flag.because);
        }
    }
}

impl Args for PassedOver {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, flag| {
            let arg = Arg::new(flag.name).long(flag.name).hide(true).action(ArgAction::Append);
            let arg = match flag.short {
                Some(short) => arg.short(short),
                None => arg,
            };
            command.arg(match flag.takes {
                Takes::Value => arg.num_args(1),
                Takes::Switch => arg.num_args(0..=1).require_equals(true),
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PassedOver {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self(FLAGS.iter().filter(|flag| matches.contains_id(flag.name)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
