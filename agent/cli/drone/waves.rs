//! How many nodes at once: a fleet is changed in waves, the first of them small.

/// How far one wave reaches, counted from the beginning of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Nodes(usize),
    /// Of all nodes, 1 to 100, rounded up.
    Percent(usize),
}

/// Reads the items of `waves`.
///
/// # Errors
/// Which item is wrong.
pub(super) fn parse(items: &[&str]) -> Result<Vec<Reach>, String> {
    if items == ["true"] {
        return Ok(vec![
            Reach::Nodes(1),
            Reach::Percent(50),
            Reach::Percent(100),
        ]);
    }
    let reach = |item: &&str| {
        let fault = || {
            format!(
                "`{}` is neither a number of nodes nor a share such as 50%",
                item.escape_debug()
            )
        };
        let (digits, percent) = match item.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (*item, false),
        };
        let number: usize = digits.parse().map_err(|_| fault())?;
        match (number, percent) {
            (1..=100, true) => Ok(Reach::Percent(number)),
            (1.., false) => Ok(Reach::Nodes(number)),
            _ => Err(fault()),
        }
    };
    items.iter().map(reach).collect()
}

/// Divides a fleet: the waves in order, none empty, together all of it.
pub(super) fn divide<T: Clone>(fleet: &[T], reaches: &[Reach]) -> Vec<Vec<T>> {
    let mut waves = Vec::new();
    let mut done = 0;
    let all = [Reach::Percent(100)];
    for reach in reaches.iter().chain(&all) {
        let until = match reach {
            Reach::Nodes(nodes) => *nodes,
            Reach::Percent(percent) => fleet.len().saturating_mul(*percent).div_ceil(100),
        };
        let until = until.min(fleet.len());
        if let Some(wave) = fleet.get(done..until).filter(|wave| !wave.is_empty()) {
            waves.push(wave.to_vec());
            done = until;
        }
    }
    waves
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sizes(fleet: usize, items: &[&str]) -> Vec<usize> {
        let fleet: Vec<usize> = (0..fleet).collect();
        let waves = divide(&fleet, &parse(items).unwrap());
        waves.iter().map(Vec::len).collect()
    }

    #[test]
    fn a_fleet_in_waves() {
        assert_eq!(sizes(10, &["1", "50%", "100%"]), [1, 4, 5]);
        assert_eq!(sizes(10, &["true"]), [1, 4, 5]);
        assert_eq!(sizes(3, &["1", "50%"]), [1, 1, 1]);
        assert_eq!(sizes(1, &["1", "50%", "100%"]), [1]);
        assert_eq!(sizes(4, &[]), [4]);
        assert_eq!(sizes(4, &["9"]), [4]);
    }

    #[test]
    fn what_is_no_wave_is_told() {
        for item in ["0", "0%", "101%", "half", "-1", "1.5", ""] {
            assert!(parse(&[item]).is_err(), "{item}");
        }
    }

    proptest! {
        #[test]
        fn every_node_is_in_exactly_one_wave(
            size in 0_usize..40,
            reaches in proptest::collection::vec(
                prop_oneof![
                    (1_usize..50).prop_map(Reach::Nodes),
                    (1_usize..=100).prop_map(Reach::Percent),
                ],
                0..6,
            ),
        ) {
            let fleet: Vec<usize> = (0..size).collect();
            let waves = divide(&fleet, &reaches);
            prop_assert!(waves.iter().all(|wave| !wave.is_empty()));
            prop_assert_eq!(waves.concat(), fleet);
        }
    }
}
