//! One instruction, and those that a chain is joined with.
//!
//! Format: `struct bpf_insn` and the codes of `linux/bpf.h`; `Documentation/bpf/standardization` of the kernel.

use alloc::vec::Vec;

/// `sizeof(struct bpf_insn)`.
pub(super) const INSTRUCTION_BYTES: usize = 8;

/// What a function answers.
pub(super) const R0: u8 = 0;
/// The first two arguments of a call; a call spoils the registers up to 5.
pub(super) const R1: u8 = 1;
pub(super) const R2: u8 = 2;
/// Some of those that a call keeps.
pub(super) const R6: u8 = 6;
pub(super) const R7: u8 = 7;
pub(super) const R8: u8 = 8;
/// The end of the function's stack.
pub(super) const R10: u8 = 10;

/// `BPF_FUNC_map_lookup_elem`, `BPF_FUNC_ktime_get_ns` and `BPF_FUNC_tail_call`.
pub(super) const LOOK_UP: i32 = 1;
pub(super) const READ_CLOCK: i32 = 5;
pub(super) const TAIL_CALL: i32 = 12;

/// Kinds of `BPF_CALL`, in its source register: a helper, `BPF_PSEUDO_CALL`, `BPF_PSEUDO_KFUNC_CALL`.
pub(super) const HELPER: u8 = 0;
pub(super) const FUNCTION: u8 = 1;
pub(super) const KERNEL_FUNCTION: u8 = 2;

/// `BPF_PSEUDO_MAP_FD`, in the source register of a wide load.
const MAP: u8 = 1;

const WIDE_LOAD: u8 = 0x18;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const JUMP: u8 = 0x05;
/// `BPF_JMP32 | BPF_JA`, whose distance is in `imm`.
const LONG_JUMP: u8 = 0x06;

/// One instruction, or the second half of a wide load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u8,
    /// The register it changes.
    pub(super) destination: u8,
    /// The register it reads, or which kind of load or call it is.
    pub(super) source: u8,
    pub(super) offset: i16,
    pub(super) immediate: i32,
}

/// What an instruction means to who moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It goes on with the next one and says nothing about places.
    Plain,
    /// `BPF_LD | BPF_IMM | BPF_DW`: it takes two places.
    WideLoad(Address),
    /// `BPF_LD_ABS` or `BPF_LD_IND`: it returns 0 from its function when the packet is too short.
    PacketLoad,
    /// It goes on somewhere else, counted from the next instruction.
    Jump(i32),
    /// It goes on there or with the next one.
    Branch(i32),
    /// `BPF_MAY_GOTO`: the same, and what decides is how often its function has done so.
    MayGoto(i32),
    /// A call of what its source register says.
    Call,
    Exit,
    /// A jump or a call of a kind that came after this was written.
    Unknown,
}

/// What a wide load loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Constant,
    /// `BPF_PSEUDO_MAP_FD` or `BPF_PSEUDO_MAP_VALUE`.
    Map,
    /// `BPF_PSEUDO_BTF_ID`.
    KernelVariable,
    /// `BPF_PSEUDO_FUNC`.
    Function,
    Unknown,
}

impl Instruction {
    /// Reads all instructions; `None` for a part of one at the end.
    pub(super) fn read_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let (instructions, rest) = bytes.as_chunks::<INSTRUCTION_BYTES>();
        rest.is_empty().then(|| {
            instructions
                .iter()
                .map(|bytes| Self::read(*bytes))
                .collect()
        })
    }

    fn read(bytes: [u8; INSTRUCTION_BYTES]) -> Self {
        let [code, registers, o0, o1, i0, i1, i2, i3] = bytes;
        let (low, high) = (registers & 0xf, registers >> 4);
        // Bit fields: the first one is in the bits that the byte order puts first.
        let (destination, source) = if cfg!(target_endian = "little") {
            (low, high)
        } else {
            (high, low)
        };
        Self {
            code,
            destination,
            source,
            offset: i16::from_ne_bytes([o0, o1]),
            immediate: i32::from_ne_bytes([i0, i1, i2, i3]),
        }
    }

    pub(super) fn bytes(self) -> [u8; INSTRUCTION_BYTES] {
        let registers = if cfg!(target_endian = "little") {
            self.destination | self.source << 4
        } else {
            self.destination << 4 | self.source
        };
        let [o0, o1] = self.offset.to_ne_bytes();
        let [i0, i1, i2, i3] = self.immediate.to_ne_bytes();
        [self.code, registers, o0, o1, i0, i1, i2, i3]
    }

    pub(super) fn kind(self) -> Kind {
        const CLASS: u8 = 0x07;
        const MODE: u8 = 0xe0;
        const OPERATION: u8 = 0xf0;
        const SOURCE_IS_REGISTER: u8 = 0x08;
        let (class, operation) = (self.code & CLASS, self.code & OPERATION);
        match (class, operation) {
            _ if self.code == WIDE_LOAD => Kind::WideLoad(self.address()),
            (0, _) if matches!(self.code & MODE, 0x20 | 0x40) => Kind::PacketLoad,
            // 0 is the second half of a wide load.
            (0, _) if self.code != 0 => Kind::Unknown,
            _ if self.code == JUMP => Kind::Jump(self.offset.into()),
            _ if self.code == LONG_JUMP => Kind::Jump(self.immediate),
            _ if self.code == CALL => Kind::Call,
            _ if self.code == EXIT => Kind::Exit,
            // Jumps through a register or a table, and calls and exits that are none.
            (5 | 6, 0x00 | 0x80 | 0x90 | 0xf0) => Kind::Unknown,
            // The conditional jump that counts its loops knows no registers.
            (6, 0xe0) => Kind::Unknown,
            (5, 0xe0) if self.code & SOURCE_IS_REGISTER != 0 || self.source != 0 => Kind::Unknown,
            (5, 0xe0) => Kind::MayGoto(self.offset.into()),
            (5 | 6, _) => Kind::Branch(self.offset.into()),
            _ => Kind::Plain,
        }
    }

    /// Whether this is a plain instruction that was known when this was written: arithmetic, loads, stores, atomics.
    pub(super) fn is_known_plain(self) -> bool {
        const CLASS: u8 = 0x07;
        const MODE: u8 = 0xe0;
        const OPERATION: u8 = 0xf0;
        /// `BPF_MEM`, `BPF_MEMSX` and `BPF_ATOMIC`.
        const MEMORY: u8 = 0x60;
        const SIGNED: u8 = 0x80;
        const ATOMIC: u8 = 0xc0;
        /// `BPF_END`, the last operation of arithmetic.
        const LAST_OPERATION: u8 = 0xd0;
        match (self.code & CLASS, self.code & MODE) {
            (0, _) => self.code == 0,
            (1, MEMORY | SIGNED) | (2, MEMORY) | (3, MEMORY | ATOMIC) => true,
            (4 | 7, _) => self.code & OPERATION <= LAST_OPERATION,
            _ => false,
        }
    }

    pub(super) fn calls_tail(self) -> bool {
        self.kind() == Kind::Call && self.source == HELPER && self.immediate == TAIL_CALL
    }

    fn address(self) -> Address {
        match self.source {
            0 => Address::Constant,
            1 | 2 => Address::Map,
            3 => Address::KernelVariable,
            4 => Address::Function,
            _ => Address::Unknown,
        }
    }

    const fn new(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Self {
        Self {
            code,
            destination,
            source,
            offset,
            immediate,
        }
    }

    /// `destination = immediate`.
    pub(super) const fn set(destination: u8, immediate: i32) -> Self {
        Self::new(0xb7, destination, 0, 0, immediate)
    }

    /// `destination = source`.
    pub(super) const fn copy(destination: u8, source: u8) -> Self {
        Self::new(0xbf, destination, source, 0, 0)
    }

    /// `destination += immediate`.
    pub(super) const fn add(destination: u8, immediate: i32) -> Self {
        Self::new(0x07, destination, 0, 0, immediate)
    }

    /// `destination += source`.
    pub(super) const fn add_register(destination: u8, source: u8) -> Self {
        Self::new(0x0f, destination, source, 0, 0)
    }

    /// `destination -= source`.
    pub(super) const fn subtract_register(destination: u8, source: u8) -> Self {
        Self::new(0x1f, destination, source, 0, 0)
    }

    /// `destination = *(u64 *)(base + offset)`.
    pub(super) const fn load(destination: u8, base: u8, offset: i16) -> Self {
        Self::new(0x79, destination, base, offset, 0)
    }

    /// `*(u64 *)(base + offset) = source`.
    pub(super) const fn store(base: u8, offset: i16, source: u8) -> Self {
        Self::new(0x7b, base, source, offset, 0)
    }

    /// `*(u32 *)(base + offset) = immediate`.
    pub(super) const fn store_word(base: u8, offset: i16, immediate: i32) -> Self {
        Self::new(0x62, base, 0, offset, immediate)
    }

    /// Both halves of a load of a map's address.
    pub(super) const fn load_map(destination: u8) -> [Self; 2] {
        let second = Self::new(0, 0, 0, 0, 0);
        [Self::new(WIDE_LOAD, destination, MAP, 0, 0), second]
    }

    /// `goto offset`.
    pub(super) const fn jump(offset: i16) -> Self {
        Self::new(JUMP, 0, 0, offset, 0)
    }

    /// `if register == 0 goto offset`.
    pub(super) const fn jump_if_null(register: u8, offset: i16) -> Self {
        Self::new(0x15, register, 0, offset, 0)
    }

    /// `if r0 == verdict goto offset`, of which the kernel reads 32 bits.
    pub(super) const fn jump_if_verdict(verdict: i32, offset: i16) -> Self {
        Self::new(0x16, R0, 0, offset, verdict)
    }

    pub(super) const fn call_helper(helper: i32) -> Self {
        Self::new(CALL, 0, HELPER, 0, helper)
    }

    /// A call of a function of the program; where it is comes later.
    pub(super) const fn call_function() -> Self {
        Self::new(CALL, 0, FUNCTION, 0, 0)
    }

    pub(super) const fn exit() -> Self {
        Self::new(EXIT, 0, 0, 0, 0)
    }
}
