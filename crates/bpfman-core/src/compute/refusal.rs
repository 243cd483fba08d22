//! Why a load is refused before its first effect.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::kernel::MapType;
use crate::object::Extern;
use crate::object::ExternKind;
use crate::types::AbsolutePath;
use crate::types::Engine;
use crate::types::NameError;
use crate::types::ProgramId;
use crate::types::ProgramType;

/// Why a load cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadRefusal {
    /// No program was named.
    #[error("no program was named")]
    NothingNamed,
    /// More programs than [`crate::managed::MAX_PROGRAMS_PER_LOAD`].
    #[error("{given} programs in one load; the limit is {limit}")]
    TooManyPrograms {
        /// How many were named.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// More metadata than [`crate::managed::MAX_METADATA_ENTRIES`].
    #[error("{given} metadata entries; the limit is {limit}")]
    TooMuchMetadata {
        /// How many were given.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// A program was named twice.
    #[error("program `{0}` is named twice")]
    NamedTwice(String),
    /// The object has no program at all.
    #[error("the object has no programs")]
    NoProgram,
    /// The object has no such program.
    #[error("the object has no program `{name}`")]
    NoSuchProgram {
        /// The name asked for.
        name: String,
        /// The names that exist.
        available: Vec<String>,
    },
    /// Neither the section nor the request says the type.
    #[error("program `{program}` is in section `{section}`, which names no program type")]
    UnknownType {
        /// The program.
        program: String,
        /// Its section.
        section: String,
    },
    /// The declared type is outside the section's family.
    #[error(
        "program type mismatch: `{program}` is in section `{section}`, a {found} program, not {declared}"
    )]
    TypeMismatch {
        /// The program.
        program: String,
        /// Its section.
        section: String,
        /// The type the section means.
        found: ProgramType,
        /// The type asked for.
        declared: ProgramType,
    },
    /// The type needs an attach function and none was given.
    #[error("{program_type} program `{program}` needs the function or hook it attaches to")]
    AttachFunctionMissing {
        /// The program.
        program: String,
        /// Its type.
        program_type: ProgramType,
    },
    /// The type has no attach function and one was given.
    #[error("{program_type} program `{program}` takes no attach function")]
    AttachFunctionRefused {
        /// The program.
        program: String,
        /// Its type.
        program_type: ProgramType,
    },
    /// An extension without a target.
    #[error("extension program `{0}` needs PROGRAM_ID/FUNCTION to replace as its attach function")]
    ExtensionTargetMissing(String),
    /// An extension's target is not `PROGRAM_ID/FUNCTION`.
    #[error(
        "extension program `{program}` needs PROGRAM_ID/FUNCTION to replace as its attach function, not `{given}`"
    )]
    BadExtensionTarget {
        /// The program.
        program: String,
        /// What was given.
        given: String,
    },
    /// The object has no such global variable.
    #[error("the object has no global variable `{name}`")]
    NoSuchGlobal {
        /// The name asked for.
        name: String,
        /// The names that exist.
        available: Vec<String>,
    },
    /// A global variable has another size.
    #[error("global variable `{name}` has {expected} byte(s), the value {given}")]
    GlobalSize {
        /// The variable.
        name: String,
        /// Its size in bytes.
        expected: u64,
        /// The size of the value in bytes.
        given: u64,
    },
    /// A program array of a named program holds one that cannot be loaded along.
    #[error("program array `{array}` of program `{holder}` holds program `{program}`: {why}")]
    HeldProgram {
        /// The array.
        array: String,
        /// The named program.
        holder: String,
        /// The one that is held.
        program: String,
        /// Why it cannot.
        why: Box<LoadRefusal>,
        /// The named programs, as `--programs` takes them.
        named: Vec<String>,
    },
    /// A program needs a symbol that nobody defines.
    #[error("program `{program}` needs {}", missing_symbol(symbol))]
    MissingSymbol {
        /// The program.
        program: String,
        /// The symbol.
        symbol: Extern,
    },
    /// The object has no such map.
    #[error("the object has no map `{name}`")]
    NoSuchMap {
        /// The name asked for.
        name: String,
        /// The names that exist.
        available: Vec<String>,
    },
    /// A size for a map whose type has none.
    #[error("map `{name}` takes no size: a {map_type} map grows with what it belongs to")]
    MapTakesNoSize {
        /// The map.
        name: String,
        /// Its type.
        map_type: MapType,
    },
    /// A size for a map that the load does not make.
    #[error("map `{name}` is given a size, and none of the programs to load uses it")]
    SizedMapUnused {
        /// The map.
        name: String,
    },
    /// Declarations that leave the size to the loader.
    #[error("{}", sizes_missing(.0))]
    MapSizesMissing(Vec<(String, MapType)>),
    /// A struct_ops map has members that were not named.
    #[error("struct_ops map `{map}` also needs program {}", missing.join(", "))]
    IncompleteStructOps {
        /// The map.
        map: String,
        /// Its programs that were not named.
        missing: Vec<String>,
        /// Those that were, as `--programs` takes them.
        named: Vec<String>,
    },
    /// An engine for programs that share no interface.
    #[error("engine {engine} has no effect: `{program}` is a {program_type} program")]
    EngineWithoutEffect {
        /// The engine.
        engine: Engine,
        /// A program.
        program: String,
        /// Its type.
        program_type: ProgramType,
    },
    /// A pin path for more than one program.
    #[error("one pin path was given for {0} programs")]
    OnePinPathForMany(usize),
    /// The pin path is not on a bpffs.
    #[error("pin path {path} is not on a bpffs")]
    PinOutsideBpffs {
        /// The path.
        path: AbsolutePath,
        /// The nearest directory that exists.
        ancestor: AbsolutePath,
    },
    /// Something is at the pin path.
    #[error("pin path {0} is already taken")]
    PinTaken(AbsolutePath),
    /// A map's name cannot be a pin's.
    #[error("map of the object: {0}")]
    UnsafeMapName(NameError),
    /// A name of the pin path cannot be a pin's.
    #[error("pin path: {0}")]
    UnsafePinPath(NameError),
    /// The map owner is not managed.
    #[error("map_owner_id {0} does not exist")]
    NoSuchMapOwner(ProgramId),
    /// The map owner took its maps from another program itself.
    #[error(
        "map_owner_id {id} does not exist: program {id} owns no maps, it was loaded with those of program {from}"
    )]
    MapOwnerBorrows {
        /// The program that was named.
        id: ProgramId,
        /// The program whose maps it was loaded with.
        from: ProgramId,
    },
}

fn missing_symbol(symbol: &Extern) -> String {
    let name = &symbol.name;
    match symbol.kind {
        ExternKind::Function => {
            format!("the kernel function `{name}`, which neither this kernel nor its modules have")
        }
        ExternKind::Variable => {
            format!("the kernel variable `{name}`, which neither this kernel nor its modules have")
        }
        ExternKind::Address => {
            format!("the kernel symbol `{name}`, which this kernel does not have")
        }
        ExternKind::Configuration(_) => {
            format!(
                "`{name}`, which this kernel's configuration does not set (/boot/config-RELEASE, else /proc/config.gz)"
            )
        }
        ExternKind::Undefined => format!("`{name}`, which the object declares and nobody defines"),
    }
}

/// Names every map and the option that sizes it.
fn sizes_missing(maps: &[(String, MapType)]) -> String {
    let one = |(name, map_type): &(String, MapType)| {
        let unit = match *map_type {
            MapType::RINGBUF | MapType::USER_RINGBUF => "bytes",
            MapType::ARENA => "pages",
            _ => "entries",
        };
        format!(
            "map `{name}` ({map_type}) has no max_entries: size it with --map-size {name}=N (N {unit})"
        )
    };
    maps.iter().map(one).collect::<Vec<_>>().join("; ")
}
