//! The gRPC messages in the bytes that one side of an HTTP/2 connection sends (RFC 9113 §4 to §6). Only DATA frames say
//! something here; headers stay as they are. Must not know what the messages are.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;

/// What a client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 0x1;
const PADDED: u8 = 0x8;

/// One direction of a connection, as far as it was sent.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// What is left of the preface.
    preface: &'static [u8],
    /// The header of the next frame, as far as it was sent.
    header: Vec<u8>,
    frame: Option<Frame>,
    /// By stream: the beginning of a message.
    streams: BTreeMap<u32, Vec<u8>>,
}

/// A frame under way.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// Bytes still to come, padding included.
    left: usize,
    /// How many of them are padding; none as long as that is still to come.
    padding: Option<usize>,
}

impl Sent {
    /// What the side that opened the connection sends.
    pub(crate) fn by_client() -> Self {
        Self { preface: PREFACE, ..Self::default() }
    }

    /// What the other side sends.
    pub(crate) fn by_server() -> Self {
        Self::default()
    }

    /// More bytes are sent: the messages that end in them.
    ///
    /// # Errors
    /// This is no HTTP/2, or no gRPC, or compressed.
    pub(crate) fn more(&mut self, mut bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut messages = Vec::new();
        let common = self.preface.len().min(bytes.len());
        if self.preface[..common] != bytes[..common] {
            bail!("the connection does not begin as HTTP/2 does");
        }
        self.preface = &self.preface[common..];
        bytes = &bytes[common..];
        while !bytes.is_empty() {
            let taken = match &mut self.frame {
                None => self.begin(bytes)?,
                Some(frame) => {
                    let (taken, data) = frame.take(bytes)?;
                    if !data.is_empty() {
                        let stream = self.streams.entry(frame.stream).or_default();
                        stream.extend(data);
                        cut_messages(stream, &mut messages)?;
                    }
                    taken
                }
            };
            bytes = bytes.get(taken..).unwrap_or_default();
            self.end();
        }
        Ok(messages)
    }

    /// Takes bytes of a frame's header.
    fn begin(&mut self, bytes: &[u8]) -> Result<usize> {
        let taken = bytes.len().min(9 - self.header.len());
        self.header.extend(&bytes[..taken]);
        if let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = self.header[..] {
            self.header.clear();
            let left = u32::from_be_bytes([0, l2, l1, l0]) as usize;
            let stream = u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]);
            let padding = if kind == DATA && flags & PADDED != 0 { None } else { Some(0) };
            if padding.is_none() && left == 0 {
                bail!("a padded frame without its padding");
            }
            self.frame = Some(Frame { kind, flags, stream, left, padding });
        }
        Ok(taken)
    }

    /// Forgets a frame that is over, and a stream that is.
    fn end(&mut self) {
        let Some(frame) = self.frame.take_if(|frame| frame.left == 0) else { return };
        let ends = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
        if ends || frame.kind == RST_STREAM {
            self.streams.remove(&frame.stream);
        }
    }
}

impl Frame {
    /// Takes bytes of the frame: how many, and the message data among them.
    fn take<'b>(&mut self, bytes: &'b [u8]) -> Result<(usize, &'b [u8])> {
        let Some(padding) = self.padding else {
            let padding = usize::from(*bytes.first().context("no bytes")?);
            self.left -= 1;
            if padding > self.left {
                bail!("a frame with more padding than bytes");
            }
            self.padding = Some(padding);
            return Ok((1, &[]));
        };
        let taken = bytes.len().min(self.left);
        let data = if self.kind == DATA { taken.min(self.left - padding.min(self.left)) } else { 0 };
        self.left -= taken;
        Ok((taken, &bytes[..data]))
    }
}

/// Takes the whole messages off the front of a stream.
fn cut_messages(stream: &mut Vec<u8>, messages: &mut Vec<Vec<u8>>) -> Result<()> {
    while let [compressed, l3, l2, l1, l0, rest @ ..] = &stream[..] {
        if *compressed != 0 {
            bail!("a message is compressed");
        }
        let length = u32::from_be_bytes([*l3, *l2, *l1, *l0]) as usize;
        let Some(message) = rest.get(..length) else { break };
        messages.push(message.to_vec());
        stream.drain(..5 + length);
    }
    Ok(())
}

/// A DATA frame with one message, for tests.
#[cfg(test)]
pub(crate) fn data_frame(stream: u32, message: &[u8]) -> Vec<u8> {
    let mut payload = vec![0];
    payload.extend((message.len() as u32).to_be_bytes());
    payload.extend(message);
    frame(DATA, 0, stream, &payload)
}

#[cfg(test)]
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection with everything in it, and the messages in it.
    fn connection() -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, 0, &[1; 6]));
        bytes.extend(frame(HEADERS, 0, 1, b"headers"));
        bytes.extend(data_frame(1, b"first"));
        bytes.extend(data_frame(3, b""));
        // One message over two frames, another stream's between them; padded, and two messages in one frame.
        bytes.extend(frame(DATA, 0, 1, &[0, 0, 0, 0, 4, b'h', b'a']));
        bytes.extend(data_frame(3, b"between"));
        bytes.extend(frame(DATA, PADDED, 1, &[2, b'l', b'f', 0, 0, 0, 0, 1, b'x', 0, 0]));
        bytes.extend(frame(DATA, END_STREAM, 1, &[]));
        bytes.extend(frame(HEADERS, END_STREAM, 3, b"trailers"));
        let messages = [&b"first"[..], b"", b"between", b"half", b"x"];
        (bytes, messages.map(<[u8]>::to_vec).to_vec())
    }

    #[test]
    fn messages_come_out_however_the_bytes_are_cut() {
        let (bytes, expected) = connection();
        for size in 1..=bytes.len() {
            let mut sent = Sent::by_client();
            let found: Vec<_> = bytes.chunks(size).flat_map(|chunk| sent.more(chunk).unwrap()).collect();
            assert_eq!(found, expected, "{size} bytes at a time");
            assert!(sent.streams.is_empty() && sent.frame.is_none());
        }
    }

    #[test]
    fn a_message_is_sent_with_its_last_byte() {
        let bytes = data_frame(1, b"hello");
        let mut sent = Sent::by_server();
        let (last, rest) = bytes.split_last().unwrap();
        assert!(sent.more(rest).unwrap().is_empty());
        assert_eq!(sent.more(&[*last]).unwrap(), [b"hello"]);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert!(Sent::by_client().more(b"PRI * HTTP/1").is_err());
        assert!(Sent::by_server().more(&frame(DATA, 0, 1, &[1, 0, 0, 0, 1, 9])).is_err(), "compressed");
        assert!(Sent::by_server().more(&frame(DATA, PADDED, 1, &[9, 0])).is_err(), "too much padding");
        assert!(Sent::by_server().more(&frame(DATA, PADDED, 1, &[])).is_err(), "no padding");
    }
}
