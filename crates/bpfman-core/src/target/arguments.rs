//! The arguments of a USDT probe: how a compiler wrote them down, and how libbpf's programs read them.
//!
//! Text: the systemtap project, "User Space Probe Implementation" (`N@OP`, where OP is an operand of the assembler).
//! Bytes: `struct __bpf_usdt_spec` of libbpf's `usdt.bpf.h`.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// The most arguments that a probe passes: `BPF_USDT_MAX_ARG_CNT` of `usdt.bpf.h`.
pub const MAX_USDT_ARGUMENTS: usize = 12;

/// The processors whose registers we can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentMachine {
    /// x86-64.
    X86_64,
    /// AArch64.
    Aarch64,
}

/// Where an argument is. A register is its offset in `struct pt_regs` (x86-64) or `struct user_pt_regs` (AArch64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentPlace {
    /// It is always this.
    Constant(u64),
    /// In a register.
    Register(u16),
    /// In memory.
    Memory {
        /// The register that points near it.
        base: u16,
        /// How far from there, in bytes.
        offset: i64,
    },
    /// In memory, as an element.
    Indexed {
        /// The register that points near it.
        base: u16,
        /// The register that counts elements.
        index: u16,
        /// The binary logarithm of an element's size.
        shift: u8,
        /// How far from there, in bytes.
        offset: i64,
    },
}

/// One argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Where it is.
    pub place: ArgumentPlace,
    /// Whether it has a sign.
    pub signed: bool,
    /// Its size: 1, 2, 4 or 8 bytes.
    pub bytes: u8,
}

/// Why an argument cannot be passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("argument {number} in `{}`: {reason}", text.escape_debug())]
pub struct ArgumentError {
    /// Which, counted from 1.
    pub number: usize,
    /// All arguments as they are written.
    pub text: String,
    /// What is wrong.
    pub reason: &'static str,
}

/// The two layouts of `struct __bpf_usdt_arg_spec`. That of libbpf 1.7 was meant to be compatible, but compilers put
/// its bit fields elsewhere: `reg_off` moved from byte 12 to 14, and the structure grew from 16 to 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecLayout {
    /// That of objects built with libbpf before 1.7.
    Plain,
    /// That of objects built with libbpf 1.7, which knows [`ArgumentPlace::Indexed`].
    Indexed,
}

/// Why arguments cannot be written in a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecLayoutError {
    /// No libbpf has values of this size.
    #[error("the values of `__bpf_usdt_specs` have {0} bytes; 208 and 304 are known")]
    UnknownSize(u32),
    /// The layout is too old for an argument.
    #[error(
        "argument {number} is an element of an array, which takes an object built with libbpf 1.7 or later"
    )]
    Indexed {
        /// Which, counted from 1.
        number: usize,
    },
}

impl SpecLayout {
    /// Tells the layout by the size of the values of the map `__bpf_usdt_specs`.
    ///
    /// # Errors
    /// [`SpecLayoutError::UnknownSize`].
    pub fn of_value_size(bytes: u32) -> Result<Self, SpecLayoutError> {
        let layouts = [Self::Plain, Self::Indexed];
        let mut fitting = layouts
            .into_iter()
            .filter(|layout| u32::try_from(layout.value_size()) == Ok(bytes));
        fitting.next().ok_or(SpecLayoutError::UnknownSize(bytes))
    }

    /// The size of a value of the map, in bytes: the arguments, `usdt_cookie` and `arg_cnt` with its padding.
    #[must_use]
    pub const fn value_size(self) -> usize {
        MAX_USDT_ARGUMENTS * self.argument_size() + 16
    }

    const fn argument_size(self) -> usize {
        match self {
            Self::Plain => 16,
            Self::Indexed => 24,
        }
    }

    /// The offset of `reg_off`; `arg_signed` and `arg_bitshift` follow.
    const fn register_offset(self) -> usize {
        match self {
            Self::Plain => 12,
            Self::Indexed => 14,
        }
    }
}

/// What a program reads about the arguments of one kind of site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsdtSpec {
    /// The arguments in their order, at most [`MAX_USDT_ARGUMENTS`].
    pub arguments: Vec<Argument>,
}

impl UsdtSpec {
    /// Reads the text of a note.
    ///
    /// # Errors
    /// [`ArgumentError`] for the first argument that libbpf has no way to fetch.
    pub fn parse(machine: ArgumentMachine, text: &str) -> Result<Self, ArgumentError> {
        let mut arguments = Vec::new();
        let mut cursor = Cursor(text.trim_start());
        while !cursor.0.is_empty() {
            let refused = |reason| ArgumentError {
                number: arguments.len() + 1,
                text: text.to_owned(),
                reason,
            };
            if arguments.len() == MAX_USDT_ARGUMENTS {
                return Err(refused("there are more than 12"));
            }
            let argument = argument(machine, &mut cursor).map_err(refused)?;
            cursor.skip_spaces();
            arguments.push(argument);
        }
        Ok(Self { arguments })
    }

    /// The value of the map `__bpf_usdt_specs`; `cookie` is what `bpf_usdt_cookie` answers.
    ///
    /// # Errors
    /// [`SpecLayoutError::Indexed`].
    pub fn to_bytes(&self, layout: SpecLayout, cookie: u64) -> Result<Vec<u8>, SpecLayoutError> {
        let mut bytes = Vec::with_capacity(layout.value_size());
        for (index, argument) in self.arguments.iter().take(MAX_USDT_ARGUMENTS).enumerate() {
            let indexed = matches!(argument.place, ArgumentPlace::Indexed { .. });
            if indexed && layout == SpecLayout::Plain {
                return Err(SpecLayoutError::Indexed { number: index + 1 });
            }
            argument.write(layout, &mut bytes);
        }
        bytes.resize(MAX_USDT_ARGUMENTS * layout.argument_size(), 0);
        bytes.extend(cookie.to_le_bytes());
        let count = u64::try_from(self.arguments.len().min(MAX_USDT_ARGUMENTS));
        bytes.extend(count.unwrap_or_default().to_le_bytes());
        Ok(bytes)
    }
}

impl Argument {
    fn write(&self, layout: SpecLayout, bytes: &mut Vec<u8>) {
        let (kind, value, register, index, shift) = match self.place {
            ArgumentPlace::Constant(value) => (0, value, 0, 0, 0),
            ArgumentPlace::Register(register) => (1, 0, register, 0, 0),
            ArgumentPlace::Memory { base, offset } => (2, offset.cast_unsigned(), base, 0, 0),
            ArgumentPlace::Indexed {
                base,
                index,
                shift,
                offset,
            } => (3, offset.cast_unsigned(), base, index, shift),
        };
        let end = bytes.len() + layout.argument_size();
        let register_at = bytes.len() + layout.register_offset();
        bytes.extend(value.to_le_bytes());
        bytes.extend([kind, 0]);
        if layout == SpecLayout::Indexed {
            bytes.extend((index & 0xfff | u16::from(shift) << 12).to_le_bytes());
        }
        bytes.resize(register_at, 0);
        bytes.extend(register.to_le_bytes());
        bytes.extend([u8::from(self.signed), 64 - self.bytes * 8]);
        bytes.resize(end, 0);
    }
}

/// What is left to read.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_start();
    }

    /// Whether this comes next, after spaces; then it is read.
    fn take(&mut self, token: char) -> bool {
        self.skip_spaces();
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Reads a whole number of either sign, when one comes next.
    fn number(&mut self) -> Result<Option<i128>, &'static str> {
        self.skip_spaces();
        let sign = usize::from(self.0.starts_with(['-', '+']));
        let digits = self.0.bytes().skip(sign);
        let digits = digits.take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return Ok(None);
        }
        let (number, rest) = self.0.split_at(sign + digits);
        self.0 = rest;
        let number = number.parse().map_err(|_| "a number is too large")?;
        Ok(Some(number))
    }

    fn offset(&mut self) -> Result<Option<i64>, &'static str> {
        let number = self.number()?.map(i64::try_from).transpose();
        number.map_err(|_| "an offset is too large")
    }

    fn word(&mut self) -> &'a str {
        self.skip_spaces();
        let end = self.0.find(|c: char| !c.is_ascii_alphanumeric());
        let (word, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        word
    }

    /// Reads a register with its `%`.
    fn x86_register(&mut self) -> Result<u16, &'static str> {
        if !self.take('%') {
            return Err("a register was expected");
        }
        x86_64_register(self.word()).ok_or("the register is none that holds an integer")
    }
}

fn argument(machine: ArgumentMachine, cursor: &mut Cursor<'_>) -> Result<Argument, &'static str> {
    let size = cursor.number()?.ok_or("it does not start with a size")?;
    if cursor.0.starts_with('f') {
        return Err("it is a floating point number, which BPF programs cannot read");
    }
    let bytes = match size.unsigned_abs() {
        bytes @ (1 | 2 | 4 | 8) => u8::try_from(bytes).map_err(|_| "its size is unknown")?,
        _ => return Err("its size is not 1, 2, 4 or 8"),
    };
    if !cursor.take('@') {
        return Err("there is no `@` after its size");
    }
    let place = match machine {
        ArgumentMachine::X86_64 => x86_64_place(cursor)?,
        ArgumentMachine::Aarch64 => aarch64_place(cursor)?,
    };
    if !cursor.0.is_empty() && !cursor.0.starts_with(char::is_whitespace) {
        return Err("its place is not understood");
    }
    Ok(Argument {
        place,
        signed: size < 0,
        bytes,
    })
}

/// `i64` and `u64` both occur; which one it is, the argument's sign says.
fn constant(number: i128) -> Result<ArgumentPlace, &'static str> {
    let value = i64::try_from(number).map(i64::cast_unsigned);
    let value = value.or_else(|_| u64::try_from(number));
    let value = value.map_err(|_| "a number is too large")?;
    Ok(ArgumentPlace::Constant(value))
}

/// `$NUMBER`, `%REGISTER`, `OFFSET(%BASE)`, `OFFSET(%BASE,%INDEX,SCALE)`: operands of the AT&T syntax.
fn x86_64_place(cursor: &mut Cursor<'_>) -> Result<ArgumentPlace, &'static str> {
    if cursor.take('$') {
        return constant(cursor.number()?.ok_or("a number was expected after `$`")?);
    }
    if cursor.0.starts_with('%') {
        return Ok(ArgumentPlace::Register(cursor.x86_register()?));
    }
    let offset = cursor.offset()?.unwrap_or_default();
    if !cursor.take('(') {
        return Err("it is a variable by name, or its place is not understood");
    }
    let base = cursor.x86_register()?;
    let mut place = ArgumentPlace::Memory { base, offset };
    if cursor.take(',') {
        let index = cursor.x86_register()?;
        let scale = if cursor.take(',') {
            cursor.number()?.ok_or("a scale was expected")?
        } else {
            1
        };
        let shift = match scale {
            1 => 0,
            2 => 1,
            4 => 2,
            8 => 3,
            _ => return Err("its scale is not 1, 2, 4 or 8"),
        };
        place = ArgumentPlace::Indexed {
            base,
            index,
            shift,
            offset,
        };
    }
    if !cursor.take(')') {
        return Err("a `)` was expected");
    }
    Ok(place)
}

/// `NUMBER`, `REGISTER`, `[BASE]`, `[BASE, OFFSET]`.
fn aarch64_place(cursor: &mut Cursor<'_>) -> Result<ArgumentPlace, &'static str> {
    const NO_REGISTER: &str = "the register is none that holds an integer";
    if cursor.take('[') {
        let base = aarch64_register(cursor.word()).ok_or(NO_REGISTER)?;
        let mut offset = 0;
        if cursor.take(',') {
            let _ = cursor.take('#');
            offset = cursor
                .offset()?
                .ok_or("an index register is not supported")?;
        }
        if !cursor.take(']') {
            return Err("a `]` was expected");
        }
        return Ok(ArgumentPlace::Memory { base, offset });
    }
    if let Some(number) = cursor.number()? {
        return constant(number);
    }
    let register = aarch64_register(cursor.word()).ok_or(NO_REGISTER)?;
    Ok(ArgumentPlace::Register(register))
}

/// `struct user_pt_regs` of `arch/arm64/include/uapi/asm/ptrace.h`: `regs[31]`, `sp`.
fn aarch64_register(name: &str) -> Option<u16> {
    if name == "sp" {
        return Some(31 * 8);
    }
    let number = name.strip_prefix(['x', 'w'])?;
    // Not `x07` or `x+7`, which `parse` would take.
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse::<u16>().ok().filter(|_| plain)?;
    (number < 31).then_some(number * 8)
}

/// `struct pt_regs` of `arch/x86/include/uapi/asm/ptrace.h`, by all names of a register.
const X86_64_REGISTERS: [(u16, [&str; 4]); 17] = [
    (0, ["r15", "r15d", "r15w", "r15b"]),
    (8, ["r14", "r14d", "r14w", "r14b"]),
    (16, ["r13", "r13d", "r13w", "r13b"]),
    (24, ["r12", "r12d", "r12w", "r12b"]),
    (32, ["rbp", "ebp", "bp", "bpl"]),
    (40, ["rbx", "ebx", "bx", "bl"]),
    (48, ["r11", "r11d", "r11w", "r11b"]),
    (56, ["r10", "r10d", "r10w", "r10b"]),
    (64, ["r9", "r9d", "r9w", "r9b"]),
    (72, ["r8", "r8d", "r8w", "r8b"]),
    (80, ["rax", "eax", "ax", "al"]),
    (88, ["rcx", "ecx", "cx", "cl"]),
    (96, ["rdx", "edx", "dx", "dl"]),
    (104, ["rsi", "esi", "si", "sil"]),
    (112, ["rdi", "edi", "di", "dil"]),
    (128, ["rip", "eip", "rip", "eip"]),
    (152, ["rsp", "esp", "sp", "spl"]),
];

fn x86_64_register(name: &str) -> Option<u16> {
    let mut registers = X86_64_REGISTERS.iter();
    let (offset, _) = registers.find(|(_, names)| names.contains(&name))?;
    Some(*offset)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn places(machine: ArgumentMachine, text: &str) -> Vec<(ArgumentPlace, i8)> {
        let spec = UsdtSpec::parse(machine, text).unwrap();
        let size = |argument: &Argument| {
            let bytes = i8::try_from(argument.bytes).unwrap();
            if argument.signed { -bytes } else { bytes }
        };
        let arguments = spec.arguments.iter();
        arguments
            .map(|argument| (argument.place, size(argument)))
            .collect()
    }

    fn refusal(machine: ArgumentMachine, text: &str) -> String {
        UsdtSpec::parse(machine, text).unwrap_err().to_string()
    }

    #[test]
    fn operands_of_x86_64_are_read() {
        use ArgumentPlace::*;
        let memory = |base, offset| Memory { base, offset };
        let indexed = |offset, shift| Indexed {
            base: 32,
            index: 80,
            shift,
            offset,
        };
        let table = [
            (
                "-4@%esi 2@%ax",
                vec![(Register(104), -4), (Register(80), 2)],
            ),
            (
                "-4@-24(%rbp) 8@(%rsp)",
                vec![(memory(32, -24), -4), (memory(152, 0), 8)],
            ),
            (
                "4@$71 -8@$-9 8@$18446744073709551615",
                vec![
                    (Constant(71), 4),
                    (Constant((-9_i64).cast_unsigned()), -8),
                    (Constant(u64::MAX), 8),
                ],
            ),
            (
                "1@-96(%rbp,%rax,8) 1@(%rbp,%rax)",
                vec![(indexed(-96, 3), 1), (indexed(0, 0), 1)],
            ),
            ("  1@ 4 ( %rbp , %rax , 4 ) ", vec![(indexed(4, 2), 1)]),
            (
                "1@%r15b -1@%sil",
                vec![(Register(0), 1), (Register(104), -1)],
            ),
            ("", vec![]),
            (" ", vec![]),
        ];
        for (text, expected) in table {
            assert_eq!(places(ArgumentMachine::X86_64, text), expected, "{text}");
        }
    }

    #[test]
    fn operands_of_aarch64_are_read() {
        use ArgumentPlace::*;
        let memory = |base, offset| Memory { base, offset };
        let table = [
            (
                "-4@[sp, 96] 8@[x29]",
                vec![(memory(248, 96), -4), (memory(232, 0), 8)],
            ),
            (
                "-8@x4 4@w0 8@5 -4@-5 8@sp",
                vec![
                    (Register(32), -8),
                    (Register(0), 4),
                    (Constant(5), 8),
                    (Constant((-5_i64).cast_unsigned()), -4),
                    (Register(248), 8),
                ],
            ),
            ("4@[x1,-8]", vec![(memory(8, -8), 4)]),
        ];
        for (text, expected) in table {
            assert_eq!(places(ArgumentMachine::Aarch64, text), expected, "{text}");
        }
    }

    #[test]
    fn an_operand_that_cannot_be_fetched_is_refused_with_its_number() {
        let table = [
            (
                "8@%rax 8f@%xmm0",
                "argument 2 in `8@%rax 8f@%xmm0`: it is a floating point number, which BPF programs cannot read",
            ),
            (
                "3@%rax",
                "argument 1 in `3@%rax`: its size is not 1, 2, 4 or 8",
            ),
            (
                "%rax",
                "argument 1 in `%rax`: it does not start with a size",
            ),
            (
                "4@counter(%rip)",
                "argument 1 in `4@counter(%rip)`: it is a variable by name, or its place is not understood",
            ),
            (
                "4@%xmm0",
                "argument 1 in `4@%xmm0`: the register is none that holds an integer",
            ),
            (
                "1@(%rbp,%rax,3)",
                "argument 1 in `1@(%rbp,%rax,3)`: its scale is not 1, 2, 4 or 8",
            ),
            (
                "4@%eax)",
                "argument 1 in `4@%eax)`: its place is not understood",
            ),
            (
                "4@99999999999999999999(%rax)",
                "argument 1 in `4@99999999999999999999(%rax)`: an offset is too large",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(refusal(ArgumentMachine::X86_64, text), expected);
        }
        for text in ["8@x31", "8@x+1", "8@[x0, x1]", "8@[x0", "8@q0", "8@"] {
            assert!(
                UsdtSpec::parse(ArgumentMachine::Aarch64, text).is_err(),
                "{text}"
            );
        }
        let many = "4@%eax ".repeat(13);
        assert!(refusal(ArgumentMachine::X86_64, &many).starts_with("argument 13 "));
        assert!(UsdtSpec::parse(ArgumentMachine::X86_64, &"4@%eax ".repeat(12)).is_ok());
    }

    /// The bytes of one argument as clang lays the structure out, written down from a compiled `usdt.bpf.h`.
    #[test]
    fn bytes_are_those_of_the_structures_of_libbpf() {
        let spec = UsdtSpec::parse(ArgumentMachine::X86_64, "-4@-2(%rsi)").unwrap();
        let plain = spec.to_bytes(SpecLayout::Plain, 7).unwrap();
        assert_eq!(plain.len(), 208);
        assert_eq!(
            plain[..16],
            [
                0xfe, 255, 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 104, 0, 1, 32
            ]
        );
        assert_eq!(
            plain[192..],
            [7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
        );

        let spec = UsdtSpec::parse(ArgumentMachine::X86_64, "1@16(%rsi,%rsp,8)").unwrap();
        let indexed = spec.to_bytes(SpecLayout::Indexed, 0).unwrap();
        assert_eq!(indexed.len(), 304);
        assert_eq!(
            indexed[..18],
            [
                16, 0, 0, 0, 0, 0, 0, 0, 3, 0, 152, 0x30, 0, 0, 104, 0, 0, 56
            ]
        );
        assert_eq!(
            indexed[288..],
            [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
        );
        let error = Err(SpecLayoutError::Indexed { number: 1 });
        assert_eq!(spec.to_bytes(SpecLayout::Plain, 0), error);
    }

    #[test]
    fn the_layout_is_told_by_the_size_of_a_value() {
        assert_eq!(SpecLayout::of_value_size(208), Ok(SpecLayout::Plain));
        assert_eq!(SpecLayout::of_value_size(304), Ok(SpecLayout::Indexed));
        assert_eq!(
            SpecLayout::of_value_size(16),
            Err(SpecLayoutError::UnknownSize(16))
        );
    }

    fn operand() -> impl Strategy<Value = String> {
        "-?[1248]?f?@ ?[-+$%]?[0-9]{0,20}(\\(|\\[)?%?[a-z]{0,3}[0-9]{0,2}[,)\\] ]{0,2}.{0,4}"
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,64}", operands in prop::collection::vec(operand(), 0..14)) {
            for machine in [ArgumentMachine::X86_64, ArgumentMachine::Aarch64] {
                for text in [&text, &operands.join(" ")] {
                    if let Ok(spec) = UsdtSpec::parse(machine, text) {
                        prop_assert!(spec.arguments.len() <= MAX_USDT_ARGUMENTS);
                        prop_assert_eq!(spec.to_bytes(SpecLayout::Indexed, 0).unwrap().len(), 304);
                    }
                }
            }
        }
    }
}
