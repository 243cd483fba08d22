//! After which answers of a slot the next one runs, as the bits of a number (contract: section 4).

use crate::types::Family;

/// The bits of some answers.
///
/// A code without a bit is left out: a dispatcher ends the chain with such an answer, whatever the mask.
#[must_use]
pub fn mask(family: Family, codes: &[i32]) -> u32 {
    codes.iter().fold(0, |mask, code| mask | bit(family, *code))
}

/// TC begins at -1 (`TC_ACT_UNSPEC`), so its codes are moved up by one.
fn bit(family: Family, code: i32) -> u32 {
    let place = match family {
        Family::Xdp => Some(code),
        Family::Tc => code.checked_add(1),
    };
    let place = place.and_then(|place| u32::try_from(place).ok());
    place
        .and_then(|place| 1_u32.checked_shl(place))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::TC_DEFAULT;
    use crate::types::TC_VERDICTS;
    use crate::types::XDP_DEFAULT;
    use crate::types::XDP_VERDICTS;

    #[test]
    fn the_defaults_are_the_masks_of_the_contract() {
        assert_eq!(mask(Family::Xdp, XDP_DEFAULT), 0x8000_0004);
        assert_eq!(mask(Family::Tc, TC_DEFAULT), 0x8000_0010);
    }

    #[test]
    fn every_code_has_the_bit_of_the_contract() {
        let table: [(Family, &[i32], u32); 10] = [
            (Family::Xdp, &[], 0),
            (Family::Xdp, &[0], 1),
            (Family::Xdp, &[1, 2, 3], 0b1110),
            (Family::Xdp, &[4, 4], 0b1_0000),
            (Family::Xdp, &[31], 0x8000_0000),
            (Family::Tc, &[], 0),
            (Family::Tc, &[-1], 1),
            (Family::Tc, &[0, 1, 2], 0b1110),
            (Family::Tc, &[8], 0b10_0000_0000),
            (Family::Tc, &[30], 0x8000_0000),
        ];
        for (family, codes, expected) in table {
            assert_eq!(mask(family, codes), expected, "{family:?} {codes:?}");
        }
    }

    #[test]
    fn every_verdict_has_a_bit_of_its_own() {
        for (family, verdicts) in [(Family::Xdp, XDP_VERDICTS), (Family::Tc, TC_VERDICTS)] {
            let codes = verdicts.iter().map(|verdict| verdict.code);
            let bits = codes.map(|code| bit(family, code));
            let all = bits.fold(0, |all, bit| {
                assert_eq!((bit.count_ones(), all & bit), (1, 0));
                all | bit
            });
            assert_eq!(all.count_ones() as usize, verdicts.len());
        }
    }

    proptest! {
        #[test]
        fn a_code_that_no_mask_holds_is_left_out(code in any::<i32>()) {
            let in_xdp = (0..=31).contains(&code);
            let in_tc = (-1..=30).contains(&code);
            prop_assert_eq!(mask(Family::Xdp, &[code]).count_ones(), u32::from(in_xdp));
            prop_assert_eq!(mask(Family::Tc, &[code]).count_ones(), u32::from(in_tc));
        }
    }
}
