//! Repairs frames from the broker that the client library cannot read, in place and at the same length.
//!
//! `RabbitMQ` passes on names and keys that are not UTF-8, and headers with tables nested thousands deep. The library
//! closes the connection on the former and overflows its stack on the latter. Both return with every redelivery, so
//! one message would stop all work forever. The repair replaces a byte that is not UTF-8 with `?`, and turns a table
//! that is nested too deep into a byte array. It does not touch bodies and long strings, where the library accepts
//! any bytes.

/// Maximum nesting of tables and arrays. Deeper than what `properties` stores.
const MAX_DEPTH: usize = 32;

/// Frame types of AMQP 0-9-1.
pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;

/// The class `basic`, and its methods that carry a message from the broker.
pub(super) const BASIC: u16 = 60;
const RETURN: u16 = 50;
pub(super) const DELIVER: u16 = 60;
const GET_OK: u16 = 71;

/// Whether frames of this type may need a repair.
pub(super) fn concerns(frame_type: u8) -> bool {
    matches!(frame_type, METHOD | HEADER)
}

/// Repairs the payload of one frame. Malformed frames are left to the library, which reports them.
pub(super) fn repair(frame_type: u8, payload: &mut [u8]) {
    let mut payload = Payload { bytes: payload, at: 0 };
    // `None` only means that the payload ended early.
    let _ = match frame_type {
        METHOD => payload.method(),
        HEADER => payload.header(),
        _ => None,
    };
}

struct Payload<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Payload<'_> {
    fn method(&mut self) -> Option<()> {
        let (class, method) = (self.u16()?, self.u16()?);
        match (class, method) {
            // Consumer tag; delivery tag, redelivered; exchange, routing key.
            (BASIC, DELIVER) => {
                self.short_string()?;
                self.skip(9)?;
            }
            // Delivery tag, redelivered; exchange, routing key.
            (BASIC, GET_OK) => self.skip(9)?,
            // Code, text; exchange, routing key.
            (BASIC, RETURN) => {
                self.skip(2)?;
                self.short_string()?;
            }
            _ => return None,
        }
        self.short_string()?;
        self.short_string()
    }

    fn header(&mut self) -> Option<()> {
        // Class, weight, size of the body.
        self.skip(12)?;
        let flags = self.u16()?;
        for property in (2..=15).rev().filter(|property| flags & (1 << property) != 0) {
            match property {
                13 => self.table()?,
                // Delivery mode, priority.
                11 | 12 => self.skip(1)?,
                // Timestamp.
                6 => self.skip(8)?,
                _ => self.short_string()?,
            }
        }
        Some(())
    }

    /// Walks a table and everything nested in it, without recursion, because the sender chooses the depth.
    fn table(&mut self) -> Option<()> {
        let length = self.u32()?;
        // For each open level: whether it is a table, whose values have names (an array's have none), and its end.
        let mut open = vec![(true, self.at.checked_add(length)?)];
        while let Some((named, end)) = open.last().copied() {
            if self.at >= end {
                open.pop();
                continue;
            }
            if named {
                self.short_string()?;
            }
            let kind_at = self.at;
            let kind = self.u8()?;
            match kind {
                b'V' => {}
                b't' | b'b' | b'B' => self.skip(1)?,
                b's' | b'U' | b'u' => self.skip(2)?,
                b'I' | b'i' | b'f' => self.skip(4)?,
                b'D' => self.skip(5)?,
                b'L' | b'l' | b'd' | b'T' => self.skip(8)?,
                b'S' | b'x' => {
                    let length = self.u32()?;
                    self.skip(length)?;
                }
                b'F' | b'A' => {
                    let length = self.u32()?;
                    if open.len() < MAX_DEPTH {
                        open.push((kind == b'F', self.at.checked_add(length)?));
                    } else {
                        // A byte array is encoded like a table or an array: a length, then that many bytes.
                        *self.bytes.get_mut(kind_at)? = b'x';
                        self.skip(length)?;
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn short_string(&mut self) -> Option<()> {
        let length = self.u8()?;
        make_utf8(self.take(length.into())?);
        Some(())
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(|bytes: &mut [u8; 2]| u16::from_be_bytes(*bytes))
    }

    fn u32(&mut self) -> Option<usize> {
        let bytes: &mut [u8; 4] = self.take(4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(*bytes)).ok()
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(|_| ())
    }

    fn take(&mut self, length: usize) -> Option<&mut [u8]> {
        let start = self.at;
        let end = start.checked_add(length)?;
        let taken = self.bytes.get_mut(start..end)?;
        self.at = end;
        Some(taken)
    }
}

fn make_utf8(mut text: &mut [u8]) {
    while let Err(error) = std::str::from_utf8(text) {
        let start = error.valid_up_to();
        let end = error.error_len().map_or(text.len(), |length| start + length);
        let Some((bad, rest)) = text.get_mut(start..).and_then(|tail| tail.split_at_mut_checked(end - start))
        else {
            return;
        };
        bad.fill(b'?');
        text = rest;
    }
}

#[cfg(test)]
mod tests;
