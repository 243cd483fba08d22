//! Where things live under the runtime directory (contract: section 2).

use alloc::format;

use super::AbsolutePath;
use super::IfIndex;
use super::LinkId;
use super::NetnsId;
use super::ProgramId;

/// Where libxdp keeps the pins of all dispatchers of the machine, in `xdp` (`bpf_fs` of its `protocol.org`).
pub const LIBXDP_BPFFS: &str = "/sys/fs/bpf";

/// The runtime directory and the names below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeLayout {
    root: AbsolutePath,
}

impl RuntimeLayout {
    /// The layout under `root`, by default `/run/bpfman`.
    #[must_use]
    pub fn new(root: AbsolutePath) -> Self {
        Self { root }
    }

    /// The runtime directory itself.
    #[must_use]
    pub fn root(&self) -> &AbsolutePath {
        &self.root
    }

    /// The file that the one writer locks.
    #[must_use]
    pub fn lock(&self) -> AbsolutePath {
        self.root.join(".lock")
    }

    /// The directory of the database.
    #[must_use]
    pub fn database_directory(&self) -> AbsolutePath {
        self.root.join("db")
    }

    /// The database file.
    #[must_use]
    pub fn database(&self) -> AbsolutePath {
        self.database_directory().join("store.db")
    }

    /// Disk space that is given back when a removal finds none left. SQLite leaves files beside its own alone.
    #[must_use]
    pub fn reserve(&self) -> AbsolutePath {
        self.database_directory().join("store.db-reserve")
    }

    /// The directory that keeps the object file of every program.
    #[must_use]
    pub fn programs(&self) -> AbsolutePath {
        self.root.join("programs")
    }

    /// The object of the load under way. There is one writer, so one name is enough, and what a killed
    /// load left there is simply overwritten.
    #[must_use]
    pub fn staged_object(&self) -> AbsolutePath {
        self.programs().join("staged.o")
    }

    /// Our bpffs.
    #[must_use]
    pub fn bpffs(&self) -> AbsolutePath {
        self.root.join("fs")
    }

    /// The directory of all map sets on our bpffs.
    #[must_use]
    pub fn map_sets(&self) -> AbsolutePath {
        self.bpffs().join("maps")
    }

    /// The directory of maps that are pinned by name (LIBBPF_PIN_BY_NAME).
    #[must_use]
    pub fn shared_maps(&self) -> AbsolutePath {
        self.bpffs().join("shared")
    }

    /// The directory of the pins of links.
    #[must_use]
    pub fn links(&self) -> AbsolutePath {
        self.bpffs().join("links")
    }

    /// The pin of a link.
    #[must_use]
    pub fn link_pin(&self, link: LinkId) -> AbsolutePath {
        self.links().join(&format!("{link}"))
    }

    /// The pin of a link of TCX (contract: section 2); `hook` is `tcx-ingress` or `tcx-egress`.
    #[must_use]
    pub fn tcx_link_pin(
        &self,
        hook: &str,
        nsid: NetnsId,
        ifindex: IfIndex,
        program: ProgramId,
    ) -> AbsolutePath {
        let name = format!("link_{nsid}_{ifindex}_{program}");
        self.dispatchers(hook).join(&name)
    }

    /// Where the pin of a link waits while another takes its place.
    #[must_use]
    pub fn link_pin_aside(&self, link: LinkId) -> AbsolutePath {
        self.links().join(&format!("{link}_old"))
    }

    /// The map that counts the runs of a link's program.
    #[must_use]
    pub fn counter_pin(&self, link: LinkId) -> AbsolutePath {
        self.links().join(&format!("{link}_counter"))
    }

    /// The directory of what runs at a hook of interfaces: `xdp`, `tc-ingress`, `tcx-egress` and so on.
    #[must_use]
    pub fn dispatchers(&self, hook: &str) -> AbsolutePath {
        self.bpffs().join(hook)
    }

    /// The pin of the link that holds what runs at an attach point.
    #[must_use]
    pub fn dispatcher_link(&self, hook: &str, nsid: NetnsId, ifindex: IfIndex) -> AbsolutePath {
        self.dispatchers(hook)
            .join(&format!("dispatcher_{nsid}_{ifindex}_link"))
    }

    /// Where the pin of that link waits while the one of an interface that is gone makes room.
    #[must_use]
    pub fn dispatcher_link_aside(
        &self,
        hook: &str,
        nsid: NetnsId,
        ifindex: IfIndex,
    ) -> AbsolutePath {
        self.dispatchers(hook)
            .join(&format!("dispatcher_{nsid}_{ifindex}_link_old"))
    }

    /// The directory of one revision of a dispatcher.
    #[must_use]
    pub fn dispatcher_revision(
        &self,
        hook: &str,
        nsid: NetnsId,
        ifindex: IfIndex,
        revision: u32,
    ) -> AbsolutePath {
        self.dispatchers(hook)
            .join(&format!("dispatcher_{nsid}_{ifindex}_{revision}"))
    }

    /// The pin of a program that was not given another path, as the text around its id.
    #[must_use]
    pub fn program_pin_prefix(&self) -> alloc::string::String {
        format!("{}/prog_", self.bpffs())
    }
}
