//! Withholds one confirm of a connection to `RabbitMQ`.

use std::collections::BTreeSet;

/// Method ids of `basic.ack` (AMQP 0-9-1, section 1.8).
const ACK: [u8; 4] = [0, 60, 0, 80];

/// The bytes of a frame around its payload: type, channel and size before it, the end after it.
const HEAD: usize = 7;
const END: u8 = 0xCE;

/// Rewrites what the server sends, so that the message with this delivery tag is never confirmed.
pub(super) struct Withheld {
    tag: u64,
    /// The tags that have been confirmed.
    confirmed: BTreeSet<u64>,
    /// The beginning of a frame.
    rest: Vec<u8>,
}

impl Withheld {
    pub(super) fn new(tag: u64) -> Self {
        Self { tag, confirmed: BTreeSet::new(), rest: Vec::new() }
    }

    /// The whole frames of what has arrived, without that confirm.
    pub(super) fn filter(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(bytes);
        let mut kept = Vec::new();
        while let Some(size) = self.rest.get(3..HEAD) {
            let size = u32::from_be_bytes(size.try_into().unwrap()) as usize;
            if self.rest.len() < HEAD + size + 1 {
                break;
            }
            let frame: Vec<u8> = self.rest.drain(..=HEAD + size).collect();
            if frame[0] == 1 && frame[HEAD..].starts_with(&ACK) {
                self.acks(&frame, &mut kept);
            } else {
                kept.extend(frame);
            }
        }
        kept
    }

    fn acks(&mut self, frame: &[u8], kept: &mut Vec<u8>) {
        let tag = u64::from_be_bytes(frame[HEAD + 4..HEAD + 12].try_into().unwrap());
        let is_multiple = frame[HEAD + 12] & 1 == 1;
        let first = if is_multiple { 1 } else { tag };
        for one in first..=tag {
            // The first copy only: the client would not understand a second one.
            if one == self.tag || !self.confirmed.insert(one) {
                continue;
            }
            kept.extend_from_slice(&frame[..HEAD]);
            kept.extend_from_slice(&ACK);
            kept.extend_from_slice(&one.to_be_bytes());
            kept.extend_from_slice(&[0, END]);
        }
    }
}
