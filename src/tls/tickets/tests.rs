use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const ROTATE: Duration = Duration::from_secs(12 * 3600);
const TERMS: [u8; 32] = [7; 32];

fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_772_323_200)
}

fn at(hours: u32) -> SystemTime {
    start() + HOUR * hours
}

fn tickets() -> Tickets {
    Tickets::new(&SessionTickets::Rotate { every: ROTATE }, start()).unwrap()
}

fn sharing(keys: &TicketKeys) -> Tickets {
    let tickets = tickets();
    tickets.replace(keys.clone());
    tickets
}

fn starts(keys: &TicketKeys) -> Vec<u64> {
    keys.all().iter().map(|key| (key.starts - seconds(start())) / 3600).collect()
}

#[test]
fn a_ticket_of_one_process_opens_at_another_that_shares_the_keys() {
    let (one, stranger) = (tickets(), tickets());
    let other = sharing(&TicketKeys::from_json(&one.keys().to_json()).unwrap());
    let ticket = one.seal(b"session", &TERMS, at(1)).unwrap();
    assert_eq!(other.open(&ticket, &TERMS, at(2)).as_deref(), Some(&b"session"[..]));
    assert_eq!(stranger.open(&ticket, &TERMS, at(2)), None);
    assert_ne!(ticket, one.seal(b"session", &TERMS, at(1)).unwrap(), "no two are alike");
}

#[test]
fn a_ticket_that_was_changed_cut_or_issued_on_other_terms_opens_nothing() {
    let tickets = tickets();
    let ticket = tickets.seal(b"session", &TERMS, at(1)).unwrap();
    for position in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[position] ^= 1;
        assert_eq!(tickets.open(&changed, &TERMS, at(1)), None, "byte {position}");
        assert_eq!(tickets.open(&ticket[..position], &TERMS, at(1)), None, "cut at {position}");
    }
    assert_eq!(tickets.open(&ticket, &[8; 32], at(1)), None);
    assert!(tickets.open(&ticket, &TERMS, at(1)).is_some());
}

#[test]
fn the_next_key_is_published_half_a_period_before_it_seals() {
    let (keys, _) = maintain(None, at(0), ROTATE).unwrap();
    let stored = keys.to_json();
    assert_eq!(maintain(Some(&stored), at(5), ROTATE).unwrap(), (keys.clone(), Store::Keep));
    let (published, store) = maintain(Some(&stored), at(6), ROTATE).unwrap();
    assert_eq!((starts(&published), store), (vec![12, 0], Store::Anew));
    assert_eq!(maintain(Some(&published.to_json()), at(17), ROTATE).unwrap().1, Store::Keep);

    // One process knows the next key, the other has not looked yet: neither seals what the other cannot open.
    let (informed, slow) = (sharing(&published), sharing(&keys));
    let ticket = informed.seal(b"s", &TERMS, at(11)).unwrap();
    assert!(slow.open(&ticket, &TERMS, at(11)).is_some());
    let ticket = informed.seal(b"s", &TERMS, at(12)).unwrap();
    assert!(slow.open(&ticket, &TERMS, at(12)).is_none(), "the next one seals now");
    assert!(sharing(&published).open(&ticket, &TERMS, at(11)).is_some(), "accepted before it starts");
}

#[test]
fn a_key_is_accepted_for_one_period_more_and_forgotten_then() {
    let (keys, _) = maintain(None, at(0), ROTATE).unwrap();
    let keys = keys.rotate(at(6), ROTATE).unwrap();
    let shared = sharing(&keys);
    let ticket = shared.seal(b"s", &TERMS, at(11)).unwrap();
    assert!(shared.open(&ticket, &TERMS, at(23)).is_some());
    assert!(shared.open(&ticket, &TERMS, at(24)).is_none(), "whether or not somebody has taken the key out");
    let later = keys.rotate(at(18), ROTATE).unwrap();
    assert_eq!(starts(&later), [24, 12, 0]);
    assert_eq!(starts(&later.rotate(at(24), ROTATE).unwrap()), [24, 12]);
}

#[test]
fn whoever_comes_late_still_lets_others_know_first() {
    let keys = TicketKeys::generate(at(0)).unwrap();
    assert_eq!(starts(&keys.rotate(at(14), ROTATE).unwrap()), [20, 0]);
    assert_eq!(starts(&keys.rotate(at(20), ROTATE).unwrap()), [24, 0], "but not until nobody seals");
    assert_eq!(starts(&keys.rotate(at(30), ROTATE).unwrap()), [30], "all were too old");
}

#[test]
fn keys_of_a_clock_that_was_wrong_do_not_stay() {
    let keys = TicketKeys::generate(at(1000)).unwrap();
    let (mended, store) = maintain(Some(&keys.to_json()), at(1), ROTATE).unwrap();
    assert_eq!((starts(&mended), store), (vec![1], Store::Anew));
}

#[test]
fn what_is_no_set_of_keys_is_replaced() {
    for text in ["", "{}", "[]", "{\"keys\":[{\"name\":\"AA==\",\"secret\":\"AA==\",\"created\":0,\"starts\":0}]}"] {
        assert_eq!(TicketKeys::from_json(text), Err(BadKeys), "{text}");
        assert_eq!(maintain(Some(text), at(0), ROTATE).unwrap().1, Store::Anew);
    }
    assert_eq!(maintain(Some("{\"keys\":[]}"), at(0), ROTATE).unwrap().1, Store::Anew);
}

#[test]
fn keys_of_one_process_rotate_by_themselves() {
    let tickets = tickets();
    let first = tickets.seal(b"s", &TERMS, at(0)).unwrap();
    let name = |ticket: &[u8]| ticket[..NAME_LEN].to_vec();
    for hour in [6, 11] {
        assert_eq!(name(&tickets.seal(b"s", &TERMS, at(hour)).unwrap()), name(&first));
    }
    let second = tickets.seal(b"s", &TERMS, at(12)).unwrap();
    assert_ne!(name(&second), name(&first));
    assert!(tickets.open(&first, &TERMS, at(23)).is_some());
    assert!(tickets.open(&first, &TERMS, at(24)).is_none());
    // After a night without a handshake.
    assert!(tickets.seal(b"s", &TERMS, at(100)).is_some());
    assert!(tickets.open(&second, &TERMS, at(100)).is_none());
    assert_eq!(starts(&tickets.keys()), [100]);
}

#[test]
fn shared_keys_are_not_rotated_here_and_run_out_when_nobody_does() {
    let shared = sharing(&TicketKeys::generate(at(0)).unwrap());
    assert!(shared.seal(b"s", &TERMS, at(20)).is_some());
    assert!(shared.seal(b"s", &TERMS, at(24)).is_none());
    assert_eq!(starts(&shared.keys()), [0]);
}

#[test]
fn secrets_are_written_where_they_are_stored_and_nowhere_else() {
    let keys = TicketKeys::generate(at(0)).unwrap();
    let shown = format!("{keys:?} {:?}", sharing(&keys));
    assert!(shown.contains("(redacted)"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&keys.to_json()).unwrap();
    assert!(!shown.contains(json["keys"][0]["secret"].as_str().unwrap()));
}

#[test]
fn off_there_are_none() {
    let tickets = Arc::new(tickets());
    let bound = BoundTickets { tickets: tickets.clone(), terms: TERMS };
    assert!(bound.enabled());
    assert_eq!(bound.lifetime(), 12 * 3600);
    tickets.follow(&SessionTickets::Off);
    assert!(!bound.enabled());
}
