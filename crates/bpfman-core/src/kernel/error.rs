//! Why the kernel, a bpffs or the loader refused. Errors are data: the helper sends them as JSON.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::Serialize;

use super::Cause;
use super::KernelErrorKind;
use crate::links::InterfaceTarget;

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct KernelError {
    /// What kind it was.
    pub kind: KernelErrorKind,
    /// What was refused and why, on one line.
    pub message: String,
    /// The error number, where the kernel or libbpf gave one.
    pub errno: Option<i32>,
    /// The verifier's whole log.
    pub verifier_log: Option<String>,
    /// What the process was allowed, for a refused permission.
    pub permission: Option<PermissionFacts>,
    /// The map that does not fit, by its name in the object, for [`KernelErrorKind::MapMismatch`].
    #[serde(default)]
    pub map: Option<String>,
    /// What is known to have refused it; `message` says so in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<Cause>>,
}

/// What may explain an EPERM. A missing capability does; the others are facts for whoever looks for the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionFacts {
    /// The capabilities that the call needs and the process lacks, by name.
    pub missing_capabilities: Vec<String>,
    /// `/sys/kernel/security/lockdown`, when it can be read.
    pub lockdown: Option<String>,
    /// `/sys/kernel/security/lsm`, when it can be read: the active security modules.
    #[serde(default)]
    pub security_modules: Option<String>,
    /// Whether a seccomp filter looks at this process's system calls (`Seccomp: 2` of `/proc/self/status`).
    #[serde(default)]
    pub seccomp_filter: bool,
}

impl KernelError {
    /// An interface has the queueing discipline `kind` where filters need clsact.
    #[must_use]
    pub fn other_qdisc(interface: &InterfaceTarget, kind: &str) -> Self {
        let message = format!(
            "{interface} has the qdisc `{}` where filters of tc need clsact; with it an egress filter would see \
             packets that come in",
            kind.escape_debug()
        );
        Self::new(KernelErrorKind::OtherQdisc, message)
    }

    /// A refusal without further facts.
    #[must_use]
    pub fn new(kind: KernelErrorKind, message: String) -> Self {
        Self {
            kind,
            message,
            errno: None,
            verifier_log: None,
            permission: None,
            map: None,
            cause: None,
        }
    }

    /// The same refusal with what is known to have caused it.
    #[must_use]
    pub fn because(self, cause: Cause) -> Self {
        Self {
            cause: Some(Box::new(cause)),
            ..self
        }
    }
}
