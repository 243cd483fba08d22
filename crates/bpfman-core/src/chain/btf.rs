//! The types of a chain's functions.
//!
//! The kernel wants to know them for functions that are called back, read packets the legacy way, call tails or are
//! global; then it wants all. Of static ones it looks at names and at what they answer, not at arguments: one
//! prototype serves them all. Members that are called are global functions of the context, which it knows by the name
//! of its structure. What was global in its object stays so, with its own type, so that it is judged once and on its
//! own here, too. Format: `Documentation/bpf/btf.rst` of the kernel.

use alloc::format;
use alloc::vec::Vec;

use super::Part;
use crate::action::FunctionInfo;
use crate::object::BtfWriter;
use crate::object::FunctionSource;
use crate::types::Family;

/// The types of a chain's functions, to be loaded with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionTypes {
    /// What `BPF_BTF_LOAD` takes.
    pub btf: Vec<u8>,
    /// Where each function starts, and its type.
    pub functions: Vec<FunctionInfo>,
}

/// What is known of the types of a member's functions.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemberTypes<'a> {
    /// The BTF that its program was loaded with, as the kernel has it; empty when it has none.
    pub btf: &'a [u8],
    /// Where each of its functions starts, and its type there.
    pub functions: &'a [FunctionInfo],
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

/// The types of the members' global functions.
pub(super) struct Sources<'a>(Vec<Option<FunctionSource<'a>>>);

impl<'a> Sources<'a> {
    /// Reads the types of all members. One whose types cannot be read has none.
    pub(super) fn read<M>(parts: &[Part<'a, M>]) -> Self {
        let read = |part: &Part<'a, M>| FunctionSource::parse(part.types.btf).ok();
        Self(parts.iter().map(read).collect())
    }

    /// The type of a function that was global in its object.
    pub(super) fn global<M>(&self, parts: &[Part<'a, M>], origin: Origin) -> Option<u32> {
        let part = parts.get(origin.member)?;
        let start = part.program.functions().get(origin.function)?.start;
        let mut known = part.types.functions.iter();
        let info = known.find(|info| usize::try_from(info.instruction).ok() == Some(start))?;
        let source = self.0.get(origin.member)?.as_ref()?;
        source
            .is_global_function(info.type_id)
            .then_some(info.type_id)
    }

    fn get(&mut self, member: usize) -> Option<&mut FunctionSource<'a>> {
        self.0.get_mut(member)?.as_mut()
    }
}

impl FunctionTypes {
    /// Describes the chain's main function, which starts at 0, and those behind it.
    pub(super) fn describe<'a, M>(
        family: Family,
        functions: &[(u32, Origin)],
        parts: &[Part<'a, M>],
        sources: &mut Sources<'a>,
    ) -> Self {
        let mut writer = BtfWriter::new();
        let name = writer.add_name("int");
        let integer = writer.add(&[name, INTEGER, INTEGER_BYTES, INTEGER_ENCODING]);
        let prototype = writer.add(&[0, PROTOTYPE, integer]);
        // The kernel looks at the name only.
        let name = writer.add_name(family.context());
        let context = writer.add(&[name, STRUCTURE, 0]);
        let context = writer.add(&[0, POINTER, context]);
        let name = writer.add_name("context");
        let of_context = writer.add(&[0, PROTOTYPE_OF_ONE, integer, name, context]);
        let name = writer.add_name("chain");
        let chain = writer.add(&[name, FUNCTION, prototype]);
        let mut infos = Vec::from([FunctionInfo {
            instruction: 0,
            type_id: chain,
        }]);
        for (start, origin) in functions {
            let Origin { member, function } = origin;
            let global = sources.global(parts, *origin).filter(|_| *function > 0);
            let copied = global.zip(sources.get(*member));
            let copied = copied.and_then(|(id, source)| writer.copy(source, id).ok());
            let name = format!("member{member}_function{function}");
            let type_id = copied.unwrap_or_else(|| {
                let name = writer.add_name(&name);
                match function {
                    0 => writer.add(&[name, GLOBAL_FUNCTION, of_context]),
                    _ => writer.add(&[name, FUNCTION, prototype]),
                }
            });
            infos.push(FunctionInfo {
                instruction: *start,
                type_id,
            });
        }
        Self {
            btf: writer.finish(),
            functions: infos,
        }
    }
}
