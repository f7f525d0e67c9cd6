use super::*;
use crate::diagnostics::Origin;
use crate::model::Http2;
use crate::tls::testing::Authority;
use crate::tls::{ClientCertificate, Shown, TlsFacts};

const OURS: &str = "ours.pem";
const PARTNERS: &str = "partners.pem";

fn roots() -> ClientRootFiles {
    let file = |name: &str| (name.into(), Arc::new(ClientRoots::of(vec![Authority::new().der])));
    ClientRootFiles::from([file(OURS), file(PARTNERS)])
}

fn auth(ca: &str, mode: ClientAuthMode) -> ClientAuth {
    let (subject, refusal) = (None, ClientAuthRefusal::Handshake);
    ClientAuth { origin: Origin::builtin(), ca: ca.into(), mode, subject, refusal, forward: ForwardCertificate::Omit }
}

fn listener(client_auth: Option<ClientAuth>) -> ListenerTls {
    ListenerTls { min_version: TlsVersion::V1_2, ciphers: Ciphers::default(), http2: Http2::Offer, client_auth }
}

fn agreement(terms: Terms, version: TlsVersion, client: bool) -> Agreement {
    let certificate = || ClientCertificate::parse(&[Authority::new().der]).unwrap();
    let facts = TlsFacts { version: "", cipher: "" };
    let client = if client { Shown::Good(certificate()) } else { Shown::Nothing };
    Agreement { facts, version, terms: Arc::new(terms), client }
}

#[test]
fn a_host_s_own_stands_instead_of_the_listener_s() {
    let roots = roots();
    let required = listener(Some(auth(OURS, ClientAuthMode::Required)));
    let of = |host: &HostTls| Terms::of(Some(&required), Some(host), &roots);
    let inherited = of(&HostTls::default());
    assert_eq!(inherited, Terms::of(Some(&required), None, &roots));
    assert_eq!(inherited.client.as_ref().unwrap().roots, roots[std::path::Path::new(OURS)]);

    let off = HostTls { min_version: Some(TlsVersion::V1_3), client_auth: HostClientAuth::Off, ..HostTls::default() };
    assert_eq!(of(&off), Terms { min_version: TlsVersion::V1_3, ciphers: Ciphers::default(), client: None });

    let own = HostClientAuth::Own(auth(PARTNERS, ClientAuthMode::Optional));
    let own = of(&HostTls { client_auth: own, ..HostTls::default() }).client.unwrap();
    assert_eq!((own.mode, &own.roots), (ClientAuthMode::Optional, &roots[std::path::Path::new(PARTNERS)]));
}

#[test]
fn a_file_that_is_missing_lets_nobody_in() {
    let required = listener(Some(auth("missing.pem", ClientAuthMode::Required)));
    let terms = Terms::of(Some(&required), None, &ClientRootFiles::new());
    assert_eq!(*terms.client.unwrap().roots, ClientRoots::default());
}

#[test]
fn a_connection_will_do_only_where_it_was_asked_for_as_much() {
    let roots = roots();
    let terms = |auth: Option<ClientAuth>| Terms::of(Some(&listener(auth)), None, &roots);
    let (open, optional) = (terms(None), terms(Some(auth(OURS, ClientAuthMode::Optional))));
    let (required, partners) =
        (terms(Some(auth(OURS, ClientAuthMode::Required))), terms(Some(auth(PARTNERS, ClientAuthMode::Required))));
    let newer = Terms { min_version: TlsVersion::V1_3, ciphers: Ciphers::default(), client: None };
    let by = |had: &Terms, client: bool| agreement(had.clone(), TlsVersion::V1_2, client);
    for (wanted, connection, verdict) in [
        (&open, by(&open, false), Ok(())),
        (&open, by(&required, true), Ok(())),
        (&required, by(&open, false), Err(Unmet::Certificate)),
        (&required, by(&optional, false), Err(Unmet::Certificate)),
        (&required, by(&optional, true), Ok(())),
        (&required, by(&partners, true), Err(Unmet::Certificate)),
        (&required, by(&required, true), Ok(())),
        (&optional, by(&open, false), Err(Unmet::Certificate)),
        (&optional, by(&required, true), Ok(())),
        (&newer, by(&open, false), Err(Unmet::Version)),
        (&newer, agreement(open.clone(), TlsVersion::V1_3, false), Ok(())),
    ] {
        assert_eq!(wanted.judge(Some(&connection)), verdict, "{wanted:?} by {connection:?}");
    }
    assert_eq!(required.judge(None), Err(Unmet::Plain));
    let named = ClientAuth { subject: Pattern::parse("^CN=ann").ok(), ..auth(OURS, ClientAuthMode::Optional) };
    assert!(named.subject.is_some());
    assert_eq!(terms(Some(named)).judge(None), Err(Unmet::Plain), "nobody's name is none of those that are accepted");
    assert_eq!((optional.judge(None), newer.judge(None), open.judge(None)), (Ok(()), Ok(()), Ok(())));
}

#[test]
fn sessions_are_told_apart_by_who_was_asked_for_what() {
    let roots = roots();
    let print = |auth: Option<ClientAuth>| Terms::of(Some(&listener(auth)), None, &roots).fingerprint();
    let prints = [
        print(None),
        print(Some(auth(OURS, ClientAuthMode::Optional))),
        print(Some(auth(OURS, ClientAuthMode::Required))),
        print(Some(auth(PARTNERS, ClientAuthMode::Required))),
    ];
    let different: std::collections::BTreeSet<_> = prints.iter().collect();
    assert_eq!(different.len(), prints.len());
    assert_eq!(prints[2], print(Some(auth(OURS, ClientAuthMode::Required))));
}
