//! The types of a chain's functions.
//!
//! The kernel wants to know them for functions that are called back, read packets the legacy way, call tails or are
//! global; then it wants all. Of static ones it looks at names and at what they answer, not at arguments: one
//! prototype serves them all. Members that are called are global functions of the context, which it knows by the name
//! of its structure. Format: `Documentation/bpf/btf.rst` of the kernel.

use alloc::format;
use alloc::vec::Vec;

use crate::action::FunctionInfo;
use crate::types::Family;

/// The types of a chain's functions, to be loaded with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionTypes {
    /// What `BPF_BTF_LOAD` takes.
    pub btf: Vec<u8>,
    /// Where each function starts, and its type.
    pub functions: Vec<FunctionInfo>,
}

/// Who a function comes from: the member and its function, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    pub(super) member: usize,
    pub(super) function: usize,
}

/// `BTF_KIND_*`, where `struct btf_type` has them. The low bits count the parameters of a prototype, and say the
/// linkage of a function: static, as callbacks must be, is 0.
const INTEGER: u32 = 1 << 24;
const POINTER: u32 = 2 << 24;
const STRUCTURE: u32 = 4 << 24;
const FUNCTION: u32 = 12 << 24;
const GLOBAL_FUNCTION: u32 = FUNCTION | 1;
const PROTOTYPE: u32 = 13 << 24;
const PROTOTYPE_OF_ONE: u32 = PROTOTYPE | 1;
/// Signed, and 32 bits.
const INTEGER_ENCODING: u32 = 1 << 24 | 32;
const INTEGER_BYTES: u32 = 4;
/// Types are numbered in their order.
const INTEGER_ID: u32 = 1;
const PROTOTYPE_ID: u32 = 2;
const CONTEXT_ID: u32 = 3;
const CONTEXT_POINTER_ID: u32 = 4;
const MEMBER_PROTOTYPE_ID: u32 = 5;
const FIRST_FUNCTION_ID: u32 = 6;
const HEADER_BYTES: u32 = 24;

impl FunctionTypes {
    /// Describes the chain's main function, which starts at 0, and those behind it.
    pub(super) fn describe(family: Family, functions: &[(u32, Origin)]) -> Self {
        let mut names = Vec::from(*b"\0");
        let mut types = Vec::new();
        let mut infos = Vec::new();
        let integer = add_name(&mut names, "int");
        let fixed = [integer, INTEGER, INTEGER_BYTES, INTEGER_ENCODING];
        add_words(&mut types, &fixed);
        add_words(&mut types, &[0, PROTOTYPE, INTEGER_ID]);
        // The kernel looks at the name only.
        let context = add_name(&mut names, family.context());
        add_words(&mut types, &[context, STRUCTURE, 0]);
        add_words(&mut types, &[0, POINTER, CONTEXT_ID]);
        let argument = add_name(&mut names, "context");
        add_words(&mut types, &[0, PROTOTYPE_OF_ONE, INTEGER_ID]);
        add_words(&mut types, &[argument, CONTEXT_POINTER_ID]);
        let others = functions.iter().map(|(start, origin)| {
            let Origin { member, function } = origin;
            let name = format!("member{member}_function{function}");
            match function {
                0 => (*start, name, [GLOBAL_FUNCTION, MEMBER_PROTOTYPE_ID]),
                _ => (*start, name, [FUNCTION, PROTOTYPE_ID]),
            }
        });
        let chain = (0, "chain".into(), [FUNCTION, PROTOTYPE_ID]);
        let all = core::iter::once(chain).chain(others);
        for ((start, name, [kind, prototype]), id) in all.zip(FIRST_FUNCTION_ID..) {
            let name = add_name(&mut names, &name);
            add_words(&mut types, &[name, kind, prototype]);
            infos.push(FunctionInfo {
                instruction: start,
                type_id: id,
            });
        }
        Self {
            btf: assemble(&types, &names),
            functions: infos,
        }
    }
}

fn assemble(types: &[u8], names: &[u8]) -> Vec<u8> {
    const MAGIC: u16 = 0xeb9f;
    const VERSION: u8 = 1;
    const FLAGS: u8 = 0;
    let mut btf = Vec::from(MAGIC.to_ne_bytes());
    btf.extend([VERSION, FLAGS]);
    let (types_end, names_len) = (length(types), length(names));
    add_words(
        &mut btf,
        &[HEADER_BYTES, 0, types_end, types_end, names_len],
    );
    btf.extend_from_slice(types);
    btf.extend_from_slice(names);
    btf
}

/// Where the name starts.
fn add_name(names: &mut Vec<u8>, name: &str) -> u32 {
    let start = length(names);
    names.extend_from_slice(name.as_bytes());
    names.push(0);
    start
}

fn add_words(bytes: &mut Vec<u8>, words: &[u32]) {
    bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
}

/// The number of functions is limited, and so is this.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
