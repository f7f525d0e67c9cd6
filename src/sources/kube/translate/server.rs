//! Hosts as ingress-nginx lays them out: which Ingress has which location, and what a host has as a whole.
//!
//! ```text
//! Prepared, the oldest first ──► Servers: host ──► locations by path and kind · aliases · certificate · client's authority
//!                                   └──► who came too late gets an Event
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::backend::Backend;
use super::certificate::Shown;
use super::context::Context;
use super::part::Role;
use super::prepare::Prepared;
use super::report::Reason;
use crate::model::{HostClientAuth, HostName};
use crate::sources::kube::state::{Ingress, IngressBackend, IngressPath, IngressRule, ObjectKey, PathType};

/// By name; the catch-all last.
pub type Servers<'p> = BTreeMap<HostName, Server<'p>>;

#[derive(Default)]
pub struct Server<'p> {
    pub locations: Vec<Location<'p>>,
    /// Whose Ingress brought the host.
    pub opener: Option<&'p Prepared<'p>>,
    taken: HashMap<(Arc<str>, Kind), usize>,
    pub aliases: Vec<HostName>,
    /// Whose they are.
    aliased: Option<&'p Prepared<'p>>,
    /// The other form of the name, with or without `www.`, that leads here, and whose wish it is.
    pub led_here: Option<(HostName, &'p Prepared<'p>)>,
    pub shown: Option<Shown>,
    pub clients: Clients,
}

/// What is asked of clients' certificates.
#[derive(Default)]
pub enum Clients {
    #[default]
    Undecided,
    Decided(HostClientAuth),
    /// Nobody is served: what should have been asked for is not there.
    Refused,
}

pub struct Location<'p> {
    pub path: Arc<str>,
    pub kind: Kind,
    /// None: the catch-all's own.
    pub owner: Option<&'p Prepared<'p>>,
    pub leads: Leads,
    /// Where it stands in its object.
    pub at: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Exact,
    Prefix,
}

impl Kind {
    /// As in ingress-nginx, what is left to the implementation is a prefix.
    pub fn of(kind: PathType) -> Self {
        match kind {
            PathType::Exact => Self::Exact,
            PathType::Prefix | PathType::ImplementationSpecific => Self::Prefix,
        }
    }
}

#[derive(Clone, Debug)]
pub enum Leads {
    To(Backend),
    /// The location that every host has: to the default backend.
    Nowhere,
    /// The path cannot be served as it is written: it answers 503, so that no other location takes what this one may have protected.
    Refused,
}

pub fn lay_out<'p>(cx: &mut Context<'_>, all: &'p [Prepared<'p>], role: Role) -> Servers<'p> {
    let mut servers = Servers::new();
    if role == Role::Main {
        let (path, at) = ("/".into(), String::new());
        let root = Location { path, kind: Kind::Prefix, owner: None, leads: Leads::Nowhere, at };
        servers.entry(HostName::CatchAll).or_default().push(root);
    }
    // A canary makes no host: its rules are the other's.
    let primaries: Vec<_> = all.iter().filter(|prepared| !prepared.policy.canary.is_on).collect();
    for prepared in &primaries {
        open(cx, &mut servers, prepared);
    }
    for prepared in &primaries {
        for (_, name) in hosts(prepared.ingress) {
            if let (Ok(name), aliases) = (name, &prepared.policy.aliases)
                && let Some(server) = servers.get_mut(&name)
                && server.aliases.is_empty()
            {
                server.aliases = aliases.clone();
                server.aliased = Some(prepared);
            }
        }
    }
    settle_aliases(cx, &mut servers);
    super::certificate::assign(cx, &mut servers, &primaries);
    for prepared in &primaries {
        for (index, rule) in prepared.ingress.rules.iter().enumerate() {
            if let Ok(name) = host_name(rule) {
                add_rule(cx, &mut servers, prepared, &name, index, rule);
            }
        }
    }
    lead_other_forms(&mut servers);
    servers
}

/// `from-to-www-redirect`, unless somebody has that name.
fn lead_other_forms(servers: &mut Servers<'_>) {
    let taken: BTreeSet<HostName> =
        servers.iter().flat_map(|(name, server)| server.aliases.iter().chain([name])).cloned().collect();
    for (name, server) in servers {
        let HostName::Exact(to) = name else { continue };
        let wishes = |location: &Location<'_>| location.owner.is_some_and(|owner| owner.policy.redirect.from_to_www);
        let owner = server.locations.iter().find(|location| wishes(location)).and_then(|location| location.owner);
        let from = HostName::Exact(to.strip_prefix("www.").map_or_else(|| format!("www.{to}").into(), Into::into));
        server.led_here = owner.filter(|_| !taken.contains(&from)).map(|owner| (from, owner));
    }
}

/// Makes the hosts of an Ingress that are not there yet.
fn open<'p>(cx: &mut Context<'_>, servers: &mut Servers<'p>, prepared: &'p Prepared<'p>) {
    let ingress = prepared.ingress;
    let default = default_backend(cx, ingress);
    if let (Some(backend), true) = (&default, ingress.rules.is_empty()) {
        let root = servers.entry(HostName::CatchAll).or_default().locations.first_mut();
        if let Some(root) = root.filter(|root| root.owner.is_none()) {
            root.owner = Some(prepared);
            root.leads = Leads::To(backend.clone());
            root.at = "spec.defaultBackend".into();
        } else {
            let message = "the default backend of the cluster belongs to an older Ingress";
            cx.warn(ingress, Reason::Conflict, "spec.defaultBackend", message);
        }
    }
    for (index, name) in hosts(ingress) {
        match name {
            Ok(name) => {
                let server = servers.entry(name).or_default();
                if server.locations.is_empty() {
                    let leads = default.clone().map_or(Leads::Nowhere, Leads::To);
                    let at = "spec.defaultBackend".into();
                    let root = Location { path: "/".into(), kind: Kind::Prefix, owner: Some(prepared), leads, at };
                    server.push(root);
                    server.opener = Some(prepared);
                    server.taken.clear();
                }
            }
            Err(message) => cx.warn(ingress, Reason::InvalidRule, format!("spec.rules[{index}].host"), message),
        }
    }
}

fn default_backend(cx: &mut Context<'_>, ingress: &Ingress) -> Option<Backend> {
    match ingress.default_backend.as_ref()? {
        IngressBackend::Service { name, port } => {
            Some(Backend { service: ObjectKey::new(ingress.key.namespace.clone(), name.clone()), port: port.clone() })
        }
        IngressBackend::Other(what) => {
            cx.warn(
                ingress,
                Reason::InvalidRule,
                "spec.defaultBackend",
                format!("{what} is no Service that could be asked"),
            );
            None
        }
    }
}

/// Of each rule, with its position.
fn hosts(ingress: &Ingress) -> impl Iterator<Item = (usize, Result<HostName, String>)> {
    ingress.rules.iter().map(host_name).enumerate()
}

/// A wildcard is one label, as Kubernetes has it.
pub fn host_name(rule: &IngressRule) -> Result<HostName, String> {
    match rule.host.as_deref().map(HostName::parse) {
        None => Ok(HostName::CatchAll),
        Some(Ok(HostName::Wildcard(parent))) => Ok(HostName::OneLabel(parent)),
        Some(Ok(HostName::CatchAll)) => Err("\"*\" is no host; leave it out for any".into()),
        Some(name) => name,
    }
}

/// An alias is nobody's own host, and one host's alone.
fn settle_aliases(cx: &mut Context<'_>, servers: &mut Servers<'_>) {
    let mut taken: BTreeSet<HostName> = servers.keys().cloned().collect();
    for (name, server) in servers {
        let owner = server.aliased;
        server.aliases.retain(|alias| {
            let is_free = taken.insert(alias.clone());
            if let Some(owner) = owner.filter(|_| !is_free && alias != name) {
                let path = cx.annotation("server-alias");
                cx.warn(owner.ingress, Reason::Conflict, path, format!("{alias} is another host's name already"));
            }
            is_free
        });
    }
}

fn add_rule<'p>(
    cx: &mut Context<'_>,
    servers: &mut Servers<'p>,
    prepared: &'p Prepared<'p>,
    name: &HostName,
    index: usize,
    rule: &'p IngressRule,
) {
    let Some(server) = servers.get_mut(name) else { return };
    if !rule.paths.is_empty() || *name == HostName::CatchAll {
        super::certificate::ask_clients(cx, server, prepared);
    }
    for (nth, path) in rule.paths.iter().enumerate() {
        let at = format!("spec.rules[{index}].http.paths[{nth}]");
        if let Err((reason, message)) = server.add(cx, prepared, path, &at, name) {
            cx.warn(prepared.ingress, reason, at, message);
        }
    }
}

impl<'p> Server<'p> {
    pub fn location(&self, path: &Arc<str>, kind: Kind) -> Option<&Location<'p>> {
        self.locations.get(*self.taken.get(&(path.clone(), kind))?)
    }

    fn push(&mut self, location: Location<'p>) {
        self.locations.push(location);
    }

    /// Of two for one path and kind the first is kept; the location that every host has gives way.
    fn add(
        &mut self,
        cx: &Context<'_>,
        prepared: &'p Prepared<'p>,
        path: &IngressPath,
        at: &str,
        host: &HostName,
    ) -> Result<(), (Reason, String)> {
        let invalid = |message: String| (Reason::InvalidRule, message);
        let text: Arc<str> = path.path.clone().unwrap_or_else(|| "/".into());
        check_path(&text).map_err(invalid)?;
        let refused = check_type(&text, path.path_type, cx.options.strict_paths).err();
        let backend = match &path.backend {
            IngressBackend::Service { name, port } => Backend {
                service: ObjectKey::new(prepared.ingress.key.namespace.clone(), name.clone()),
                port: port.clone(),
            },
            IngressBackend::Other(what) => return Err(invalid(format!("{what} is no Service that could be asked"))),
        };
        let kind = Kind::of(path.path_type);
        if let Some(first) = self.taken.get(&(text.clone(), kind)) {
            let owner = self.locations[*first].owner.map(|owner| &owner.ingress.key);
            let message = match owner.filter(|owner| **owner != prepared.ingress.key) {
                Some(owner) => format!("{host}{text} belongs to the Ingress {owner}, which comes first"),
                None => format!("{host}{text} is here twice; the first holds"),
            };
            return Err((Reason::Conflict, message));
        }
        let leads = if refused.is_some() { Leads::Refused } else { Leads::To(backend) };
        let location = Location { path: text.clone(), kind, owner: Some(prepared), leads, at: at.to_owned() };
        let place = match self.locations.first_mut() {
            Some(root) if *text == *"/" && kind == Kind::Prefix => {
                *root = location;
                0
            }
            Some(_) | None => {
                self.locations.push(location);
                self.locations.len() - 1
            }
        };
        self.taken.insert((text, kind), place);
        refused.map_or(Ok(()), |message| Err((Reason::RouteClosed, message)))
    }
}

const LONGEST_PATH: usize = 4096;

pub fn check_path(path: &str) -> Result<(), String> {
    let shown = crate::sources::kube::annotations::value::quoted(path);
    if !path.starts_with('/') {
        return Err(format!("{shown} is no path; begin it with a slash"));
    }
    if path.len() > LONGEST_PATH || path.chars().any(char::is_control) {
        return Err(format!("{shown} is no path that a request could have"));
    }
    Ok(())
}

fn check_type(path: &str, kind: PathType, strict: bool) -> Result<(), String> {
    let shown = crate::sources::kube::annotations::value::quoted(path);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    if strict && kind != PathType::ImplementationSpecific && !path.bytes().all(is_plain) {
        return Err(format!(
            "{shown} has signs that a path of this type may not have; patterns are of type ImplementationSpecific \
             (option strict-validate-path-type)"
        ));
    }
    Ok(())
}
