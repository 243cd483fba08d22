//! Names in a string table: the bytes from an offset up to a NUL. ELF and BTF share this layout.

use core::ffi::CStr;

/// The longest name we read, in bytes: KSYM_NAME_LEN of `linux/kallsyms.h`, the most the kernel allows
/// for a function or a variable. Without a limit, many short entries could share one endless name.
pub(super) const MAX_NAME_BYTES: usize = 512;

/// Reads the name at `offset` of `table`; otherwise says what is wrong with it.
pub(super) fn name_at(table: &[u8], offset: u32) -> Result<&str, &'static str> {
    let tail = rest(table, offset).ok_or("starts outside of its table")?;
    let window = tail.get(..=MAX_NAME_BYTES).unwrap_or(tail);
    let name = CStr::from_bytes_until_nul(window).map_err(|_| "has no end within 512 bytes")?;
    name.to_str().map_err(|_| "is not UTF-8")
}

/// Whether the name at `offset` of `table` is `name`.
pub(super) fn is_name(table: &[u8], offset: u32, name: &str) -> bool {
    let tail = rest(table, offset).and_then(|tail| tail.strip_prefix(name.as_bytes()));
    tail.and_then(<[u8]>::first) == Some(&0)
}

fn rest(table: &[u8], offset: u32) -> Option<&[u8]> {
    table.get(usize::try_from(offset).ok()?..)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_name_ends_at_its_nul() {
        let table = b"\0one\0two\0";
        assert_eq!(name_at(table, 0), Ok(""));
        assert_eq!(name_at(table, 1), Ok("one"));
        assert_eq!(name_at(table, 6), Ok("wo"));
        assert!(is_name(table, 5, "two"));
        assert!(!is_name(table, 5, "tw"));
        assert!(!is_name(table, 9, "two"));
    }

    #[test]
    fn a_name_outside_too_long_without_end_or_without_text_is_refused() {
        let mut long = vec![b'x'; MAX_NAME_BYTES + 1];
        long.push(0);
        assert!(name_at(&long, 0).is_err());
        assert_eq!(name_at(&long, 1).map(str::len), Ok(MAX_NAME_BYTES));
        assert!(name_at(b"\0one", 1).is_err());
        assert!(name_at(b"\0", 2).is_err());
        assert!(name_at(b"\xff\0", 0).is_err());
    }
}
