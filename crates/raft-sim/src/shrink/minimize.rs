//! The fewest of some items with which a test still holds (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing
//! Input", 2002): it leaves out large parts first, then smaller ones, and at last each item.

/// Returns items with which the test holds and without any one of which it does not, if it holds for all of them. The test is not
/// called with all items.
pub(crate) fn minimize<T: Clone>(items: &[T], mut holds: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut kept = items.to_vec();
    if !kept.is_empty() && holds(&[]) {
        return Vec::new();
    }
    let mut part = kept.len().div_ceil(2);
    while part > 0 {
        let mut has_shrunk = false;
        let mut from = 0;
        while from < kept.len() {
            let to = (from + part).min(kept.len());
            let rest: Vec<T> = kept.iter().take(from).chain(kept.iter().skip(to)).cloned().collect();
            if !rest.is_empty() && holds(&rest) {
                kept = rest;
                has_shrunk = true;
            } else {
                from = to;
            }
        }
        // Items that were needed for one that is gone may not be needed any more.
        part = if part == 1 && has_shrunk { 1 } else { part / 2 };
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_test_needs_is_left() {
        let all: Vec<u32> = (0..100).collect();
        let mut calls = 0;
        let needs = |wanted: &'static [u32]| move |some: &[u32]| wanted.iter().all(|one| some.contains(one));
        for wanted in [&[][..], &[0], &[99], &[3, 50, 51], &[1, 2, 3, 97]] {
            let test = needs(wanted);
            let kept = minimize(&all, |some| {
                calls += 1;
                test(some)
            });
            assert_eq!(kept, wanted);
        }
        assert!(calls < 400, "{calls} calls");
        // 7 is needed only with 60.
        let kept = minimize(&all, |some| some.contains(&5) && (some.contains(&7) || !some.contains(&60)));
        assert_eq!(kept, [5]);
    }
}
