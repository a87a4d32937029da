// SPDX-License-Identifier: MIT OR Apache-2.0
use proptest::prelude::*;

use super::*;

/// The definition, word by word (RFC 1071 §1): slow, and without any trick of the code under test.
fn by_definition(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// 16-bit words, the two zeros of one's complement more often than chance has them.
fn words(count: usize) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![Just(0u16), Just(0xffff), Just(0xfffe), Just(1), any::<u16>()];
    proptest::collection::vec(word, count)
        .prop_map(|words| words.iter().flat_map(|word| word.to_be_bytes()).collect())
}

#[test]
fn the_example_of_rfc_1071_adds_up() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(sum(&bytes).checksum(), U16::new(!0xddf2));
}

#[test]
fn the_example_of_rfc_1624_gives_zero_and_not_its_negative() {
    let delta = Delta::between(&[0x55, 0x55], &[0x32, 0x85]);
    assert_eq!(delta.apply(U16::new(0xdd2f)), U16::new(0x0000));
}

#[test]
fn a_change_of_nothing_leaves_every_checksum_as_it_is() {
    let same = Delta::between(&[0xc0, 0, 2, 1, 0, 80], &[0xc0, 0, 2, 1, 0, 80]);
    let there = Delta::between(&[1, 2, 3, 4], &[5, 6, 7, 8]);
    let and_back = there.combine(Delta::between(&[5, 6, 7, 8], &[1, 2, 3, 4]));
    let zeros = Delta::between(&[0, 0], &[0xff, 0xff]);
    for delta in [Delta::NONE, same, and_back, zeros] {
        for csum in (0..=u16::MAX).map(U16::new) {
            assert_eq!(delta.apply(csum), csum);
            assert_eq!(delta.apply_udp(csum), csum);
        }
    }
}

#[test]
fn udp_never_says_none_by_accident_and_never_stops_saying_it() {
    for from in 0..=u16::MAX {
        let delta = Delta::between(&from.to_be_bytes(), &[0x12, 0x34]);
        assert_eq!(delta.apply_udp(U16::ZERO), U16::ZERO);
        for csum in [1, 0x1233, 0x1234, 0xedcb, !from, from, 0xffff] {
            if csum != 0 {
                assert_ne!(delta.apply_udp(U16::new(csum)), U16::ZERO, "{from:#x} {csum:#x}");
            }
        }
    }
}

#[test]
fn the_longest_frame_of_all_ones_does_not_overflow() {
    assert_eq!(sum(&[0xff; 65_535]).checksum().get(), by_definition(&[0xff; 65_535]));
}

proptest! {
    #[test]
    fn a_part_is_intact_if_its_sum_folds_to_minus_zero(sum: u64, word: u16) {
        for sum in [sum, sum / 0xffff * 0xffff, word.into(), u64::from(word) * 0xffff] {
            prop_assert_eq!(Sum(sum).is_intact(), Sum(sum).fold() == 0xffff, "{:#x}", sum);
        }
    }

    #[test]
    fn a_sum_is_that_of_the_definition_at_any_length_and_alignment(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        skipped in 0usize..8,
    ) {
        let bytes = bytes.get(skipped..).unwrap_or_default();
        prop_assert_eq!(sum(bytes).checksum().get(), by_definition(bytes));
    }

    #[test]
    fn a_sum_of_parts_is_the_sum_of_the_whole(bytes in words(20), word in any::<u16>()) {
        let whole = [&bytes[..], &word.to_be_bytes()].concat();
        let parts = sum(&bytes[..14]).plus(sum(&bytes[14..])).word(word);
        prop_assert_eq!(parts.checksum(), sum(&whole).checksum());
    }

    #[test]
    fn a_delta_gives_what_a_full_computation_gives(
        fixed in words(6), old in words(6), new in words(6), twice in words(6),
    ) {
        // Something in a packet is never zero: a version, a protocol number.
        let full = |part: &[u8]| sum(&[&[0x45, 0][..], &fixed, part].concat()).checksum();
        let delta = Delta::between(&old, &new);
        prop_assert_eq!(delta.apply(full(&old)), full(&new));
        let both = delta.combine(Delta::between(&new, &twice));
        prop_assert_eq!(both, Delta::between(&old, &twice));
        prop_assert_eq!(both.apply(full(&old)), full(&twice));
        prop_assert_eq!(delta.apply_udp(nonzero(full(&old))), nonzero(full(&new)));
        prop_assert_eq!(delta.inverse(), Delta::between(&new, &old));
    }

    #[test]
    fn a_delta_may_change_the_length(fixed in words(4), old in words(4), new in words(16)) {
        let full = |part: &[u8]| sum(&[&[0x45, 0][..], &fixed, part].concat()).checksum();
        prop_assert_eq!(Delta::between(&old, &new).apply(full(&old)), full(&new));
    }
}
