//! A bare NATS client of some lines: it shares no code with the one under test, says the bytes that it is given, and
//! notes when a message is here.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Result, TestkitError};
use crate::nats::NatsServer;

/// Clients so far: each has an inbox of its own, or it would read the answers of the others.
static CLIENTS: AtomicU32 = AtomicU32::new(0);

/// A message as it was on the wire.
#[derive(Clone, Debug)]
pub struct RawMessage {
    /// Its subject.
    pub subject: String,
    /// Where an answer is expected.
    pub reply: Option<String>,
    /// The header block, `NATS/1.0…`, or nothing.
    pub headers: String,
    /// What was sent.
    pub payload: Vec<u8>,
    /// When it was read here.
    pub received: Instant,
}

impl RawMessage {
    /// The payload as text; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// A connection to one of our own servers, in that server's network.
#[derive(Debug)]
pub struct RawNats {
    stream: TcpStream,
    buffer: Vec<u8>,
    subscriptions: u32,
    requests: u32,
    inbox: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Message {
        subject: String,
        reply: Option<String>,
        headers: String,
        payload: Vec<u8>,
    },
    Ping,
    Refused(String),
    Other,
}

impl RawNats {
    /// Connects to a server.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn connect(server: &NatsServer) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
        let stream = server
            .network()
            .enter(|| TcpStream::connect(address))?
            .map_err(TestkitError::io(format!("cannot connect to {}", server.url())))?;
        stream
            .set_nodelay(true)
            .map_err(TestkitError::io("cannot set up the connection"))?;
        let mut client = Self {
            stream,
            buffer: Vec::new(),
            subscriptions: 0,
            requests: 0,
            inbox: format!(
                "_INBOX.tcs-raw-{}-{}",
                std::process::id(),
                CLIENTS.fetch_add(1, Ordering::Relaxed)
            ),
        };
        client.send(
            b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"name\":\"tcs-raw\",\"lang\":\"raw\",\"version\":\"0\"}\r\n",
        )?;
        client.subscribe(&format!("{}.>", client.inbox))?;
        Ok(client)
    }

    /// Subscribes, and waits until the server knows of it.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn subscribe(&mut self, subject: &str) -> Result<()> {
        self.subscriptions += 1;
        let line = format!("SUB {subject} {}\r\nPING\r\n", self.subscriptions);
        self.send(line.as_bytes())?;
        let end = Instant::now() + Duration::from_secs(5);
        // Messages of earlier subscriptions may come first: they stay in the buffer.
        let mut seen = self.buffer.len();
        while !self.buffer[seen..].windows(6).any(|bytes| bytes == b"PONG\r\n") {
            seen = self.buffer.len().saturating_sub(5);
            if !self.read_more(end)? {
                return Err(TestkitError::io_from(
                    format!("no answer to `SUB {subject}`"),
                    ErrorKind::TimedOut,
                ));
            }
        }
        Ok(())
    }

    /// Publishes bytes as they are.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn publish(&mut self, subject: &str, reply: Option<&str>, payload: &[u8]) -> Result<()> {
        let reply = reply.map(|reply| format!("{reply} ")).unwrap_or_default();
        let mut bytes = format!("PUB {subject} {reply}{}\r\n", payload.len()).into_bytes();
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(b"\r\n");
        self.send(&bytes)
    }

    /// Sends a request, as `nats req` does, and gives the first answer; other messages that come meanwhile are dropped.
    ///
    /// # Errors
    /// When there is no answer within the deadline, or nobody to give one.
    pub fn request(&mut self, subject: &str, payload: &[u8], deadline: Duration) -> Result<RawMessage> {
        self.requests += 1;
        let inbox = format!("{}.{}", self.inbox, self.requests);
        self.publish(subject, Some(&inbox), payload)?;
        let end = Instant::now() + deadline;
        let no_answer = |kind| TestkitError::io_from(format!("no answer to a request on `{subject}`"), kind);
        while let Some(message) = self.next(end.saturating_duration_since(Instant::now()))? {
            if message.subject == inbox {
                // The server itself says that nobody listens.
                let nobody = message.payload.is_empty() && message.headers.starts_with("NATS/1.0 503");
                return if nobody {
                    Err(no_answer(ErrorKind::NotConnected))
                } else {
                    Ok(message)
                };
            }
        }
        Err(no_answer(ErrorKind::TimedOut))
    }

    /// The next message, or `None` when none has come within the deadline.
    ///
    /// # Errors
    /// When the connection is lost or the server refuses what was sent.
    pub fn next(&mut self, deadline: Duration) -> Result<Option<RawMessage>> {
        let end = Instant::now() + deadline;
        loop {
            match take_frame(&mut self.buffer) {
                Some(Frame::Message {
                    subject,
                    reply,
                    headers,
                    payload,
                }) => {
                    let received = Instant::now();
                    return Ok(Some(RawMessage {
                        subject,
                        reply,
                        headers,
                        payload,
                        received,
                    }));
                }
                Some(Frame::Ping) => self.send(b"PONG\r\n")?,
                Some(Frame::Refused(why)) => {
                    return Err(TestkitError::io_from(
                        format!("the NATS server says {why}"),
                        ErrorKind::Other,
                    ));
                }
                Some(Frame::Other) => {}
                None => {
                    if !self.read_more(end)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream
            .write_all(bytes)
            .map_err(TestkitError::io("the connection to the NATS server is lost"))
    }

    /// Reads what is there, or waits for it; `false` when the end has passed.
    fn read_more(&mut self, end: Instant) -> Result<bool> {
        let lost = "the connection to the NATS server is lost";
        let left = end
            .saturating_duration_since(Instant::now())
            .max(Duration::from_micros(1));
        self.stream
            .set_read_timeout(Some(left))
            .map_err(TestkitError::io(lost))?;
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(TestkitError::io_from(lost, ErrorKind::UnexpectedEof)),
            Ok(length) => {
                self.buffer.extend_from_slice(&chunk[..length]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
            Err(error) => Err(TestkitError::io_from(lost, error)),
        }
    }
}

/// Takes one whole protocol line, with its payload, from the front of the buffer.
fn take_frame(buffer: &mut Vec<u8>) -> Option<Frame> {
    let line_end = buffer.windows(2).position(|bytes| bytes == b"\r\n")?;
    let line = String::from_utf8_lossy(&buffer[..line_end]).into_owned();
    let words: Vec<&str> = line.split_whitespace().collect();
    let (verb, body) = (words.first().copied().unwrap_or_default(), line_end + 2);
    let size = |back: usize| {
        words
            .len()
            .checked_sub(back)
            .and_then(|at| words[at].parse::<usize>().ok())
    };
    let (header_size, total) = match verb {
        "MSG" => (0, size(1)?),
        "HMSG" => (size(2)?, size(1)?),
        _ => {
            let frame = match verb {
                "PING" => Frame::Ping,
                "-ERR" => Frame::Refused(line.clone()),
                _ => Frame::Other,
            };
            buffer.drain(..body);
            return Some(frame);
        }
    };
    if buffer.len() < body + total + 2 {
        return None;
    }
    let sizes = if verb == "MSG" { 1 } else { 2 };
    let reply = (words.len() == 4 + sizes).then(|| words[3].to_owned());
    let frame = Frame::Message {
        subject: words.get(1).copied().unwrap_or_default().to_owned(),
        reply,
        headers: String::from_utf8_lossy(&buffer[body..body + header_size]).into_owned(),
        payload: buffer[body + header_size..body + total].to_vec(),
    };
    buffer.drain(..body + total + 2);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_or_not_at_all() {
        let bytes =
            b"INFO {}\r\nMSG a.b 1 5\r\nhello\r\nHMSG a.c 1 in.1 12 14\r\nNATS/1.0\r\n\r\nok\r\nPING\r\n";
        let message = |subject: &str, reply: Option<&str>, headers: &str, payload: &[u8]| Frame::Message {
            subject: subject.into(),
            reply: reply.map(Into::into),
            headers: headers.into(),
            payload: payload.to_vec(),
        };
        let expected = [
            Frame::Other,
            message("a.b", None, "", b"hello"),
            message("a.c", Some("in.1"), "NATS/1.0\r\n\r\n", b"ok"),
            Frame::Ping,
        ];
        // However the network cuts them.
        for cut in 0..bytes.len() {
            let mut buffer = bytes[..cut].to_vec();
            let mut frames: Vec<_> = std::iter::from_fn(|| take_frame(&mut buffer)).collect();
            buffer.extend_from_slice(&bytes[cut..]);
            frames.extend(std::iter::from_fn(|| take_frame(&mut buffer)));
            assert_eq!(frames, expected, "cut at {cut}");
            assert!(buffer.is_empty());
        }
    }
}
