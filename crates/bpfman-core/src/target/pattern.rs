//! Patterns of names, as libbpf takes them for `kprobe.multi`: `*` is any text, `?` is any one letter.

/// Whether a text is a pattern rather than a name.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether a pattern describes a name as a whole. Takes at most `pattern` times `name` steps.
#[must_use]
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Where to go on when what follows the last `*` does not fit: that `*` then takes one letter more.
    let mut retry = None;
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, read));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[read] => {
                at += 1;
                read += 1;
            }
            _ => match &mut retry {
                Some((after, taken)) => {
                    *taken += 1;
                    (at, read) = (*after, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let table = [
            ("tcp_*", "tcp_connect", true),
            ("*_connect", "tcp_v4_connect", true),
            ("tcp_*_c*t", "tcp_v4_connect", true),
            ("vfs_???d", "vfs_read", true),
            ("*", "", true),
            ("**", "a", true),
            ("", "", true),
            ("tcp_", "tcp_connect", false),
            ("*tcp", "tcp_connect", false),
            ("?", "", false),
            ("a*b*c", "aXbX", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(matches_pattern(pattern, name), expected, "{pattern} {name}");
        }
    }

    fn slowly(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, _) => name.is_empty(),
            (Some((b'*', rest)), _) => (0..=name.len()).any(|taken| slowly(rest, &name[taken..])),
            (Some((b'?', rest)), Some((_, after))) => slowly(rest, after),
            (Some((letter, rest)), Some((first, after))) => letter == first && slowly(rest, after),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            let expected = slowly(pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(matches_pattern(&pattern, &name), expected);
        }
    }
}
