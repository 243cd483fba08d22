//! What a user names, in the kernel's terms: interfaces, tracepoints, functions, files and cgroups.
//!
//! [`SystemTargets`] only reads. What it answers goes into a plan, so that the plan says what it will do; whatever
//! does not exist is refused here, with the names that may have been meant.

mod cgroup;
mod error;
mod functions;
mod layouts;
mod libraries;
mod namespaces;
mod network;
mod probes;
mod roots;
mod symbols;
mod tracefs;

use std::collections::BTreeMap;

use bpfman_core::action::KeptInstructions;
use bpfman_core::chain::Frames;
use bpfman_core::kernel::Interface;
use bpfman_core::kernel::NetworkNamespace;
use bpfman_core::kernel::ProgramFilter;
use bpfman_core::links::LinkInterface;
use bpfman_core::links::ProbeSite;
use bpfman_core::links::ProbedFile;
use bpfman_core::managed::Program;
use bpfman_core::object::Extern;
use bpfman_core::target::UsdtProbe;
use bpfman_core::target::suggest;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Direction;
use bpfman_core::types::IfIndex;
use bpfman_core::types::InterfaceWord;
use bpfman_core::types::NetnsId;

pub use error::TargetError;
pub use functions::FunctionVerdict;
pub use functions::MAX_FUNCTIONS;
pub use roots::ResolvedFile;

/// Finds what programs are attached to.
pub trait Targets {
    /// The network namespace of a file; the caller's own without one.
    ///
    /// # Errors
    /// [`TargetError`] when the file is none, or cannot be read.
    fn namespace(&self, path: Option<&AbsolutePath>) -> Result<NetnsId, TargetError>;

    /// The network namespace of a file and every interface in it.
    ///
    /// # Errors
    /// When they cannot be listed whole; else as [`Targets::namespace`].
    fn interfaces(&self, netns: Option<&AbsolutePath>) -> Result<NetworkNamespace, TargetError>;

    /// The filters of traffic control that run programs, on every interface of a namespace.
    ///
    /// # Errors
    /// As [`Targets::interfaces`].
    fn filters(
        &self,
        netns: Option<&AbsolutePath>,
    ) -> Result<Vec<(IfIndex, Direction, ProgramFilter)>, TargetError>;

    /// The directory and the id of every cgroup, parents first.
    ///
    /// # Errors
    /// When they cannot be listed whole.
    fn cgroups(&self) -> Result<Vec<(AbsolutePath, u64)>, TargetError>;

    /// Every network namespace that a mounted file or a process shows, each by one path.
    ///
    /// # Errors
    /// When they cannot be listed whole.
    fn namespaces(&self) -> Result<BTreeMap<NetnsId, AbsolutePath>, TargetError>;

    /// An interface of a namespace, by the name that the kernel calls it now.
    ///
    /// # Errors
    /// [`TargetError::UnknownInterface`], or what [`Targets::interfaces`] refuses.
    fn interface(
        &self,
        netns: Option<&AbsolutePath>,
        word: &InterfaceWord,
    ) -> Result<LinkInterface, TargetError> {
        let namespace = self.interfaces(netns)?;
        match namespace.find(word.as_str()) {
            Some(interface) => Ok(LinkInterface::found(&namespace, interface)),
            None => {
                let names = namespace.interfaces.iter().flat_map(Interface::names);
                Err(TargetError::UnknownInterface {
                    name: word.clone(),
                    netns: netns.cloned(),
                    similar: suggest(word.as_str(), names),
                })
            }
        }
    }

    /// The id of a tracepoint.
    ///
    /// # Errors
    /// [`TargetError::UnknownTracepoint`], or why tracefs cannot be read.
    fn tracepoint(&self, group: &str, name: &str) -> Result<u64, TargetError>;

    /// Explains a raw tracepoint that the kernel refused. One that has no event of its own is not listed anywhere,
    /// so this is no check before attaching.
    ///
    /// # Errors
    /// [`TargetError::UnknownRawTracepoint`] when no event of this name is listed, or why there is no list.
    fn raw_tracepoint(&self, name: &str) -> Result<(), TargetError>;

    /// Explains a function of the kernel that the kernel refused to probe.
    ///
    /// # Errors
    /// [`TargetError::System`] when `/proc/kallsyms` cannot be read.
    fn kernel_function(&self, name: &str) -> Result<FunctionVerdict, TargetError>;

    /// The traceable functions of the kernel that a pattern with `*` or `?` describes, sorted.
    ///
    /// # Errors
    /// [`TargetError`] when there is none, there are more than [`MAX_FUNCTIONS`], or the list cannot be read.
    fn kernel_functions(&self, pattern: &str) -> Result<Vec<String>, TargetError>;

    /// The file that is to be probed.
    ///
    /// # Errors
    /// [`TargetError`] when file, library or process is not there.
    fn probed_file(&self, file: &ProbedFile) -> Result<ResolvedFile, TargetError>;

    /// An instruction: `offset` bytes into a function, or into the file.
    ///
    /// # Errors
    /// [`TargetError`] when there is no such function, or the offset is beyond the file.
    fn uprobe(
        &self,
        file: &ResolvedFile,
        function: Option<&str>,
        offset: u64,
    ) -> Result<ProbeSite, TargetError>;

    /// The first instructions of several functions, in their order.
    ///
    /// # Errors
    /// [`TargetError`] for the first function that is not there.
    fn uprobe_multi(
        &self,
        file: &ResolvedFile,
        functions: &[String],
    ) -> Result<Vec<ProbeSite>, TargetError>;

    /// A probe that the file's author placed. The cookies count its specs from 0.
    ///
    /// # Errors
    /// [`TargetError`] when there is no such probe, or its arguments cannot be read by a program.
    fn usdt(
        &self,
        file: &ResolvedFile,
        provider: &str,
        name: &str,
    ) -> Result<UsdtProbe, TargetError>;

    /// The id of a cgroup.
    ///
    /// # Errors
    /// [`TargetError::NotACgroup`], or why it cannot be looked at.
    fn cgroup(&self, path: &AbsolutePath) -> Result<u64, TargetError>;

    /// The bytes of an object file that was kept when it was loaded.
    ///
    /// # Errors
    /// [`TargetError::System`] when it cannot be read.
    fn kept_object(&self, path: &AbsolutePath) -> Result<Vec<u8>, TargetError>;

    /// The instructions of a program that were kept when it was loaded.
    ///
    /// # Errors
    /// [`TargetError::KeptInstructions`] when they are of another version or no instructions at all;
    /// [`TargetError::System`] when the file cannot be read.
    fn kept_instructions(&self, path: &AbsolutePath) -> Result<KeptInstructions, TargetError>;

    /// The record that is kept beside a program's object.
    ///
    /// # Errors
    /// [`TargetError::KeptInstructions`] when it is no record; [`TargetError::System`] when the file cannot be read.
    fn kept_record(&self, path: &AbsolutePath) -> Result<Program, TargetError>;

    /// The types of the kernel itself (BTF).
    ///
    /// # Errors
    /// [`TargetError::System`] when the kernel does not publish them.
    fn kernel_types(&self) -> Result<Vec<u8>, TargetError>;

    /// How the kernel rounds stack frames. Where it does not say what it is, as older ones do.
    fn frames(&self) -> Frames;

    /// Of these symbols, those that the kernel is known not to have. One that cannot be looked up is not among them.
    fn missing_symbols(&self, symbols: &[Extern]) -> Vec<Extern>;
}

/// The targets of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemTargets;

impl Targets for SystemTargets {
    fn namespace(&self, path: Option<&AbsolutePath>) -> Result<NetnsId, TargetError> {
        network::namespace(path)
    }

    fn interfaces(&self, netns: Option<&AbsolutePath>) -> Result<NetworkNamespace, TargetError> {
        network::interfaces(netns)
    }

    fn filters(
        &self,
        netns: Option<&AbsolutePath>,
    ) -> Result<Vec<(IfIndex, Direction, ProgramFilter)>, TargetError> {
        network::filters(netns)
    }

    fn namespaces(&self) -> Result<BTreeMap<NetnsId, AbsolutePath>, TargetError> {
        namespaces::visible()
    }

    fn tracepoint(&self, group: &str, name: &str) -> Result<u64, TargetError> {
        tracefs::tracepoint(group, name)
    }

    fn raw_tracepoint(&self, name: &str) -> Result<(), TargetError> {
        tracefs::raw_tracepoint(name)
    }

    fn kernel_function(&self, name: &str) -> Result<FunctionVerdict, TargetError> {
        functions::verdict(name)
    }

    fn kernel_functions(&self, pattern: &str) -> Result<Vec<String>, TargetError> {
        functions::matching(pattern)
    }

    fn probed_file(&self, file: &ProbedFile) -> Result<ResolvedFile, TargetError> {
        libraries::probed_file(file)
    }

    fn uprobe(
        &self,
        file: &ResolvedFile,
        function: Option<&str>,
        offset: u64,
    ) -> Result<ProbeSite, TargetError> {
        probes::uprobe(file, function, offset)
    }

    fn uprobe_multi(
        &self,
        file: &ResolvedFile,
        functions: &[String],
    ) -> Result<Vec<ProbeSite>, TargetError> {
        probes::uprobe_multi(file, functions)
    }

    fn usdt(
        &self,
        file: &ResolvedFile,
        provider: &str,
        name: &str,
    ) -> Result<UsdtProbe, TargetError> {
        probes::usdt(file, provider, name)
    }

    fn cgroup(&self, path: &AbsolutePath) -> Result<u64, TargetError> {
        cgroup::id(path)
    }

    fn cgroups(&self) -> Result<Vec<(AbsolutePath, u64)>, TargetError> {
        cgroup::all()
    }

    fn kept_object(&self, path: &AbsolutePath) -> Result<Vec<u8>, TargetError> {
        layouts::kept_object(path)
    }

    fn kept_instructions(&self, path: &AbsolutePath) -> Result<KeptInstructions, TargetError> {
        layouts::kept_instructions(path)
    }

    fn kept_record(&self, path: &AbsolutePath) -> Result<Program, TargetError> {
        layouts::kept_record(path)
    }

    fn kernel_types(&self) -> Result<Vec<u8>, TargetError> {
        layouts::kernel_types()
    }

    fn frames(&self) -> Frames {
        layouts::frames()
    }

    fn missing_symbols(&self, symbols: &[Extern]) -> Vec<Extern> {
        symbols::missing(symbols)
    }
}
