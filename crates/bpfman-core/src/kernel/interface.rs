//! Network interfaces as the kernel describes them now: they are renamed, move between namespaces and come back.

use alloc::string::String;
use alloc::vec::Vec;

use crate::types::AbsolutePath;
use crate::types::IfIndex;
use crate::types::InterfaceName;
use crate::types::NetnsId;
use crate::types::ProgramId;

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index in its namespace.
    pub ifindex: IfIndex,
    /// Its name.
    pub name: InterfaceName,
    /// Its alternative names.
    pub alternative_names: Vec<String>,
    /// The XDP programs that it runs; several only where driver and generic mode have one each.
    pub xdp: Vec<ProgramId>,
}

impl Interface {
    /// Whether it is called so.
    #[must_use]
    pub fn is_called(&self, word: &str) -> bool {
        self.names().any(|name| name == word)
    }

    /// Everything that it is called.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let others = self.alternative_names.iter().map(String::as_str);
        core::iter::once(self.name.as_str()).chain(others)
    }
}

/// A network namespace and the interfaces in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkNamespace {
    /// The file by which it is entered; `None` for the process's own.
    pub path: Option<AbsolutePath>,
    /// Its inode.
    pub id: NetnsId,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
}

impl NetworkNamespace {
    /// The interface that a word means. As `ip link` reads words: a name, an alternative name, or `if` and an index.
    #[must_use]
    pub fn find(&self, word: &str) -> Option<&Interface> {
        let mut interfaces = self.interfaces.iter();
        let called = interfaces.find(|interface| interface.is_called(word));
        called.or_else(|| {
            let digits = word.strip_prefix("if")?;
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            self.at(IfIndex(digits.parse().ok().filter(|_| plain)?))
        })
    }

    /// The interface of an index.
    #[must_use]
    pub fn at(&self, ifindex: IfIndex) -> Option<&Interface> {
        let mut interfaces = self.interfaces.iter();
        interfaces.find(|interface| interface.ifindex == ifindex)
    }
}
