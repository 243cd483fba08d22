//! What a user names, in the simulated kernel's terms.

use std::collections::BTreeMap;
use std::io;

use bpfman_core::action::KeptInstructions;
use bpfman_core::chain::Frames;
use bpfman_core::kernel::Interface;
use bpfman_core::kernel::NetworkNamespace;
use bpfman_core::kernel::ProgramFilter;
use bpfman_core::links::AttachPoint;
use bpfman_core::links::Hook;
use bpfman_core::links::ProbeSite;
use bpfman_core::links::ProbedFile;
use bpfman_core::managed::Program;
use bpfman_core::object::Extern;
use bpfman_core::target::FunctionError;
use bpfman_core::target::UsdtError;
use bpfman_core::target::UsdtProbe;
use bpfman_core::target::matches_pattern;
use bpfman_core::target::suggest;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::Direction;
use bpfman_core::types::IfIndex;
use bpfman_core::types::InterfaceName;
use bpfman_core::types::NetnsId;
use bpfman_interpreter::targets::FunctionVerdict;
use bpfman_interpreter::targets::ResolvedFile;
use bpfman_interpreter::targets::TargetError;
use bpfman_interpreter::targets::Targets;

use crate::Content;
use crate::state::Shared;
use crate::tree::Kept;
use crate::tree::KeptRecord;
use crate::tree::Node;

/// The targets of a simulated machine.
#[derive(Debug)]
pub struct SimulatedTargets {
    state: Shared,
}

impl SimulatedTargets {
    pub(crate) fn new(state: Shared) -> Self {
        Self { state }
    }
}

fn missing_file(path: &str) -> TargetError {
    TargetError::NoSuchFile {
        path: path.to_owned(),
        container_pid: None,
    }
}

impl Targets for SimulatedTargets {
    fn namespace(&self, path: Option<&AbsolutePath>) -> Result<NetnsId, TargetError> {
        let found = self.state.borrow().network.namespace(path);
        found.map_err(|errno| TargetError::System {
            what: path.map_or_else(String::new, |path| format!("namespace {path}")),
            source: io::Error::from_raw_os_error(errno as i32),
        })
    }

    fn interfaces(&self, netns: Option<&AbsolutePath>) -> Result<NetworkNamespace, TargetError> {
        let id = self.namespace(netns)?;
        let state = &*self.state.borrow();
        let interface = |(ifindex, name): (IfIndex, &InterfaceName)| {
            let links = state.network.order(&AttachPoint {
                hook: Hook::Xdp,
                nsid: id,
                ifindex,
            });
            let links = links.links.iter();
            let links = links.filter_map(|link| state.objects.links.get(link));
            Interface {
                ifindex,
                name: name.clone(),
                alternative_names: Vec::new(),
                xdp: links.map(|link| link.program).collect(),
            }
        };
        Ok(NetworkNamespace {
            path: netns.cloned(),
            id,
            interfaces: state.network.interfaces_of(id).map(interface).collect(),
        })
    }

    fn cgroups(&self) -> Result<Vec<(AbsolutePath, u64)>, TargetError> {
        let state = self.state.borrow();
        let cgroups = state.catalogue.cgroups.iter();
        Ok(cgroups.map(|(path, id)| (path.clone(), *id)).collect())
    }

    fn filters(
        &self,
        netns: Option<&AbsolutePath>,
    ) -> Result<Vec<(IfIndex, Direction, ProgramFilter)>, TargetError> {
        let id = self.namespace(netns)?;
        let state = &*self.state.borrow();
        let filters = state.network.filters.iter();
        let filters = filters.filter(|(key, _)| key.interface.0 == id);
        let found = filters.map(|(key, program)| {
            let filter = ProgramFilter {
                program: *program,
                preference: key.preference,
                handle: key.handle,
            };
            (key.interface.1, key.direction, filter)
        });
        Ok(found.collect())
    }

    fn namespaces(&self) -> Result<BTreeMap<NetnsId, AbsolutePath>, TargetError> {
        Ok(self.state.borrow().network.files())
    }

    fn tracepoint(&self, group: &str, name: &str) -> Result<u64, TargetError> {
        let tracepoints = &self.state.borrow().catalogue.tracepoints;
        let found = tracepoints.get(&(group.to_owned(), name.to_owned()));
        let of_group = tracepoints.keys().filter(|(of, _)| of == group);
        found
            .copied()
            .ok_or_else(|| TargetError::UnknownTracepoint {
                group: group.to_owned(),
                name: name.to_owned(),
                similar: suggest(name, of_group.map(|(_, name)| name.as_str())),
            })
    }

    fn raw_tracepoint(&self, name: &str) -> Result<(), TargetError> {
        let known = &self.state.borrow().catalogue.raw_tracepoints;
        if known.contains(name) {
            return Ok(());
        }
        Err(TargetError::UnknownRawTracepoint {
            name: name.to_owned(),
            similar: suggest(name, known.iter().map(String::as_str)),
        })
    }

    fn kernel_function(&self, name: &str) -> Result<FunctionVerdict, TargetError> {
        let functions = &self.state.borrow().catalogue.functions;
        Ok(match functions.get(name) {
            Some(true) => FunctionVerdict::Traceable,
            Some(false) => FunctionVerdict::NotTraceable,
            None => FunctionVerdict::Unknown {
                similar: suggest(name, functions.keys().map(String::as_str)),
            },
        })
    }

    fn kernel_functions(&self, pattern: &str) -> Result<Vec<String>, TargetError> {
        let functions = &self.state.borrow().catalogue.functions;
        let traceable = functions.iter().filter(|(_, traceable)| **traceable);
        let names = traceable.map(|(name, _)| name);
        let found: Vec<String> = names
            .filter(|name| matches_pattern(pattern, name))
            .cloned()
            .collect();
        if found.is_empty() {
            let pattern = pattern.to_owned();
            return Err(TargetError::NoFunctionMatches { pattern });
        }
        Ok(found)
    }

    fn probed_file(&self, file: &ProbedFile) -> Result<ResolvedFile, TargetError> {
        let target = file.target.as_str();
        let path = AbsolutePath::parse(target);
        let path = path.map_err(|_| TargetError::NeitherPathNorLibrary {
            target: target.to_owned(),
        })?;
        match self.state.borrow().tree.lookup(&path) {
            Ok(Node::File(_)) => Ok(ResolvedFile {
                shown: path.clone(),
                path,
            }),
            Ok(_) => Err(TargetError::NotAFile { path }),
            Err(_) => Err(missing_file(target)),
        }
    }

    fn uprobe(
        &self,
        file: &ResolvedFile,
        function: Option<&str>,
        offset: u64,
    ) -> Result<ProbeSite, TargetError> {
        let start = match function {
            None => 0,
            Some(name) => {
                let functions = &self.state.borrow().catalogue.file_functions;
                let found = functions
                    .get(&(file.path.clone(), name.to_owned()))
                    .copied();
                let names = functions.keys().filter(|(path, _)| *path == file.path);
                found.ok_or_else(|| TargetError::Function {
                    path: file.shown.clone(),
                    function: name.to_owned(),
                    source: FunctionError::Unknown,
                    similar: suggest(name, names.map(|(_, name)| name.as_str())),
                })?
            }
        };
        Ok(ProbeSite {
            offset: start + offset,
            counter_offset: 0,
            cookie: 0,
        })
    }

    fn uprobe_multi(
        &self,
        file: &ResolvedFile,
        functions: &[String],
    ) -> Result<Vec<ProbeSite>, TargetError> {
        let site = |name: &String| self.uprobe(file, Some(name), 0);
        functions.iter().map(site).collect()
    }

    fn usdt(
        &self,
        file: &ResolvedFile,
        provider: &str,
        name: &str,
    ) -> Result<UsdtProbe, TargetError> {
        let probes = &self.state.borrow().catalogue.probes;
        let key = (file.path.clone(), provider.to_owned(), name.to_owned());
        let found = probes.get(&key).cloned();
        found.ok_or_else(|| TargetError::Probe {
            path: file.shown.clone(),
            probe: format!("{provider}:{name}"),
            source: UsdtError::Unknown,
            similar: Vec::new(),
        })
    }

    fn cgroup(&self, path: &AbsolutePath) -> Result<u64, TargetError> {
        let found = self.state.borrow().catalogue.cgroups.get(path).copied();
        found.ok_or_else(|| TargetError::NotACgroup {
            path: path.clone(),
            version_1: false,
        })
    }

    fn kept_object(&self, path: &AbsolutePath) -> Result<Vec<u8>, TargetError> {
        match self.state.borrow().tree.lookup(path) {
            Ok(Node::File(Content(bytes))) => Ok(bytes.to_vec()),
            _ => Err(missing_file(path.as_str())),
        }
    }

    fn kept_instructions(&self, path: &AbsolutePath) -> Result<KeptInstructions, TargetError> {
        let reason = match self.state.borrow().tree.lookup(path) {
            Ok(Node::Instructions(Kept(kept))) if kept.version == KeptInstructions::VERSION => {
                return Ok(KeptInstructions::clone(&kept));
            }
            Ok(Node::Instructions(Kept(kept))) => format!("it is of version {}", kept.version),
            Ok(Node::File(_)) => "it holds no instructions".to_owned(),
            _ => return Err(missing_file(path.as_str())),
        };
        Err(TargetError::KeptInstructions {
            path: path.clone(),
            reason,
        })
    }

    fn kept_record(&self, path: &AbsolutePath) -> Result<Program, TargetError> {
        match self.state.borrow().tree.lookup(path) {
            Ok(Node::Record(KeptRecord(record))) => Ok(Program::clone(&record)),
            Ok(Node::File(_)) => Err(TargetError::KeptInstructions {
                path: path.clone(),
                reason: "it holds no record".to_owned(),
            }),
            _ => Err(missing_file(path.as_str())),
        }
    }

    fn frames(&self) -> Frames {
        Frames::Of16
    }

    /// This kernel does not publish its types.
    fn kernel_types(&self) -> Result<Vec<u8>, TargetError> {
        Err(TargetError::System {
            what: "the kernel's types".to_owned(),
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// This kernel has whatever is asked for.
    fn missing_symbols(&self, _: &[Extern]) -> Vec<Extern> {
        Vec::new()
    }
}
