//! The edge type: every error becomes a message, hints and an exit code here, and nowhere else.

mod points;
mod verifier_log;

use bpfman_core::compute::AttachRefusal;
use bpfman_core::compute::DetachRefusal;
use bpfman_core::compute::LoadRefusal;
use bpfman_core::compute::MountRefusal;
use bpfman_core::kernel::KernelError;
use bpfman_core::kernel::KernelErrorKind;
use bpfman_core::kernel::PrivateMount;
use bpfman_core::links::LinkKind;
use bpfman_core::object::Extern;
use bpfman_core::object::ExternKind;
use bpfman_core::object::ObjectError;
use bpfman_core::target::FunctionError;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::ProgramType;
use bpfman_interpreter::executor::ActionError;
use bpfman_interpreter::executor::ExecutionError;
use bpfman_interpreter::files::ReadObjectError;
use bpfman_interpreter::lock::LockError;
use bpfman_interpreter::runtime::RuntimeError;
use bpfman_interpreter::store::StoreError;
use bpfman_interpreter::targets::FunctionVerdict;
use bpfman_interpreter::targets::TargetError;
use bpfman_manager::ManagerError;

/// The kind of a failure decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Failed,
    Input,
    NotFound,
    Permission,
    Busy,
}

impl Kind {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Input => 2,
            Self::NotFound => 3,
            Self::Permission => 4,
            Self::Busy => 5,
        }
    }
}

/// One failure as the user meets it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
    pub(crate) verifier_log: Option<String>,
    /// What failed in a batch.
    pub(crate) items: Vec<FailedItem>,
    /// Whether the result that was printed tells of it, too.
    pub(crate) in_result: bool,
}

/// One item of a batch that failed.
#[derive(Debug)]
pub(crate) struct FailedItem {
    pub(crate) noun: &'static str,
    pub(crate) id: u32,
    pub(crate) failure: Failure,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: String) -> Self {
        Self {
            kind,
            message,
            hints: Vec::new(),
            verifier_log: None,
            items: Vec::new(),
            in_result: false,
        }
    }

    /// The failure of a batch: its hints are those of its items, each once.
    pub(crate) fn of(mut self, items: Vec<FailedItem>) -> Self {
        for hint in items.iter().flat_map(|item| &item.failure.hints) {
            if !self.hints.contains(hint) {
                self.hints.push(hint.clone());
            }
        }
        self.items = items;
        self
    }

    pub(crate) fn input(message: String) -> Self {
        Self::new(Kind::Input, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Prints it to stderr. A very long log of the verifier loses its middle, unless the whole is asked for.
    pub(crate) fn print(&self, verbose: bool) {
        for FailedItem { noun, id, failure } in &self.items {
            eprintln!("{noun} {id}: {}", failure.message);
        }
        eprintln!("bpfman: error: {}", self.message);
        if let Some(log) = &self.verifier_log {
            eprintln!("{}", verifier_log::shown(log, verbose));
        }
        for hint in &self.hints {
            eprintln!("  hint: {hint}");
        }
    }
}

impl From<ManagerError> for Failure {
    fn from(error: ManagerError) -> Self {
        let message = error.to_string();
        match error {
            ManagerError::ReadObject(error) => read_object(message, &error),
            ManagerError::Object { cause, .. } => object(message, &cause),
            ManagerError::LoadRefused(refusal) => load_refusal(&message, &refusal),
            ManagerError::UnloadRefused(_) => {
                Self::new(Kind::Failed, message).hint(FOREIGN_PROGRAM_PIN)
            }
            ManagerError::MountRefused(refusal) => mount_refusal(message, &refusal),
            ManagerError::NoSuchProgram(_) => {
                Self::new(Kind::NotFound, message).hint("`bpfman list` shows the managed programs")
            }
            ManagerError::NotManaged { id, .. } => Self::new(Kind::NotFound, message)
                .hint(format!(
                    "`bpftool prog show id {id}` describes it, `bpftool link` and `bpftool net` show what attaches it: \
                     the tool that loaded it removes it"
                ))
                .hint("`bpfman list` shows the managed programs, `bpfman list --all` every program"),
            ManagerError::NoSuchLink(_) => Self::new(Kind::NotFound, message)
                .hint("`bpfman link list` shows the managed links"),
            ManagerError::NothingThere(_) => Self::new(Kind::NotFound, message)
                .hint("`bpfman dispatcher list` shows what is attached where"),
            ManagerError::NoPlaceToChange(link, LinkKind::Tcx | LinkKind::Netkit) => {
                Self::input(message).hint(format!(
                    "`bpfman detach {link}`, then attach its program with another --priority"
                ))
            }
            ManagerError::NoPlaceToChange(..) => {
                Self::input(message).hint("only links of xdp and tc have a place that can change")
            }
            ManagerError::AttachRefused(refusal) => attach_refusal(message, &refusal),
            ManagerError::PointRefused(refusal) => points::refusal(message, &refusal),
            ManagerError::NotJoined { chain, extension } => {
                points::not_joined(message, *chain, &extension)
            }
            ManagerError::ReplaceNotUndone { new, .. } => Self::new(Kind::Failed, message)
                .hint(format!("`bpfman unload {new}` removes the new version")),
            ManagerError::ReplaceRefused(refusal) => points::replace_refusal(message, &refusal),
            ManagerError::DetachRefused(DetachRefusal::PinIsNotOurs { .. }) => {
                Self::new(Kind::Failed, message)
                    .hint("move the foreign pin away, then detach again")
            }
            ManagerError::DetachRefused(DetachRefusal::HeldElsewhere { .. }) => {
                Self::new(Kind::Failed, message).hint(HELD_BY)
            }
            ManagerError::Target(error) => target(message, &error),
            ManagerError::Function { verdict, .. } => function(message, &verdict),
            ManagerError::StillAttached(_) => Self::new(Kind::Failed, message).hint(HELD_BY),
            ManagerError::Store(error) => store(message, &error),
            ManagerError::Runtime(error) => runtime(message, &error),
            ManagerError::Files(error) => file(message, &error.source),
            ManagerError::Kernel(error) => kernel(message, error),
            ManagerError::Fragments(..) => Self::new(Kind::Failed, message)
                .hint("build it with section `xdp.frags`, or make the interface's MTU smaller"),
            ManagerError::Restless => {
                Self::new(Kind::Busy, message).hint("`bpfman doctor` shows what it is about")
            }
            ManagerError::Recovery { cause, .. } => action(message, cause)
                .hint("it is tried again by the next command that changes anything"),
            ManagerError::ChainRefused(_, error) => Self {
                message,
                ..execution(error)
            },
            ManagerError::Execution(error) => execution(error),
        }
    }
}

/// Where the bpffs of a machine usually is.
const BPFFS: &str = "/sys/fs/bpf/";
const FOREIGN_PROGRAM_PIN: &str = "move the foreign pin away, then unload again";
const HELD_BY: &str = "`bpftool link -f` shows its other pins and the processes that hold it";

fn mount_refusal(message: String, refusal: &MountRefusal) -> Failure {
    let path = refusal.path();
    let mount = format!("mkdir -p {path} && mount -t bpf bpf {path}");
    let failure = Failure::new(Kind::Failed, message);
    let bind = format!("bind {path} into this namespace, or run bpfman there (`nsenter -t 1 -m`)");
    match refusal {
        MountRefusal::OutOfReach { .. } => failure.hint(bind),
        MountRefusal::WouldEnd { why, .. } => match why {
            PrivateMount::FirstProcess => failure.hint(format!(
                "on the host: `{mount}`, then run the container with {path} bound into it"
            )),
            PrivateMount::OtherDirectory | PrivateMount::CannotEnter { .. } => {
                failure.hint(format!("where process 1 is: `{mount}`, then {bind}"))
            }
        }
        .hint(format!(
            "if the pins are to end with this namespace: `{mount}` here"
        )),
    }
}

fn attach_refusal(message: String, refusal: &AttachRefusal) -> Failure {
    match refusal {
        AttachRefusal::WrongKind { program_type, .. } => {
            Failure::input(message).hint(attach_hint(*program_type))
        }
        AttachRefusal::ProgramGone { program, .. } => Failure::new(Kind::Failed, message)
            .hint(format!("`bpfman unload {program}`, then load it again")),
        AttachRefusal::NothingToProbe => {
            Failure::input(message).hint("--fn-name FUNCTION, or --offset N")
        }
        AttachRefusal::DirectionMissing(_) => {
            Failure::input(message).hint("--direction ingress, or --direction egress")
        }
        AttachRefusal::NoDirection { .. } => Failure::input(message).hint("leave --direction out"),
        AttachRefusal::OtherDirection { .. } => {
            Failure::input(message).hint("leave --direction out, or load the other program")
        }
        AttachRefusal::IteratorWithoutMap { .. } => Failure::input(message).hint("leave --map out"),
        AttachRefusal::IteratorNeedsMap { .. } => {
            Failure::input(message).hint("--map PIN, as `bpfman get` shows it")
        }
        AttachRefusal::TypeTooVague(..) => {
            Failure::input(message).hint("`bpfman program load --programs TYPE:NAME` declares it")
        }
        AttachRefusal::NoSpecMap(_) => Failure::input(message)
            .hint("include <bpf/usdt.bpf.h> and read an argument with bpf_usdt_arg"),
        AttachRefusal::SpecMap { .. } => Failure::new(Kind::Failed, message)
            .hint("detach other probes of the program, or rebuild it"),
        AttachRefusal::NoStructOpsMap { available, .. } => Failure::new(Kind::NotFound, message)
            .hint(match available.as_slice() {
                [] => "unload it, then load the whole object again".to_owned(),
                names => format!("these use it: {}", names.join(", ")),
            }),
        AttachRefusal::SeveralStructOpsMaps { .. } => Failure::input(message).hint("--map NAME"),
        AttachRefusal::StructOpsMapGone { program, .. } => Failure::new(Kind::Failed, message)
            .hint(format!("`bpfman unload {program}`, then load it again")),
        AttachRefusal::StructOpsWithoutLink(_) => Failure::input(message)
            .hint("declare it in SEC(\".struct_ops.link\"), then load the object again"),
        AttachRefusal::StructOpsProgramGone { .. } => Failure::new(Kind::Failed, message)
            .hint("unload what is left of the map's programs, then load them together"),
        AttachRefusal::StructOpsValue { .. } => Failure::new(Kind::Failed, message)
            .hint("build the object for this kernel: `bpftool btf dump` shows its structs"),
        AttachRefusal::AttachedAlready { .. } => Failure::new(Kind::Failed, message)
            .hint("`bpfman link list` shows where programs are attached"),
    }
}

/// How a program of a type is attached, where it can be.
fn attach_hint(program_type: ProgramType) -> String {
    let kinds = LinkKind::ALL.iter().filter(|kind| kind.takes(program_type));
    let verb = |kind: &LinkKind| match kind {
        // The return kinds are asked for by the names of the others.
        LinkKind::Kretprobe => "kprobe",
        LinkKind::Uretprobe => "uprobe",
        other => other.name(),
    };
    let names: Vec<&str> = kinds.map(verb).collect();
    match names.as_slice() {
        [] => format!("a {program_type} program has no link: others name it, call it or run it"),
        names => format!("`bpfman attach {}` takes it", names.join("` or `")),
    }
}

fn read_object(message: String, error: &ReadObjectError) -> Failure {
    match error {
        ReadObjectError::TooLarge { .. } => Failure::input(message)
            .hint("strip the object's debug sections, or raise [limits] object_bytes"),
        ReadObjectError::NotAFile(_) => {
            Failure::input(message).hint("name a BPF object file (clang -target bpf -c)")
        }
        ReadObjectError::System { source, .. } => {
            let kind = match source.kind() {
                std::io::ErrorKind::NotFound => Kind::NotFound,
                std::io::ErrorKind::PermissionDenied => Kind::Permission,
                _ => Kind::Failed,
            };
            Failure::new(kind, message).hint("check the path of the object file")
        }
    }
}

fn object(message: String, cause: &ObjectError) -> Failure {
    let hint = match cause {
        ObjectError::LegacyMaps { .. } | ObjectError::LegacyMap { .. } => {
            "declare the maps in SEC(\".maps\") as BTF maps (libbpf's `struct { __uint(type, ...); }`) and compile with -g"
        }
        ObjectError::WrongByteOrder { .. } => {
            "compile for this machine's byte order (clang -target bpf)"
        }
        ObjectError::NotElf | ObjectError::NotBpf(_) => {
            "give an object built with clang -target bpf -c"
        }
        ObjectError::Damaged(_) | ObjectError::DamagedBtf(_) => {
            "the file is incomplete or damaged: build or copy it again"
        }
        ObjectError::UnknownPinning { .. } => {
            "declare one of the two, or none: __uint(pinning, LIBBPF_PIN_BY_NAME)"
        }
        ObjectError::TooMany { .. } => "split the object",
    };
    Failure::input(message).hint(hint)
}

fn load_refusal(message: &str, refusal: &LoadRefusal) -> Failure {
    let failure = |kind| Failure::new(kind, message.to_owned());
    match refusal {
        LoadRefusal::NoProgram => failure(Kind::NotFound).hint(
            "a program is a function that is not static, in a section of its type: SEC(\"xdp\")",
        ),
        LoadRefusal::NoSuchProgram { available, .. } => {
            failure(Kind::NotFound).hint(format!("its programs are: {}", available.join(", ")))
        }
        LoadRefusal::NoSuchGlobal { available, .. } if available.is_empty() => {
            failure(Kind::Input).hint("it has no global variables")
        }
        LoadRefusal::NoSuchGlobal { available, .. } => failure(Kind::Input).hint(format!(
            "its global variables are: {}",
            available.join(", ")
        )),
        LoadRefusal::NoSuchMap { available, .. } if available.is_empty() => {
            failure(Kind::Input).hint("it has no maps")
        }
        LoadRefusal::NoSuchMap { available, .. } => {
            failure(Kind::Input).hint(format!("its maps are: {}", available.join(", ")))
        }
        LoadRefusal::MapTakesNoSize { name, .. } | LoadRefusal::SizedMapUnused { name } => {
            failure(Kind::Input).hint(format!("leave --map-size {name}=N out"))
        }
        LoadRefusal::MapSizesMissing(_) => failure(Kind::Input).hint(
            "its own loader sets the size; take that one's number, or what the machine needs",
        ),
        LoadRefusal::NoSuchMapOwner(_) => {
            failure(Kind::NotFound).hint("`bpfman list` shows the managed programs")
        }
        LoadRefusal::MapOwnerBorrows { from, .. } => failure(Kind::NotFound).hint(format!(
            "--map-owner-id {from}, as long as that program is loaded"
        )),
        LoadRefusal::UnknownType { program, .. } => failure(Kind::Input).hint(format!(
            "declare it: bpfman program load PATH --programs TYPE:{program}"
        )),
        LoadRefusal::TypeMismatch { found, program, .. } => {
            failure(Kind::Input).hint(format!("load it as --programs {found}:{program}"))
        }
        LoadRefusal::AttachFunctionMissing {
            program,
            program_type,
        } => failure(Kind::Input).hint(format!("--programs {program_type}:{program}:FUNCTION")),
        LoadRefusal::ExtensionTargetMissing(program)
        | LoadRefusal::BadExtensionTarget { program, .. } => failure(Kind::Input).hint(format!(
            "bpfman program load PATH --programs freplace:{program}:PROGRAM_ID/FUNCTION"
        )),
        LoadRefusal::GlobalSize { expected, .. } => {
            failure(Kind::Input).hint(format!("give {} hex digits", expected.saturating_mul(2)))
        }
        LoadRefusal::PinOutsideBpffs { path, ancestor } => {
            failure(Kind::Input).hint(bpffs_hint(path, ancestor))
        }
        LoadRefusal::EngineWithoutEffect { .. } => failure(Kind::Input)
            .hint("leave --engine out: it says how XDP and TC programs share an interface"),
        LoadRefusal::PinTaken(_) => {
            failure(Kind::Failed).hint("choose another path, or unload what is pinned there")
        }
        LoadRefusal::IncompleteStructOps { missing, named, .. } => {
            failure(Kind::Input).hint(struct_ops_hint(missing, named))
        }
        LoadRefusal::HeldProgram { program, named, .. } => failure(Kind::Input).hint(format!(
            "name it too, with its type: bpfman program load PATH --programs {},TYPE:{program}",
            named.join(",")
        )),
        LoadRefusal::MissingSymbol { symbol, .. } => missing_symbol(message, symbol),
        LoadRefusal::UnsafeMapName(_) => failure(Kind::Input).hint("rename the map in its source"),
        _ => failure(Kind::Input).hint("see bpfman program load --help"),
    }
}

/// The load that names every program of a struct_ops map.
fn struct_ops_hint(missing: &[String], named: &[String]) -> String {
    let missing = missing.iter().map(|name| format!("struct_ops:{name}"));
    let all: Vec<String> = named.iter().cloned().chain(missing).collect();
    format!(
        "load them together: bpfman program load PATH --programs {}",
        all.join(",")
    )
}

/// Where a pin can go instead, or what makes it possible there.
fn bpffs_hint(path: &AbsolutePath, ancestor: &AbsolutePath) -> String {
    match path.as_str().starts_with(BPFFS) {
        true => format!(
            "no bpffs is mounted there: `mount -t bpf bpf {}`",
            BPFFS.trim_end_matches('/')
        ),
        false => format!("{ancestor} is not a bpffs; use a path under {BPFFS}"),
    }
}

fn missing_symbol(message: &str, symbol: &Extern) -> Failure {
    let (kind, hint) = match symbol.kind {
        ExternKind::Undefined => (
            Kind::Input,
            "link the object that defines it (`bpftool gen object`), or declare it with __ksym or __kconfig",
        ),
        ExternKind::Configuration(_) => (
            Kind::Failed,
            "declare it __weak, and the program reads 0 where it is not set",
        ),
        _ => (
            Kind::Failed,
            "load the module that has it, or declare it __weak and ask `bpf_ksym_exists` before its use",
        ),
    };
    Failure::new(kind, message.to_owned()).hint(hint)
}

fn target(message: String, error: &TargetError) -> Failure {
    use TargetError as T;
    let kind = match error {
        T::System { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Kind::Permission
        }
        T::System { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Kind::NotFound,
        T::System { .. } | T::NoTracefs | T::Changed { .. } | T::KeptInstructions { .. } => {
            Kind::Failed
        }
        T::NotANamespace { .. }
        | T::NotATracepoint { .. }
        | T::TooManyFunctions { .. }
        | T::NeitherPathNorLibrary { .. }
        | T::NotAFile { .. }
        | T::UnusablePath { .. }
        | T::File { .. }
        | T::BeyondFile { .. }
        | T::NotACgroup { .. } => Kind::Input,
        _ => Kind::NotFound,
    };
    let hint = match error {
        T::System { .. } => "check that it is there and may be read",
        T::NotANamespace { .. } => {
            "`ip netns list` names namespaces; a path is /run/netns/NAME or /proc/PID/ns/net"
        }
        T::UnknownInterface { .. } => "`ip link` lists the interfaces of a namespace",
        T::NotATracepoint { .. } | T::UnknownTracepoint { .. } | T::UnknownRawTracepoint { .. } => {
            "/sys/kernel/tracing/available_events lists them"
        }
        T::NoTracefs => "mount it, then try again",
        T::NoFunctionMatches { .. } | T::TooManyFunctions { .. } => {
            "/sys/kernel/tracing/available_filter_functions lists them"
        }
        T::UnknownProcess { .. } | T::ReplacedLibrary { .. } | T::Changed { .. } => {
            "processes and files come and go: look again"
        }
        T::NeitherPathNorLibrary { .. } | T::UnknownLibrary { .. } => {
            "give an absolute path, or a name that `ldconfig -p` lists"
        }
        T::NoSuchFile { .. } | T::NotAFile { .. } | T::UnusablePath { .. } | T::File { .. } => {
            "name an ELF executable or a shared library"
        }
        T::Function {
            source: FunctionError::Indirect,
            ..
        } => "`nm` lists the implementations where the file has its symbols; else give --offset",
        T::Function { .. } => "`nm -D` or `nm` lists the functions of a file",
        T::BeyondFile { .. } => "an offset without a function counts from the start of the file",
        T::Probe { .. } => "`readelf -n` lists the probes of a file",
        T::KeptInstructions { .. } => "unload the program, then load it again",
        T::NotACgroup { .. } => "cgroups of version 2 are directories under /sys/fs/cgroup",
    };
    did_you_mean(Failure::new(kind, message), error.similar()).hint(hint)
}

fn did_you_mean(failure: Failure, similar: &[String]) -> Failure {
    match similar {
        [] => failure,
        names => failure.hint(format!("did you mean {}?", names.join(", or "))),
    }
}

fn function(message: String, verdict: &FunctionVerdict) -> Failure {
    let failure = Failure::new(Kind::NotFound, message);
    let similar = match verdict {
        FunctionVerdict::Unknown { similar } => similar.as_slice(),
        _ => &[],
    };
    did_you_mean(failure, similar)
        .hint("/sys/kernel/tracing/available_filter_functions lists what can be traced")
}

fn store(message: String, error: &StoreError) -> Failure {
    match error {
        StoreError::NotFound(_)
        | StoreError::LinkNotFound(_)
        | StoreError::DispatcherNotFound(_) => Failure::new(Kind::NotFound, message)
            .hint("`bpfman list`, `link list` and `dispatcher list` show what there is"),
        StoreError::NewerSchema { .. } => {
            Failure::new(Kind::Failed, message).hint("use the newer bpfman that wrote it")
        }
        StoreError::OlderSchema { .. } => {
            Failure::new(Kind::Failed, message).hint("any load or unload migrates it")
        }
        StoreError::Damaged { path, .. } => {
            let directory = path.parent().unwrap_or(path).display();
            Failure::new(Kind::Failed, message).hint(format!(
                "move {directory} away; `bpfman reconcile` then makes it again from pins and files"
            ))
        }
        StoreError::Full { .. } => {
            Failure::new(Kind::Failed, message).hint("free space under the runtime directory")
        }
        StoreError::Busy { .. } => Failure::new(Kind::Busy, message).hint("try again"),
        StoreError::Unreadable { .. } => Failure::new(Kind::Permission, message).hint(
            "run as root; look at its owner and its mode, and whether its mount is read-only",
        ),
        _ => Failure::new(Kind::Failed, message)
            .hint("move the database away to start with an empty one"),
    }
}

fn runtime(message: String, error: &RuntimeError) -> Failure {
    match error {
        RuntimeError::Lock(LockError::TimedOut { .. }) => {
            Failure::new(Kind::Busy, message).hint("wait for it, or raise --lock-timeout")
        }
        RuntimeError::Lock(LockError::System { source, .. }) => file(message, source),
        RuntimeError::Directory(error) => file(message, &error.source),
        RuntimeError::Store(error) => store(message, error),
    }
}

fn file(message: String, source: &std::io::Error) -> Failure {
    match source.kind() {
        std::io::ErrorKind::PermissionDenied => Failure::new(Kind::Permission, message)
            .hint("run as root, or choose another --runtime-dir"),
        std::io::ErrorKind::StorageFull => {
            Failure::new(Kind::Failed, message).hint("free space under the runtime directory")
        }
        _ if source.raw_os_error() == Some(EMFILE) => {
            Failure::new(Kind::Failed, message).hint("this process may open more with `ulimit -n`")
        }
        _ => Failure::new(Kind::Failed, message).hint("check the runtime directory"),
    }
}

pub(crate) fn kernel(message: String, error: KernelError) -> Failure {
    use KernelErrorKind as K;
    let kind = match error.kind {
        K::Permission => Kind::Permission,
        K::NotFound => Kind::NotFound,
        K::InvalidObject | K::BadRequest | K::NotBpffs => Kind::Input,
        K::Stale => Kind::Busy,
        K::Verifier
        | K::MapMismatch
        | K::Taken
        | K::OtherQdisc
        | K::Exists
        | K::NotOurs
        | K::Unsupported
        | K::NoSpace
        | K::Helper
        | K::Other => Kind::Failed,
    };
    let hint = match &error.cause {
        Some(cause) => cause.advice(),
        None => kernel_hint(&error),
    };
    Failure {
        verifier_log: error.verifier_log,
        ..Failure::new(kind, message)
    }
    .hint(hint)
}

/// What to do about a refusal whose cause is not known: it names none.
fn kernel_hint(error: &KernelError) -> String {
    use KernelErrorKind as K;
    let hint = match error.kind {
        K::Permission => return permission_hint(error),
        K::NotFound => "check the names, then try again",
        K::NoSpace if error.errno == Some(ENOMEM) => "free memory",
        K::NoSpace => "`df` and `free` show what is full",
        K::InvalidObject | K::BadRequest | K::NotBpffs => "check the object and the paths",
        K::Verifier => "the verifier refused the program; nothing was loaded",
        K::MapMismatch => "declare the map as the program that made it does",
        K::Taken => "`bpftool net` and `bpftool link` show what is attached where",
        K::OtherQdisc => {
            "`tc qdisc show` shows it; `tc qdisc del dev INTERFACE ingress` removes it with its filters; TCX (Linux 6.6) needs none"
        }
        K::Stale => "try again",
        K::Exists => "choose another path, or remove what is there",
        K::NotOurs => "move what is there away first",
        K::Unsupported => "`bpfman doctor` shows what this kernel can do",
        K::Helper => "check the path of bpfman-kernel",
        K::Other => "--log debug shows each step",
    };
    hint.to_owned()
}

/// `ENOMEM` and `EMFILE` of `asm-generic/errno-base.h`.
const ENOMEM: i32 = 12;
const EMFILE: i32 = 24;

/// The kernel gives no reason: what is known stands for whoever looks for it.
fn permission_hint(error: &KernelError) -> String {
    let facts = error.permission.clone().unwrap_or_default();
    if !facts.missing_capabilities.is_empty() {
        return format!(
            "run as root, or grant {}",
            facts.missing_capabilities.join(", ")
        );
    }
    let lockdown = facts.lockdown.map(|state| format!("lockdown: {state}"));
    let modules = facts
        .security_modules
        .map(|names| format!("security modules: {names}"));
    let seccomp = facts
        .seccomp_filter
        .then(|| "a seccomp filter is active".to_owned());
    let known: Vec<String> = [lockdown, modules, seccomp].into_iter().flatten().collect();
    match known.as_slice() {
        [] => "the kernel gives no reason".to_owned(),
        known => format!("the kernel gives no reason; {}", known.join("; ")),
    }
}

fn execution(error: ExecutionError) -> Failure {
    let message = error.to_string();
    let step = format!(
        "the step was: {}",
        error
            .action
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    );
    let undone = error.is_undone();
    let failure = action(message, error.cause);
    match undone {
        true => failure,
        false => failure.hint(step),
    }
}

fn action(message: String, error: ActionError) -> Failure {
    match error {
        ActionError::Kernel(cause) => kernel(message, cause),
        ActionError::Files(cause) => file(message, &cause.source),
        ActionError::Store(cause) => store(message, &cause),
        ActionError::Plan(_) => {
            Failure::new(Kind::Failed, message).hint("this is a fault of bpfman: please report it")
        }
    }
}
