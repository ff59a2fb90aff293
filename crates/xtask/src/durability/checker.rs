//! Reads the lines of strace and finds answers that leave before the acknowledged data is durable.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The prefix of a marker; nine digits follow.
const MARKER: &str = "durable-";
/// The beginning of an answer that acknowledges a put.
pub(super) const ACKNOWLEDGED: &str = "HTTP/1.1 200";
/// The number of nodes.
pub(super) const NODES: usize = 2;
const UNFINISHED: &str = " <unfinished ...>";

/// The value of this put.
pub(super) fn marker(number: u64) -> String {
    format!("{MARKER}{number:09}")
}

/// The state of the nodes' files and connections after the lines read so far.
#[derive(Debug, Default)]
pub(super) struct Checker {
    /// The first part of a call that has begun, by thread.
    unfinished: BTreeMap<String, String>,
    /// The markers that no sync has covered, by file; and the new files that no sync has covered, by folder.
    dirty: BTreeMap<String, BTreeSet<String>>,
    /// The file or folder that a thread syncs, and its unsynced content at the beginning of the sync.
    under_way: BTreeMap<String, (String, BTreeSet<String>)>,
    /// The files that hold a marker durably, by marker; and the folder of a file whose name there is durable, by file.
    durable: BTreeMap<String, BTreeSet<String>>,
    /// The marker of the put that has arrived, by connection.
    requests: BTreeMap<String, String>,
    pub(super) syncs: u64,
    pub(super) answers: u64,
    pub(super) violations: Vec<String>,
}

impl Checker {
    /// Reads the next line. A call that other threads' calls interrupt has two lines: it begins in one and ends in the
    /// other.
    ///
    /// # Errors
    /// The line is not in strace's format.
    pub(super) fn line(&mut self, line: &str) -> Result<()> {
        let problem = || format!("expected a line of strace after the lines before, found `{line}`");
        let (thread, text) = line.split_once(' ').with_context(problem)?;
        let text = text.trim_start();
        if let Some(resumed) = text.strip_prefix("<... ") {
            let first = self.unfinished.remove(thread).with_context(problem)?;
            let rest = resumed.split_once(" resumed>").with_context(problem)?.1;
            self.ends(thread, &(first + rest));
        } else if let Some(first) = text.strip_suffix(UNFINISHED) {
            self.begins(thread, first);
            self.unfinished.insert(thread.to_owned(), first.to_owned());
        } else {
            self.begins(thread, text);
            self.ends(thread, text);
        }
        Ok(())
    }

    /// A sync covers only content that was unsynced when it began, and an answer counts as sent when its call begins.
    fn begins(&mut self, thread: &str, call: &str) {
        let Some(target) = target(call) else { return };
        match name(call) {
            "fdatasync" | "fsync" => {
                let covered = self.dirty.get(target).cloned().unwrap_or_default();
                self.under_way.insert(thread.to_owned(), (target.to_owned(), covered));
            }
            "write" | "writev" | "sendto" | "sendmsg" if call.contains(ACKNOWLEDGED) => {
                if let Some(marker) = self.requests.remove(target) {
                    self.answer(&marker);
                }
            }
            _ => {}
        }
    }

    fn ends(&mut self, thread: &str, call: &str) {
        let result =
            call.rsplit_once(" = ").and_then(|(_, result)| result.split(['<', ' ']).next()?.parse::<i64>().ok());
        let under_way = self.under_way.remove(thread);
        let Some(result) = result.filter(|result| *result >= 0) else { return };
        match (name(call), target(call)) {
            ("fdatasync" | "fsync", _) => {
                self.syncs += 1;
                let Some((target, covered)) = under_way else { return };
                for thing in &covered {
                    self.dirty.entry(target.clone()).or_default().remove(thing);
                    self.durable.entry(thing.clone()).or_default().insert(target.clone());
                }
            }
            // `"..", length, offset) = result`: the rest of a short write comes in another call.
            ("pwrite64", Some(file)) if length(call) == Some(result) => {
                self.dirty.entry(file.to_owned()).or_default().extend(markers(call));
            }
            ("openat", _) if call.contains("O_CREAT") => self.named(call),
            ("rename" | "renameat" | "renameat2", _) => self.named(call),
            ("read" | "readv" | "recvfrom" | "recvmsg", Some(connection)) if call.contains("\"PUT /") => {
                self.requests.extend(markers(call).map(|marker| (connection.to_owned(), marker)).next());
            }
            _ => {}
        }
    }

    /// Notes that the last path of this call is now the name of a file.
    fn named(&mut self, call: &str) {
        let Some(path) = call.rsplit('"').nth(1) else { return };
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.dirty.entry(folder.to_owned()).or_default().insert(path.to_owned());
    }

    fn answer(&mut self, marker: &str) {
        self.answers += 1;
        let files = self.durable.get(marker).into_iter().flatten();
        // Each node has a separate folder.
        let folders: BTreeSet<&String> = files.filter_map(|file| self.durable.get(file)).flatten().collect();
        let found = folders.len();
        if found < NODES {
            let violation = format!("{marker} is acknowledged: expected it durable on {NODES} nodes, found {found}");
            self.violations.push(violation);
        }
    }
}

fn name(call: &str) -> &str {
    call.split('(').next().unwrap_or_default()
}

/// The meaning of the first argument: the path of an open file, or the addresses of a connection.
fn target(call: &str) -> Option<&str> {
    let (number, rest) = call.split_once('(')?.1.split_once('<')?;
    let end = if rest.starts_with("TCP:[") { rest.find("]>")? } else { rest.find('>')? };
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| &rest[..end])
}

/// The number of bytes of a pwrite64.
fn length(call: &str) -> Option<i64> {
    call.rsplit_once('"')?.1.trim_start_matches("...").split(", ").nth(1)?.parse().ok()
}

fn markers(call: &str) -> impl Iterator<Item = String> {
    call.split(MARKER).skip(1).filter_map(|rest| Some(format!("{MARKER}{}", rest.get(..9)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two nodes and one put; thread 1 serves connections, threads 2 and 3 belong to the disks.
    const LEGAL: &str = r#"2 openat(AT_FDCWD</d>, "/d/n1/wal-1", O_RDWR|O_CREAT|O_EXCL, 0666) = 5</d/n1/wal-1>
3 openat(AT_FDCWD</d>, "/d/n2/wal.new", O_RDWR|O_CREAT|O_EXCL, 0666) = 5</d/n2/wal.new>
3 rename("/d/n2/wal.new", "/d/n2/wal-1") = 0
2 fsync(4</d/n1>) = 0
3 fsync(4</d/n2>) = 0
1 recvfrom(20<TCP:[127.0.0.1:72->127.0.0.1:5]>, <unfinished ...>
2 pwrite64(5</d/n1/wal-1>, "rec\0old", 7, 4096) = 7
1 <... recvfrom resumed>"PUT /v1/kv/k HTTP/1.1\r\n\r\ndurable-000000007", 8192, 0, NULL, NULL) = 43
2 pwrite64(5</d/n1/wal-1>, "rec\1\10durable-000000007\0"..., 80, 248) = 80
3 pwrite64(5</d/n2/wal-1>, "rec\1\10durable-000000007\0", 80, 248 <unfinished ...>
2 fdatasync(5</d/n1/wal-1> <unfinished ...>
3 <... pwrite64 resumed>) = 80
3 fdatasync(5</d/n2/wal-1>) = 0
2 <... fdatasync resumed>) = 0 (DELAYED)
1 writev(20<TCP:[127.0.0.1:72->127.0.0.1:5]>, [{iov_base="HTTP/1.1 200 OK\r\n", iov_len=17}], 1 <unfinished ...>
1 <... writev resumed>) = 17
1 +++ exited with 0 +++"#;

    /// Checks the legal trace, with each line that begins with a case's first text replaced by its second text.
    fn check(case: &[(&str, &str)]) -> Checker {
        let mut checker = Checker::default();
        assert!(case.iter().all(|(begin, _)| LEGAL.lines().any(|line| line.starts_with(begin))), "{case:?}");
        for line in LEGAL.lines() {
            let lines = case.iter().find(|(begin, _)| line.starts_with(begin)).map_or(line, |(_, lines)| lines);
            lines.lines().for_each(|line| checker.line(line).unwrap());
        }
        checker
    }

    #[test]
    fn an_answer_after_the_syncs_is_legal_and_each_early_one_is_found() {
        let legal = check(&[]);
        assert_eq!((legal.answers, legal.syncs, legal.violations), (1, 4, Vec::new()));
        let refused =
            check(&[("1 writev", "1 writev(20<TCP:[127.0.0.1:72->127.0.0.1:5]>, \"HTTP/1.1 503\" <unfinished ...>")]);
        assert_eq!((refused.answers, refused.violations), (0, Vec::new()));
        let early = "1 sendto(20<TCP:[127.0.0.1:72->127.0.0.1:5]>, \"HTTP/1.1 200 OK\", 15, 0, NULL, 0) = 15\n";
        let cases: [(&str, &[(&str, &str)]); 12] = [
            ("a sync has not returned", &[("2 <... fdata", &format!("{early}2 <... fdatasync resumed>) = 0"))]),
            ("a sync has not begun", &[("3 fdata", &format!("{early}3 fdatasync(5</d/n2/wal-1>) = 0"))]),
            ("a sync failed", &[("3 fdata", "3 fdatasync(5</d/n2/wal-1>) = -1 EIO (Input/output error)")]),
            ("a sync never returned", &[("2 <... fdata", "2 <... fdatasync resumed> <unfinished ...>) = ?")]),
            ("another file was synced", &[("3 fdata", "3 fdatasync(5</d/n2/wal-2>) = 0")]),
            ("another node's file was synced", &[("3 fdata", "3 fdatasync(5</d/n1/wal-1>) = 0")]),
            (
                "a sync began before the write returned",
                &[("3 <... pwr", ""), ("3 fdata", "4 fdatasync(5</d/n2/wal-1>) = 0\n3 <... pwrite64 resumed>) = 80")],
            ),
            ("a write failed", &[("3 <... pwr", "3 <... pwrite64 resumed>) = -1 ENOSPC (No space left on device)")]),
            ("a write was short", &[("3 <... pwr", "3 <... pwrite64 resumed>) = 40")]),
            ("nothing was written", &[("2 pwrite64(5</d/n1/wal-1>, \"rec\\1", "")]),
            ("a name was not synced", &[("2 fsync", "2 fsync(4</d/n3>) = 0")]),
            ("a name after a rename was not synced", &[("3 fsync", ""), ("3 openat", "3 fsync(4</d/n2>) = 0")]),
        ];
        for (case, lines) in cases {
            let checker = check(lines);
            assert_eq!((checker.answers, checker.violations.len()), (1, 1), "{case}: {checker:?}");
        }
    }

    #[test]
    fn lines_that_strace_does_not_write_are_refused() {
        for line in ["nonsense", "7 <... fsync resumed>) = 0"] {
            assert!(Checker::default().line(line).is_err(), "{line}");
        }
    }
}
