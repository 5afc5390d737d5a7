//! What a request says: bytes that belong to one connection and one request of it, so that an
//! answer that went to the wrong connection, or came twice, or late, or damaged, is told from the
//! right one.

/// Writes the bytes of request `sequence` of connection `id`.
pub(super) fn fill(id: u32, sequence: u32, message: &mut [u8]) {
    let mut state = u64::from(id) << 32 | u64::from(sequence);
    for chunk in message.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        chunk.copy_from_slice(&mixed(state).to_le_bytes()[..chunk.len()]);
    }
}

/// How many bytes of an answer are not those of the request.
pub(super) fn differing(answer: &[u8], request: &[u8]) -> u64 {
    if answer == request {
        return 0;
    }
    let wrong = answer
        .iter()
        .zip(request)
        .filter(|(got, expected)| got != expected)
        .count();
    (wrong + answer.len().abs_diff(request.len())) as u64
}

/// The output function of SplitMix64, a bijection whose every bit depends on every bit of its
/// input.
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn message(id: u32, sequence: u32, length: usize) -> Vec<u8> {
        let mut message = vec![0; length];
        fill(id, sequence, &mut message);
        message
    }

    #[test]
    fn no_two_requests_are_alike() {
        let mut seen = HashSet::new();
        for id in 0..300 {
            for sequence in 0..300 {
                assert!(
                    seen.insert(message(id, sequence, 64)),
                    "connection {id}, request {sequence}"
                );
            }
        }
    }

    #[test]
    fn the_same_request_is_always_the_same_and_a_part_of_a_longer_one() {
        for length in [1, 7, 8, 9, 64, 4096] {
            assert_eq!(message(5, 9, length), message(5, 9, 4096)[..length]);
        }
    }

    #[test]
    fn every_wrong_byte_counts() {
        let request = message(1, 1, 64);
        assert_eq!(differing(&request, &request), 0);
        let mut damaged = request.clone();
        damaged[0] ^= 1;
        damaged[63] ^= 0x80;
        assert_eq!(differing(&damaged, &request), 2);
        assert_eq!(differing(&request[..60], &request), 4);
        assert!(differing(&message(2, 1, 64), &request) > 50);
        assert!(differing(&message(1, 2, 64), &request) > 50);
    }
}
