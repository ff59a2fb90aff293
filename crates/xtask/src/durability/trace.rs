//! What `strace -f -yy -xx` says, as calls: each with the line where it began and the line where it returned, which is
//! the order that counts. Must not know what is in the files or on the sockets.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::io::BufRead;

/// A system call that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The line where it began, from 1.
    pub(crate) begin: u64,
    /// The line where it returned; none if the process died in it.
    pub(crate) end: Option<u64>,
    /// What it returned: -1 for an error. None if the process died in it: it may have done what was asked.
    pub(crate) returned: Option<i64>,
    /// What was asked.
    pub(crate) what: What,
}

/// What a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Make the file of this path.
    Create { path: String },
    /// Write to a file.
    Write { path: String, offset: u64, bytes: Vec<u8> },
    /// Make a file or folder durable.
    Sync { path: String },
    /// Give a file another name, in place of a file of that name.
    Rename { from: String, to: String },
    /// Remove a file.
    Remove { path: String },
    /// Send on a connection.
    Send { link: Link, bytes: Vec<u8> },
    /// Close a connection.
    Close { link: Link },
}

/// A TCP connection of the traced process, by its descriptor and its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Link {
    pub(crate) descriptor: u32,
    pub(crate) local: u16,
    pub(crate) remote: u16,
}

/// The system calls to trace. Of some the architecture has one form or another.
pub(crate) const TRACED: &str = "trace=openat,pwrite64,fdatasync,fsync,?rename,?renameat,renameat2,?unlink,unlinkat,write,\
                                 writev,sendto,sendmsg,close";

/// The longest data that a line shows; more than any node writes at once here.
pub(crate) const MAX_DATA: usize = 4 << 20;

const UNFINISHED: &str = " <unfinished ...>";

/// All calls of a trace that matter, in order of their beginnings.
///
/// # Errors
/// A line that strace would not write, or does not show whole.
pub(crate) fn read(input: impl BufRead) -> Result<Vec<Call>> {
    let mut reader = Reader::default();
    for (line, text) in (1..).zip(input.lines()) {
        let text = text.with_context(|| format!("line {line} cannot be read"))?;
        reader.line(line, &text).with_context(|| format!("line {line} is not as strace writes it"))?;
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    calls: Vec<Call>,
    /// By thread: where a call began, and its first part.
    unfinished: BTreeMap<u32, (u64, String)>,
    /// What was last connected to a descriptor: a connection that the other side has reset has no addresses any more.
    links: BTreeMap<u32, Link>,
}

impl Reader {
    fn line(&mut self, line: u64, text: &str) -> Result<()> {
        let (thread, text) = text.split_once(' ').context("no thread")?;
        let (thread, text) = (thread.parse().context("no thread")?, text.trim_start());
        if text.starts_with("+++") || text.starts_with("---") {
            return Ok(());
        }
        if let Some(resumed) = text.strip_prefix("<... ") {
            let (_, rest) = resumed.split_once(" resumed>").context("nothing is resumed")?;
            let (begin, mut whole) = self.unfinished.remove(&thread).context("what is resumed never began")?;
            whole.push_str(rest);
            return self.call(begin, Some(line), &whole);
        }
        match text.strip_suffix(UNFINISHED) {
            Some(first) => {
                self.unfinished.insert(thread, (line, first.to_owned()));
                Ok(())
            }
            None => self.call(line, Some(line), text),
        }
    }

    fn finish(mut self) -> Result<Vec<Call>> {
        for (_, (begin, first)) in std::mem::take(&mut self.unfinished) {
            self.call(begin, None, &first).with_context(|| format!("line {begin} is not as strace writes it"))?;
        }
        self.calls.sort_by_key(|call| call.begin);
        Ok(self.calls)
    }

    fn call(&mut self, begin: u64, end: Option<u64>, text: &str) -> Result<()> {
        let (name, rest) = text.split_once('(').context("no call")?;
        let (arguments, result) = match end.and_then(|_| rest.rsplit_once(" = ")) {
            Some((arguments, result)) => (arguments.trim_end().trim_end_matches(')'), result),
            None => (rest, "?"),
        };
        let arguments = arguments.strip_suffix(UNFINISHED).unwrap_or(arguments);
        let number = result.split(|c: char| c != '-' && !c.is_ascii_digit()).next().unwrap_or_default();
        let returned: Option<i64> = number.parse().ok();
        let Some(what) = self.what(name, arguments)? else { return Ok(()) };
        let end = end.filter(|_| returned.is_some());
        self.calls.push(Call { begin, end, returned, what });
        Ok(())
    }

    fn what(&mut self, name: &str, arguments: &str) -> Result<Option<What>> {
        match name {
            "openat" => {
                let [path] = paths(arguments)?;
                return Ok(arguments.contains("O_CREAT").then_some(What::Create { path }));
            }
            "rename" | "renameat" | "renameat2" => {
                let [from, to] = paths(arguments)?;
                return Ok(Some(What::Rename { from, to }));
            }
            "unlink" | "unlinkat" => {
                let [path] = paths(arguments)?;
                return Ok(Some(What::Remove { path }));
            }
            _ => {}
        }
        let Some((descriptor, rest)) = self.descriptor(arguments)? else { return Ok(None) };
        Ok(match (name, descriptor) {
            ("pwrite64", Descriptor::Path(path)) => {
                let offset = rest.rsplit_once(", ").context("no offset")?.1;
                let offset = offset.trim().parse().context("no offset")?;
                Some(What::Write { path, offset, bytes: data(rest)? })
            }
            ("fdatasync" | "fsync", Descriptor::Path(path)) => Some(What::Sync { path }),
            ("write" | "writev" | "sendto" | "sendmsg", Descriptor::Link(link)) => {
                Some(What::Send { link, bytes: data(rest)? })
            }
            ("close", Descriptor::Link(link)) => {
                self.links.remove(&link.descriptor);
                Some(What::Close { link })
            }
            _ => None,
        })
    }

    /// The first argument, if it is an open file or connection; and what follows it.
    fn descriptor<'t>(&mut self, text: &'t str) -> Result<Option<(Descriptor, &'t str)>> {
        let Some((number, rest)) = text.split_once('<') else { return Ok(None) };
        let Ok(descriptor) = number.parse() else { return Ok(None) };
        if let Some(rest) = rest.strip_prefix("TCP:[") {
            let (addresses, rest) = rest.split_once("]>").context("addresses without an end")?;
            // A listening socket has one address, and nothing is sent on it.
            let Some((local, remote)) = addresses.split_once("->") else { return Ok(None) };
            let link = Link { descriptor, local: port(local)?, remote: port(remote)? };
            self.links.insert(descriptor, link);
            return Ok(Some((Descriptor::Link(link), rest)));
        }
        if !rest.starts_with('\\') {
            return Ok(None);
        }
        let (path, rest) = rest.split_once('>').context("a path without an end")?;
        let path = String::from_utf8(unescape(path)?).context("a path is no text")?;
        if path.starts_with("socket:") {
            return Ok(self.links.get(&descriptor).map(|link| (Descriptor::Link(*link), rest)));
        }
        Ok(Some((Descriptor::Path(path), rest)))
    }
}

enum Descriptor {
    Path(String),
    Link(Link),
}

fn port(address: &str) -> Result<u16> {
    let (_, port) = address.rsplit_once(':').context("an address without a port")?;
    port.parse().context("an address without a port")
}

/// The data of all strings in a call's arguments, one after the other.
fn data(arguments: &str) -> Result<Vec<u8>> {
    Ok(strings(arguments)?.concat())
}

/// The strings in a call's arguments as paths.
fn paths<const N: usize>(arguments: &str) -> Result<[String; N]> {
    let texts = strings(arguments)?.into_iter().map(String::from_utf8);
    let texts: Vec<String> = texts.collect::<Result<_, _>>().context("a path is no text")?;
    texts.try_into().ok().with_context(|| format!("not {N} paths"))
}

fn strings(arguments: &str) -> Result<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    let mut rest = arguments;
    while let Some((_, begun)) = rest.split_once('"') {
        let (text, after) = begun.split_once('"').context("a string without an end")?;
        let bytes = unescape(text)?;
        if after.starts_with("...") {
            bail!("a string is cut after {} bytes", bytes.len());
        }
        strings.push(bytes);
        rest = after;
    }
    Ok(strings)
}

/// `\x68\x69` as bytes.
fn unescape(text: &str) -> Result<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let byte = |quad: &[u8]| match quad {
        [b'\\', b'x', high, low] => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(4).map(byte).collect();
    bytes.context("a string is not in \\x digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(text: &str) -> Vec<Call> {
        read(text.as_bytes()).unwrap()
    }

    const LINK: Link = Link { descriptor: 18, local: 34024, remote: 17110 };

    #[test]
    fn interleaved_calls_are_joined_and_keep_their_lines() {
        let text = "\
7 pwrite64(5<\\x2f\\x61>, \"\\x68\\x69\", 2, 4096) = 2
8 fdatasync(5<\\x2f\\x61> <unfinished ...>
9 writev(18<TCP:[127.0.0.1:34024->127.0.0.1:17110]>, [{iov_base=\"\\x01\", iov_len=1}, {iov_base=\"\\x02\", iov_len=1}], 2 <unfinished ...>
8 <... fdatasync resumed>)          = 0
9 <... writev resumed>)             = 1
9 sendto(18<TCP:[127.0.0.1:34024->127.0.0.1:17110]>, \"\\x02\", 1, MSG_NOSIGNAL, NULL, 0) = -1 EAGAIN (Resource temporarily unavailable)
9 write(13<\\x61\\x6e\\x6f\\x6e>, \"\\x01\", 1) = 1
9 close(18<TCP:[127.0.0.1:34024->127.0.0.1:17110]>) = 0
7 openat(AT_FDCWD<\\x2f>, \"\\x2f\\x62\", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0666) = 8<\\x2f\\x62>
7 openat(AT_FDCWD<\\x2f>, \"\\x2f\\x62\", O_RDONLY) = 8<\\x2f\\x62>
7 rename(\"\\x2f\\x62\", \"\\x2f\\x63\") = 0
7 renameat2(AT_FDCWD<\\x2f>, \"\\x2f\\x63\", AT_FDCWD<\\x2f>, \"\\x2f\\x64\", 0) = 0
7 unlink(\"\\x2f\\x64\" <unfinished ...>
7 <... unlink resumed>)             = 0
7 unlinkat(AT_FDCWD<\\x2f>, \"\\x2f\\x65\", 0) = -1 ENOENT (No such file or directory)
9 +++ exited with 0 +++
";
        let call = |begin, end, returned, what| Call { begin, end: Some(end), returned: Some(returned), what };
        let path = || "/a".to_owned();
        let expected = [
            call(1, 1, 2, What::Write { path: path(), offset: 4096, bytes: b"hi".to_vec() }),
            call(2, 4, 0, What::Sync { path: path() }),
            call(3, 5, 1, What::Send { link: LINK, bytes: vec![1, 2] }),
            call(6, 6, -1, What::Send { link: LINK, bytes: vec![2] }),
            call(8, 8, 0, What::Close { link: LINK }),
            call(9, 9, 8, What::Create { path: "/b".to_owned() }),
            call(11, 11, 0, What::Rename { from: "/b".to_owned(), to: "/c".to_owned() }),
            call(12, 12, 0, What::Rename { from: "/c".to_owned(), to: "/d".to_owned() }),
            call(13, 14, 0, What::Remove { path: "/d".to_owned() }),
            call(15, 15, -1, What::Remove { path: "/e".to_owned() }),
        ];
        assert_eq!(calls(text), expected);
    }

    #[test]
    fn what_a_kill_interrupts_never_returns() {
        let text = "\
7 pwrite64(5<\\x2f\\x61>, \"\\x68\\x69\", 2, 64 <unfinished ...>
8 fdatasync(5<\\x2f\\x61> <unfinished ...>
7 <... pwrite64 resumed> <unfinished ...>) = ?
8 +++ killed by SIGKILL +++
";
        let calls = calls(text);
        assert_eq!(calls.len(), 2);
        assert!(calls.iter().all(|call| call.end.is_none() && call.returned.is_none()), "{calls:?}");
        assert_eq!(calls[0].what, What::Write { path: "/a".into(), offset: 64, bytes: b"hi".to_vec() });
    }

    #[test]
    fn a_connection_without_addresses_is_the_one_last_seen_there() {
        let text = "\
7 write(18<TCP:[127.0.0.1:34024->127.0.0.1:17110]>, \"\\x01\", 1) = 1
7 write(18<\\x73\\x6f\\x63\\x6b\\x65\\x74\\x3a\\x5b\\x39\\x5d>, \"\\x02\", 1) = 1
";
        assert_eq!(calls(text)[1].what, What::Send { link: LINK, bytes: vec![2] });
    }

    #[test]
    fn what_is_not_shown_whole_is_refused() {
        let refused = |text: &str| read(text.as_bytes()).unwrap_err();
        let cut = "7 write(18<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"\\x01\"..., 9) = 9\n";
        assert!(format!("{:#}", refused(cut)).contains("cut after 1 bytes"));
        refused("7 pwrite64(5<\\x2f>, \"plain\", 5, 0) = 5\n");
        refused("7 <... fsync resumed>) = 0\n");
        refused("nonsense\n");
    }
}
