//! Frames over a Unix stream socket: a header, a JSON body and any descriptors that travel with it.
//!
//! The layout is the body's length (u32, little endian), the number of descriptors (u8), the body.
//! Descriptors ride on the frame's first byte. Nothing here waits: callers block or poll around it.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest body, in bytes; a longer one ends the connection. A node's whole inventory is far below it.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Most descriptors with one frame: the three of stdio.
pub(crate) const FDS_MAX: usize = 3;
const HEADER_BYTES: usize = 5;
const READ_BYTES: usize = 16 << 10;

/// A frame to send, and how much of it has gone.
#[derive(Debug)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

impl Outgoing {
    /// Encodes a message.
    pub(crate) fn new(message: &impl Serialize, fds: Vec<OwnedFd>) -> io::Result<Self> {
        let mut bytes = vec![0; HEADER_BYTES];
        serde_json::to_writer(&mut bytes, message)?;
        let length = bytes.len() - HEADER_BYTES;
        if length > BODY_BYTES_MAX || fds.len() > FDS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "frame too large"));
        }
        bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
        bytes[4] = fds.len() as u8;
        Ok(Self { bytes, sent: 0, fds })
    }

    /// Sends as much as the socket takes; true once all is gone.
    pub(crate) fn send_some(&mut self, socket: impl AsFd) -> io::Result<bool> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let borrowed: Vec<BorrowedFd<'_>> = self.fds.iter().map(AsFd::as_fd).collect();
        if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
            return Err(io::Error::other("no room for descriptors"));
        }
        let rest = [IoSlice::new(&self.bytes[self.sent..])];
        let sent = rustix::net::sendmsg(socket, &rest, &mut control, SendFlags::NOSIGNAL)?;
        drop(borrowed);
        self.fds.clear();
        self.sent += sent;
        Ok(self.sent == self.bytes.len())
    }

    /// Sends all on a blocking socket.
    pub(crate) fn send(mut self, socket: impl AsFd) -> io::Result<()> {
        while !self.send_some(socket.as_fd())? {}
        Ok(())
    }
}

/// A frame received.
#[derive(Debug)]
pub(crate) struct Frame {
    body: Vec<u8>,
    /// Descriptors that came with it.
    pub(crate) fds: Vec<OwnedFd>,
}

impl Frame {
    /// The message in it.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> io::Result<T> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// Puts received bytes together to frames.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Incoming {
    /// Receives once; the number of bytes, zero at the end of the stream.
    pub(crate) fn receive_some(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let mut buffer = [0; READ_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut buffer)];
        let received = rustix::net::recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        self.bytes.extend_from_slice(&buffer[..received.bytes]);
        Ok(received.bytes)
    }

    /// The next whole frame, if it has arrived.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame>> {
        let Some((header, rest)) = self.bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let [a, b, c, d, fd_count] = *header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > BODY_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too large"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        if self.fds.len() < usize::from(fd_count) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "frame lacks its descriptors"));
        }
        let body = rest[..length].to_vec();
        let fds = self.fds.drain(..usize::from(fd_count)).collect();
        self.bytes.drain(..HEADER_BYTES + length);
        Ok(Some(Frame { body, fds }))
    }

    /// Waits for the next frame on a blocking socket; none at the end of the stream.
    pub(crate) fn receive(&mut self, socket: impl AsFd) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.next()? {
                return Ok(Some(frame));
            }
            if self.receive_some(socket.as_fd())? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Waiting forms for a socket of the tokio runtime.
pub(crate) mod asynchronous {
    use std::io;

    use tokio::io::Interest;
    use tokio::net::UnixStream;

    use super::{Frame, Incoming, Outgoing};

    /// Sends a whole frame.
    pub(crate) async fn send(socket: &UnixStream, mut frame: Outgoing) -> io::Result<()> {
        while !socket.async_io(Interest::WRITABLE, || frame.send_some(socket)).await? {}
        Ok(())
    }

    /// The next frame; none at the end of the stream.
    pub(crate) async fn receive(socket: &UnixStream, incoming: &mut Incoming) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = incoming.next()? {
                return Ok(Some(frame));
            }
            if socket.async_io(Interest::READABLE, || incoming.receive_some(socket)).await? == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn frames_keep_their_order_and_their_descriptors() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        Outgoing::new(&"first", vec![writer.into()]).unwrap().send(&ours).unwrap();
        Outgoing::new(&"second", vec![]).unwrap().send(&ours).unwrap();
        drop(ours);

        let mut incoming = Incoming::default();
        let mut first = incoming.receive(&theirs).unwrap().unwrap();
        assert_eq!(first.decode::<String>().unwrap(), "first");
        let mut passed = std::fs::File::from(first.fds.remove(0));
        passed.write_all(b"through").unwrap();
        drop(passed);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");

        let second = incoming.receive(&theirs).unwrap().unwrap();
        assert_eq!((second.decode::<String>().unwrap().as_str(), second.fds.len()), ("second", 0));
        assert!(incoming.receive(&theirs).unwrap().is_none());
    }

    #[test]
    fn a_frame_larger_than_the_socket_buffer_arrives_whole() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let long = "x".repeat(1 << 20);
        let expected = long.clone();
        let sender = std::thread::spawn(move || Outgoing::new(&long, vec![]).unwrap().send(&ours));
        let frame = Incoming::default().receive(&theirs).unwrap().unwrap();
        assert_eq!(frame.decode::<String>().unwrap(), expected);
        sender.join().unwrap().unwrap();
    }

    #[test]
    fn an_impossible_length_is_refused() {
        let mut incoming = Incoming { bytes: vec![0xff; HEADER_BYTES], fds: VecDeque::new() };
        assert_eq!(incoming.next().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
