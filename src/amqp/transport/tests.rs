//! Frames arrive in pieces of any size.

use futures_util::{AsyncReadExt as _, io::Cursor};
use proptest::prelude::*;

use super::*;

/// A stream that yields at most this many bytes per read.
struct Pieces(Cursor<Vec<u8>>, usize);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = buffer.len().min(self.1);
        Pin::new(&mut self.0).poll_read(context, &mut buffer[..count])
    }
}

fn frame(frame_type: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[frame_type, 0, 1], size.as_slice(), payload, &[0xce]].concat()
}

/// A delivery on channel 1 whose body has this size.
fn message(size: usize) -> Vec<u8> {
    let size_of_body = (size as u64).to_be_bytes();
    let header = [&[0, 60, 0, 0], size_of_body.as_slice(), &[0, 0]].concat();
    [frame(1, &[0, 60, 0, 60]), frame(2, &header), frame(3, &vec![b'x'; size])].concat()
}

fn read(bytes: Vec<u8>, piece: usize, buffer: usize) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut stream = Repaired::new(Pieces(Cursor::new(bytes), piece), None);
        let (mut all, mut buffer) = (Vec::new(), vec![0; buffer]);
        loop {
            match stream.read(&mut buffer).await.unwrap() {
                0 => return all,
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    })
}

proptest! {
    #[test]
    fn headers_are_repaired_and_bodies_pass_unchanged(body: Vec<u8>, piece in 1_usize..40, buffer in 1_usize..40) {
        let header = |id: &[u8]| {
            let fixed = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x80, 2];
            frame(2, &[fixed.as_slice(), id].concat())
        };
        let body = frame(3, &body);
        let sent = [header(b"\xff\xfe"), body.clone(), header(b"ok"), body.clone()].concat();
        let expected = [header(b"??"), body.clone(), header(b"ok"), body].concat();
        prop_assert_eq!(read(sent, piece, buffer), expected);
    }

    #[test]
    fn bytes_that_are_not_amqp_pass_unchanged(bytes: Vec<u8>, piece in 1_usize..40) {
        let bytes = [b"AMQP".to_vec(), bytes].concat();
        prop_assert_eq!(read(bytes.clone(), piece, 16), bytes);
    }
}

#[test]
fn message_without_room_waits_while_heartbeats_are_heard() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let inbox = Inbox::new(3000);
        inbox.watch(1);
        let sent = [message(1000), message(1500), message(10), frame(1, &[0, 60, 0, 80])].concat();
        let mut stream = Repaired::new(Pieces(Cursor::new(sent), 7), Some(inbox.clone()));
        let mut next = async |expected: Vec<u8>| {
            let mut read = vec![0; expected.len()];
            stream.read_exact(&mut read).await.unwrap();
            assert_eq!(read, expected);
        };
        // The second one exceeds the limit and still fits.
        next(message(1000)).await;
        next(message(1500)).await;
        next(HEARTBEAT.to_vec()).await;
        next(HEARTBEAT.to_vec()).await;
        let (first, second) = (inbox.take(1), inbox.take(1));
        drop((first, second));
        next(message(10)).await;
        next(frame(1, &[0, 60, 0, 80])).await;
    });
}

#[test]
fn stream_may_end_within_a_frame() {
    let whole = frame(2, &[0; 30]);
    let cut = whole[..20].to_vec();
    assert_eq!(read(cut.clone(), 7, 64), cut);
}
