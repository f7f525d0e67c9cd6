//! What holds for every policy and any endpoints.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_policy_follows_the_weights(weights in prop::collection::vec(1u32..10, 2..6), seed: u64) {
        random::seed(seed);
        let now = start();
        let endpoints: Vec<String> =
            weights.iter().enumerate().map(|(n, weight)| format!("10.0.0.{n}:80 weight {weight}")).collect();
        let mut definition = definition(&endpoints.join(","));
        let total: u32 = weights.iter().sum();
        // One request after the other has nothing to weigh for peak-EWMA; `choice` tests it under load.
        for balance in policies().into_iter().filter(|policy| *policy != LbPolicy::PeakEwma) {
            definition.balance = balance.clone();
            let counts = spread(&build(&definition, now), 4000, now);
            for (n, weight) in weights.iter().enumerate() {
                let share = counts.get(&format!("10.0.0.{n}:80")).copied().unwrap_or(0) as f64 / 4000.0;
                let expected = f64::from(*weight) / f64::from(total);
                prop_assert!((share - expected).abs() < 0.05, "{balance:?} {weights:?}: {n} has {share}");
            }
        }
    }

    #[test]
    fn only_the_keys_of_a_leaving_endpoint_move(count in 2usize..12, leaving in 0usize..12, weight in 1u32..4) {
        let now = start();
        let leaving = leaving % count;
        let mut definition = definition(&numbered(count));
        definition.balance = LbPolicy::Hash(HashKey::ClientIp);
        definition.endpoints[0].weight = one(weight);
        definition.health_check = Some(checked());
        let before = build(&definition, now);
        let gone = before.endpoints().endpoints().nth(leaving).unwrap().address;
        let mut without = definition.clone();
        without.endpoints.retain(|spec| spec.address != EndpointAddress::Ip(gone));
        let place = |upstream: &Upstream, key: u64| {
            upstream.pick(&PickRequest { key: Some(key), ..PickRequest::at(now) }).unwrap().endpoint().address
        };
        let removed = rebuild(&without, &before, now);
        let places: Vec<SocketAddr> = (0..2000).map(|key| place(&before, hash_key(&u64::to_le_bytes(key)))).collect();
        before.record_probe(&endpoint(&before, &gone.to_string()), &Err("refused".into()), now);
        for (key, was) in places.iter().enumerate() {
            let key = hash_key(&(key as u64).to_le_bytes());
            let is = place(&removed, key);
            prop_assert!(*was == gone || is == *was, "a key of {was} moved to {is}");
            prop_assert_eq!(place(&before, key), is, "unusable is as good as gone");
        }
    }

    #[test]
    fn the_unhealthy_are_never_picked_while_another_is_usable(
        health in prop::collection::vec(any::<bool>(), 1..8),
        backups in prop::collection::vec(any::<bool>(), 8),
        seed: u64,
    ) {
        random::seed(seed);
        let now = start();
        let endpoints: Vec<String> = (0..health.len())
            .map(|n| format!("10.0.0.{n}:80{}", if backups[n] { " backup" } else { "" }))
            .collect();
        for balance in policies() {
            let mut definition = definition(&endpoints.join(","));
            definition.balance = balance;
            definition.health_check = Some(checked());
            let upstream = build(&definition, now);
            for (n, healthy) in health.iter().enumerate().filter(|(_, healthy)| !**healthy) {
                assert!(!healthy);
                set_health(&upstream, &format!("10.0.0.{n}:80"), Err("refused"), now);
            }
            for address in spread(&upstream, 50, now).into_keys() {
                let n: usize = address["10.0.0.".len()..].trim_end_matches(":80").parse().unwrap();
                prop_assert!(health[n] || !health.contains(&true), "{address} of {health:?}");
                let primary_usable = (0..health.len()).any(|n| health[n] && !backups[n]);
                prop_assert!(!(backups[n] && primary_usable), "the backup {address}");
            }
        }
    }

    #[test]
    fn nothing_is_in_flight_after_all_leases_dropped(limit in 0u32..4, picks in 1usize..40) {
        let now = start();
        for balance in policies() {
            let mut definition = definition(&numbered(3));
            definition.balance = balance;
            definition.limits.max_connections = NonZeroU32::new(limit);
            let upstream = build(&definition, now);
            let held: Vec<_> = (0..picks).map(|_| upstream.pick(&PickRequest::at(now))).collect();
            let places = if limit == 0 { picks } else { picks.min(3 * limit as usize) };
            prop_assert_eq!(held.iter().filter(|lease| lease.is_ok()).count(), places);
            drop(held);
            prop_assert!(upstream.endpoints().endpoints().all(|e| e.in_flight() == 0));
        }
    }
}
