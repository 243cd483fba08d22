//! `/proc/PID/mountinfo`: the mounts of a mount namespace. Format: `proc_pid_mountinfo(5)`.

use alloc::string::String;
use alloc::vec::Vec;

/// One mount, as far as we need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountLine<'a> {
    /// Its id, which no other mount has while it lives, in whichever mount namespace.
    pub id: u64,
    /// The device of its file system: major and minor number.
    pub device: (u32, u32),
    /// Where it is mounted, as it is written there.
    point: &'a str,
    /// The group of mounts that mounts below it propagate to.
    pub peer_group: Option<u32>,
    /// The type of its file system.
    pub kind: &'a str,
}

impl MountLine<'_> {
    /// Where it is mounted. Some characters are written as `\` and three octal digits.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = Vec::with_capacity(self.point.len());
        let mut rest = self.point.as_bytes();
        while let Some((&first, others)) = rest.split_first() {
            let digits = others.get(..3).filter(|_| first == b'\\');
            let octal = digits.and_then(|digits| core::str::from_utf8(digits).ok());
            match octal.and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
                Some(byte) => {
                    path.push(byte);
                    rest = &others[3..];
                }
                None => {
                    path.push(first);
                    rest = others;
                }
            }
        }
        String::from_utf8_lossy(&path).into_owned()
    }

    /// Whether it is mounted at a path.
    #[must_use]
    pub fn is_at(&self, path: &str) -> bool {
        self.path() == path
    }
}

/// The mounts of a namespace; a line that makes no sense is passed over.
pub fn mounts(text: &str) -> impl Iterator<Item = MountLine<'_>> + Clone {
    text.lines().filter_map(mount)
}

fn mount(line: &str) -> Option<MountLine<'_>> {
    let mut fields = line.split(' ');
    let id = fields.next()?.parse().ok()?;
    let _parent = fields.next()?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let _root = fields.next()?;
    let point = fields.next()?;
    let _options = fields.next()?;
    let optional = fields.by_ref().take_while(|field| *field != "-");
    let groups = optional.filter_map(|field| field.strip_prefix("shared:"));
    let peer_group = groups.filter_map(|group| group.parse().ok()).last();
    let kind = fields.next()?;
    Some(MountLine {
        id,
        device,
        point,
        peer_group,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn the_optional_fields_are_found_whatever_is_before_them() {
        let text = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n\
                    28 1 254:0 / / rw,relatime shared:7 - ext4 /dev/vda rw\n\
                    40 28 0:39 / /sys/fs/a\\040b rw master:3 shared:12 - bpf shared:9 rw\n\
                    41 28 0:40 / /run rw - tmpfs tmpfs rw\n\
                    nonsense\n\n42 1 0 / / rw - x x rw\n";
        let line = |id, device, point, peer_group, kind| MountLine {
            id,
            device,
            point,
            peer_group,
            kind,
        };
        assert_eq!(
            mounts(text).collect::<Vec<_>>(),
            [
                line(36, (98, 0), "/mnt2", None, "ext3"),
                line(28, (254, 0), "/", Some(7), "ext4"),
                line(40, (0, 39), "/sys/fs/a\\040b", Some(12), "bpf"),
                line(41, (0, 40), "/run", None, "tmpfs"),
            ]
        );
        let points = |path: &str| mounts(text).filter(|line| line.is_at(path)).count();
        assert_eq!(points("/sys/fs/a b"), 1);
        assert_eq!(points("/sys/fs/a\\040b") + points("/sys/fs/a"), 0);
    }
}
