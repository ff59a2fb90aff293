//! Independent runs on all cores. Results come back in the order of the jobs, so the code after this file cannot depend
//! on the speed of workers.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

/// Calls `work` for the jobs 0, 1, 2, .. below `jobs` while `go_on` is true, and calls `each` with every result in that
/// order. A job that panics gives the panic's message. Every started job is finished, so no result is missing.
pub(crate) fn in_order<R: Send>(
    workers: usize,
    jobs: u64,
    go_on: impl Fn() -> bool + Sync,
    work: impl Fn(u64) -> R + Sync,
    mut each: impl FnMut(u64, Result<R, String>),
) {
    let next = AtomicU64::new(0);
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            let (sender, next, go_on, work) = (sender.clone(), &next, &go_on, &work);
            scope.spawn(move || {
                while go_on() {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job >= jobs {
                        break;
                    }
                    let result = caught(|| work(job));
                    if sender.send((job, result)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut due = 0;
        for (job, result) in results {
            early.insert(job, result);
            while let Some(result) = early.remove(&due) {
                each(due, result);
                due += 1;
            }
        }
    });
}

/// The result of `work`, or the message of its panic. After a panic the values that it was changing are not read again,
/// or are a file of complete lines.
pub(crate) fn caught<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| words(&*panic))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(workers: usize) -> Vec<(u64, Result<u64, String>)> {
        let mut all = Vec::new();
        let work = |job| if job == 7 { panic!("job {job} is unlucky") } else { job * job };
        in_order(workers, 20, || true, work, |job, result| all.push((job, result)));
        all
    }

    #[test]
    fn results_come_in_order_whatever_the_workers_do() {
        let one = results(1);
        assert_eq!(one, results(4));
        assert_eq!(one.iter().map(|(job, _)| *job).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        assert_eq!(one.get(7), Some(&(7, Err("job 7 is unlucky".to_owned()))));
    }

    #[test]
    fn stopping_leaves_no_hole() {
        let asked = AtomicU64::new(0);
        let mut done = Vec::new();
        let go_on = || asked.fetch_add(1, Ordering::Relaxed) < 9;
        in_order(3, u64::MAX, go_on, |job| job, |job, _| done.push(job));
        assert_eq!(done, (0..9).collect::<Vec<_>>());
    }
}
