//! Withholds the confirms of messages on their way through a proxy before `RabbitMQ`.

use std::collections::{BTreeMap, BTreeSet};

/// Ids of `basic.publish` and `basic.ack` (AMQP 0-9-1, section 1.8).
const PUBLISH: [u8; 4] = [0, 60, 0, 40];
const ACK: [u8; 4] = [0, 60, 0, 80];

/// The bytes of a frame around its payload: type, channel and size before it, the end after it.
const HEAD: usize = 7;
const END: u8 = 0xCE;

/// What a client sends before its first frame: the protocol's name and version.
const GREETING: usize = 8;

/// The messages of one connection, and what the server has confirmed.
#[derive(Default)]
pub(super) struct Withheld {
    /// How much of the greeting has been seen.
    greeted: usize,
    from_client: Frames,
    from_server: Frames,
    channels: BTreeMap<[u8; 2], Channel>,
}

#[derive(Default)]
struct Channel {
    published: u64,
    withheld: BTreeSet<u64>,
    /// Up to here, the server has confirmed all.
    confirmed: u64,
    /// And these.
    later: BTreeSet<u64>,
}

impl Withheld {
    /// Reads what the client sends. Messages with this routing key will not be confirmed.
    pub(super) fn sent(&mut self, bytes: &[u8], routing_key: Option<&str>) {
        let greeting = (GREETING - self.greeted).min(bytes.len());
        self.greeted += greeting;
        for frame in self.from_client.complete(&bytes[greeting..]) {
            if frame[0] != 1 || !frame[HEAD..].starts_with(&PUBLISH) {
                continue;
            }
            // Two bytes without a meaning, then the exchange and the routing key, each with its length.
            let texts = &frame[HEAD + 6..];
            let key = &texts[1 + usize::from(texts[0])..];
            let key = &key[1..=usize::from(key[0])];
            let channel = self.channels.entry([frame[1], frame[2]]).or_default();
            channel.published += 1;
            if routing_key.is_some_and(|withheld| withheld.as_bytes() == key) {
                channel.withheld.insert(channel.published);
            }
        }
    }

    /// The whole frames of what the server has sent, without those confirms.
    pub(super) fn filter(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut kept = Vec::new();
        for frame in self.from_server.complete(bytes) {
            if frame[0] == 1 && frame[HEAD..].starts_with(&ACK) {
                self.acks(&frame, &mut kept);
            } else {
                kept.extend(frame);
            }
        }
        kept
    }

    fn acks(&mut self, frame: &[u8], kept: &mut Vec<u8>) {
        let channel = self.channels.entry([frame[1], frame[2]]).or_default();
        let tag = u64::from_be_bytes(frame[HEAD + 4..HEAD + 12].try_into().unwrap());
        let is_multiple = frame[HEAD + 12] & 1 == 1;
        let first = if is_multiple { channel.confirmed + 1 } else { tag };
        for one in first..=tag {
            // The first copy only: the client would not understand a second one.
            if channel.withheld.contains(&one) || one <= channel.confirmed || !channel.later.insert(one) {
                continue;
            }
            kept.extend_from_slice(&frame[..HEAD]);
            kept.extend_from_slice(&ACK);
            kept.extend_from_slice(&one.to_be_bytes());
            kept.extend_from_slice(&[0, END]);
        }
        if is_multiple {
            channel.confirmed = channel.confirmed.max(tag);
            channel.later = channel.later.split_off(&(tag + 1));
        }
    }
}

/// Puts frames together.
#[derive(Default)]
struct Frames {
    /// The beginning of a frame.
    rest: Vec<u8>,
}

impl Frames {
    /// The frames that these bytes complete.
    fn complete(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.rest.extend_from_slice(bytes);
        let (mut frames, mut start) = (Vec::new(), 0);
        while let Some(size) = self.rest.get(start + 3..start + HEAD) {
            let end = start + HEAD + u32::from_be_bytes(size.try_into().unwrap()) as usize + 1;
            let Some(frame) = self.rest.get(start..end) else { break };
            frames.push(frame.to_vec());
            start = end;
        }
        self.rest.drain(..start);
        frames
    }
}
