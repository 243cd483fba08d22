//! Members of chains as C: each a random list of steps, and each step one thing that programs do with what a chain
//! shares among its members: frame, registers, packet, maps, budgets, the ways to end.

use std::fmt::Write;

use bpfman_testing::Required;
use bpfman_testing::kernel_knows;

use crate::random::Random;

/// What a member does beyond arithmetic, packets and maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    Subprogram,
    GlobalFunction,
    Callback,
    ElementCallback,
    MemoryDynptr,
    PacketDynptr,
    Timer,
    TailCall,
    MayGoto,
    MayGotoWithoutEnd,
    Throw,
    SpinLock,
    Iterator,
    LegacyLoad,
    NewObject,
}

/// The programs that members call as tails, by their places in the array.
pub const TAILS: usize = 4;
/// A place of that array which stays empty.
const NO_TAIL: usize = TAILS;
/// The words of the map `state`: one for each member, and behind them those that all share.
const SHARED_WORD: usize = 60;

impl Feature {
    const ALL: &[Self] = &[
        Self::Subprogram,
        Self::GlobalFunction,
        Self::Callback,
        Self::ElementCallback,
        Self::MemoryDynptr,
        Self::PacketDynptr,
        Self::Timer,
        Self::TailCall,
        Self::MayGoto,
        Self::MayGotoWithoutEnd,
        Self::Throw,
        Self::SpinLock,
        Self::Iterator,
        Self::LegacyLoad,
        Self::NewObject,
    ];

    /// Those that this kernel has.
    pub fn usable(family: Family) -> Vec<Self> {
        let all = Self::ALL.iter().copied();
        all.filter(|feature| feature.there(family).is_ok())
            .collect()
    }

    /// What the refusal of a member names that can be in no chain for this.
    fn refused_for(self) -> Option<&'static str> {
        match self {
            Self::Throw => Some("calls bpf_throw "),
            Self::NewObject => Some("calls bpf_obj_new_impl "),
            _ => None,
        }
    }

    /// Whether this kernel has it, by a name in its types.
    fn there(self, family: Family) -> Required {
        let name = match (self, family) {
            (Self::Subprogram | Self::SpinLock | Self::TailCall, _) => return Ok(()),
            (Self::LegacyLoad, Family::Tc) => return Ok(()),
            (Self::LegacyLoad, Family::Xdp) => return Err("only programs of TC have it".into()),
            (Self::GlobalFunction, _) => return Ok(()),
            (Self::Callback, _) => "BPF_FUNC_loop",
            (Self::ElementCallback, _) => "BPF_FUNC_for_each_map_elem",
            (Self::MemoryDynptr, _) => "BPF_FUNC_dynptr_from_mem",
            (Self::PacketDynptr, Family::Xdp) => "bpf_dynptr_from_xdp",
            (Self::PacketDynptr, Family::Tc) => "bpf_dynptr_from_skb",
            (Self::Timer, _) => "BPF_FUNC_timer_init",
            (Self::MayGoto | Self::MayGotoWithoutEnd, _) => "may_goto_depth",
            (Self::Throw, _) => "bpf_throw",
            (Self::Iterator, _) => "bpf_iter_num_new",
            (Self::NewObject, _) => "bpf_obj_new_impl",
        };
        kernel_knows(name)
    }
}

/// The programs of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Xdp,
    Tc,
}

impl Family {
    fn verdicts(self) -> &'static [i32] {
        match self {
            Self::Xdp => &[0, 1, 2, 3, 4],
            Self::Tc => &[-1, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        }
    }

    /// What lets the next member run, unless something else is asked for.
    fn usual(self) -> i32 {
        match self {
            Self::Xdp => 2,
            Self::Tc => 3,
        }
    }

    fn context(self) -> &'static str {
        match self {
            Self::Xdp => "struct xdp_md",
            Self::Tc => "struct __sk_buff",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Tc => "tc",
        }
    }
}

/// One member.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    /// Its functions.
    pub code: String,
    /// What keeps it out of every chain, each in the words of a refusal.
    pub refused_for: Vec<&'static str>,
}

/// An object full of members.
pub struct Source {
    pub text: String,
    pub members: Vec<Member>,
    pub tails: Vec<String>,
}

/// Generates an object with as many members.
pub fn source(random: &mut Random, family: Family, count: usize, features: &[Feature]) -> Source {
    // A map of programs takes those of one kind, so that all members that have it are of that kind.
    let one_section = features
        .contains(&Feature::TailCall)
        .then(|| section(random, family));
    let members: Vec<Member> = (0..count)
        .map(|number| {
            let section = one_section.unwrap_or_else(|| section(random, family));
            member(random, family, section, number, features)
        })
        .collect();
    let mut text = PROLOGUE.to_owned();
    let mut tails = Vec::new();
    for number in 0..TAILS {
        let name = format!("tail_{number}");
        let verdict = verdict(random, family);
        let _ = writeln!(
            text,
            "SEC(\"{}\") int {name}({} *ctx) {{ mix({}, {number} + 1); return {verdict}; }}",
            one_section.unwrap_or(family.name()),
            family.context(),
            SHARED_WORD + 1
        );
        tails.push(name);
    }
    for member in &members {
        text.push_str(&member.code);
    }
    Source {
        text,
        members,
        tails,
    }
}

fn verdict(random: &mut Random, family: Family) -> i32 {
    match random.below(10) {
        0..6 => family.usual(),
        _ => random.pick(family.verdicts()),
    }
}

/// Where a program is: some of XDP take packets in fragments.
fn section(random: &mut Random, family: Family) -> &'static str {
    match family {
        Family::Xdp if random.below(4) == 0 => "xdp.frags",
        family => family.name(),
    }
}

fn member(
    random: &mut Random,
    family: Family,
    section: &str,
    number: usize,
    features: &[Feature],
) -> Member {
    let mut writer = Writer {
        family,
        number,
        functions: String::new(),
        refused_for: Vec::new(),
    };
    let mut body = String::new();
    for _ in 0..1 + random.below(5) {
        let step = match random.below(2) == 0 && !features.is_empty() {
            true => {
                let feature = random.pick(features);
                writer.feature(random, feature)
            }
            false => writer.plain(random),
        };
        let _ = writeln!(body, "\t{step}");
    }
    let name = format!("member_{number}");
    let last = match random.below(3) {
        0 => {
            let [one, other] = [verdict(random, family), verdict(random, family)];
            format!("acc & 1 ? {one} : {other}")
        }
        _ => verdict(random, family).to_string(),
    };
    let code = format!(
        "{}SEC(\"{section}\") int {name}({} *ctx)\n{{\n\t__u64 acc = get({number});\n{body}\tmix({number}, acc);\n\treturn {last};\n}}\n",
        writer.functions,
        family.context(),
    );
    Member {
        name,
        code,
        refused_for: writer.refused_for,
    }
}

/// Writes the steps of one member.
struct Writer {
    family: Family,
    number: usize,
    /// What its main function calls.
    functions: String,
    refused_for: Vec<&'static str>,
}

impl Writer {
    /// A step that every kernel takes.
    fn plain(&self, random: &mut Random) -> String {
        let constant = 1 + random.below(250);
        let offset = random.below(80);
        match random.below(7) {
            0 => format!("mix({}, acc + {constant});", self.number),
            1 => format!("mix({SHARED_WORD}, acc + {constant}); acc += get({SHARED_WORD});"),
            2 => format!("PACKET({offset}, {constant})"),
            3 => {
                let words = 1 + random.below(24);
                format!("STACK({words}, {constant})")
            }
            4 => {
                let verdict = verdict(random, self.family);
                let bit = random.below(8);
                format!("if (acc >> {bit} & 1) return {verdict};")
            }
            5 => match self.family {
                Family::Xdp => format!("XDP_TAIL({})", random.pick(&[-4, 4, 8])),
                Family::Tc => format!("FIELDS({constant})"),
            },
            _ => match self.family {
                Family::Xdp => {
                    format!("acc = acc * 31 + (ctx->data_end - ctx->data) + {constant};")
                }
                Family::Tc => format!("SKB_BYTES({offset}, {constant})"),
            },
        }
    }

    fn feature(&mut self, random: &mut Random, feature: Feature) -> String {
        let constant = 1 + random.below(60);
        self.refused_for.extend(feature.refused_for());
        match feature {
            Feature::Subprogram
            | Feature::GlobalFunction
            | Feature::Callback
            | Feature::ElementCallback
            | Feature::Timer => self.function(feature, constant),
            Feature::MemoryDynptr => format!("MEMORY_DYNPTR({constant})"),
            Feature::PacketDynptr => format!("PACKET_DYNPTR({}, {constant})", self.family.name()),
            Feature::TailCall => {
                let to = random.pick(&[0, 1, 2, 3, NO_TAIL]);
                format!("if (acc & 2) bpf_tail_call(ctx, &tails, {to});")
            }
            Feature::MayGoto => format!("MAY_GOTO({constant})"),
            Feature::MayGotoWithoutEnd => "if ((acc & 3) == 1) MAY_GOTO_WITHOUT_END()".to_owned(),
            Feature::Throw => {
                let verdict = verdict(random, self.family);
                format!("if (acc & 4) bpf_throw({verdict});")
            }
            Feature::SpinLock => format!("SPIN_LOCK({constant})"),
            Feature::Iterator => format!("ITERATOR({constant})"),
            Feature::LegacyLoad => {
                format!("acc = acc * 31 + load_byte(ctx, {});", random.below(90))
            }
            Feature::NewObject => format!("NEW_OBJECT({constant})"),
        }
    }

    /// Writes a function of the member's own, and answers the step that has it called.
    fn function(&mut self, feature: Feature, constant: usize) -> String {
        let name = format!("f_{}_{}", self.number, self.functions.len());
        let context = self.family.context();
        let all = "struct accumulated all = { acc }";
        let (function, step) = match feature {
            Feature::GlobalFunction => (
                format!("__noinline int {name}({context} *ctx, int from) {{ GLOBAL({constant}) }}"),
                format!("acc += {name}(ctx, acc & 31);"),
            ),
            Feature::Callback => (
                format!(
                    "static long {name}(__u32 at, struct accumulated *all) {{ \
                     all->acc = all->acc * 31 + at + {constant}; return all->acc % 7 == 3; }}"
                ),
                format!(
                    "{{ {all}; acc += bpf_loop({constant}, {name}, &all, 0); acc ^= all.acc; }}"
                ),
            ),
            Feature::ElementCallback => (
                format!(
                    "static long {name}(void *map, __u32 *key, struct locked *value, struct accumulated *all) {{ \
                     all->acc = all->acc * 31 + *key + value->count + {constant}; return 0; }}"
                ),
                format!(
                    "{{ {all}; bpf_for_each_map_elem(&locks, {name}, &all, 0); acc ^= all.acc; }}"
                ),
            ),
            Feature::Timer => (
                format!(
                    "static int {name}(void *map, __u32 *key, struct timed *value) {{ \
                     value->count += {constant}; return 0; }}"
                ),
                format!("TIMER({name})"),
            ),
            _ => (
                format!(
                    "static __noinline __u64 {name}({context} *ctx, __u64 acc) {{ \
                     STACK(3, {constant}) PACKET({constant}, 1) return acc; }}"
                ),
                format!("acc = {name}(ctx, acc);"),
            ),
        };
        let _ = writeln!(self.functions, "{function}");
        step
    }
}

/// What all members use.
const PROLOGUE: &str = r#"
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct accumulated { __u64 acc; };
struct all { __u64 words[64]; };
struct locked { struct bpf_spin_lock lock; __u64 count; };
struct timed { struct bpf_timer timer; __u64 count; };
struct object { __u64 value; };

struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct all); } state SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4); __type(key, __u32); __type(value, struct locked); } locks SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct timed); } timers SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 5); __type(key, __u32); __type(value, __u32); } tails SEC(".maps");

extern int bpf_dynptr_from_xdp(struct xdp_md *ctx, __u64 flags, struct bpf_dynptr *to) __ksym;
extern int bpf_dynptr_from_skb(struct __sk_buff *ctx, __u64 flags, struct bpf_dynptr *to) __ksym;
extern void bpf_throw(__u64 cookie) __ksym;
struct bpf_iter_num { __u64 opaque; } __attribute__((aligned(8)));
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
extern void *bpf_obj_new_impl(__u64 type, void *meta) __ksym;
extern void bpf_obj_drop_impl(void *object, void *meta) __ksym;
unsigned long long load_byte(void *skb, unsigned long long offset) asm("llvm.bpf.load.byte");

static __always_inline __u64 get(__u32 word)
{
	__u32 zero = 0;
	struct all *all = bpf_map_lookup_elem(&state, &zero);

	return all ? all->words[word] : 0;
}

static __always_inline void mix(__u32 word, __u64 value)
{
	__u32 zero = 0;
	struct all *all = bpf_map_lookup_elem(&state, &zero);

	if (all)
		all->words[word] = all->words[word] * 31 + value;
}

#define PACKET(offset, value) { \
	unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end; \
	if (data + offset + 1 <= end) { acc = acc * 31 + data[offset]; data[offset] ^= value; } \
}
#define STACK(count, value) { \
	volatile __u64 room[count]; \
	room[0] = acc; room[count - 1] = acc ^ value; acc += room[0] * 3 + room[count - 1]; \
}
#define XDP_TAIL(by) { \
	if (ctx->data_end - ctx->data > 60 || by > 0) acc += bpf_xdp_adjust_tail(ctx, by); \
}
#define FIELDS(value) { \
	acc = acc * 31 + ctx->mark + ctx->cb[1]; ctx->mark = acc; ctx->cb[1] = acc >> 3; ctx->priority = value; \
}
#define SKB_BYTES(offset, value) { \
	__u32 word = 0; \
	if (!bpf_skb_load_bytes(ctx, offset, &word, 4)) acc = acc * 31 + word; \
	word ^= value; \
	bpf_skb_store_bytes(ctx, offset, &word, 4, 0); \
}
#define GLOBAL(value) \
	unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end; \
	int sum = 0; \
	if (from < 0 || from > 1000) return 1; \
	data += from; \
	for (int i = 0; i < 32; i++) { \
		if (data + i + 1 > end) return sum; \
		unsigned char byte = data[i]; \
		if (byte & 1) sum += 3 + value; else if (byte & 2) sum ^= 5; \
	} \
	return sum;
#define MEMORY_DYNPTR(value) { \
	__u32 zero = 0; __u64 word = 0; struct bpf_dynptr dynptr; \
	struct all *all = bpf_map_lookup_elem(&state, &zero); \
	if (all) { \
		bpf_dynptr_from_mem(all, sizeof(*all), 0, &dynptr); \
		bpf_dynptr_read(&word, 8, &dynptr, 8 * 62, 0); \
		word = word * 31 + value + acc; \
		bpf_dynptr_write(&dynptr, 8 * 62, &word, 8, 0); \
		acc += word; \
	} \
}
#define PACKET_DYNPTR(family, value) PACKET_DYNPTR_##family(value)
#define PACKET_DYNPTR_xdp(value) PACKET_DYNPTR_OF(bpf_dynptr_from_xdp, value)
#define PACKET_DYNPTR_tc(value) PACKET_DYNPTR_OF(bpf_dynptr_from_skb, value)
#define PACKET_DYNPTR_OF(from, value) { \
	struct bpf_dynptr dynptr; __u32 word = 0; \
	if (!from(ctx, 0, &dynptr)) { bpf_dynptr_read(&word, 4, &dynptr, value, 0); acc = acc * 31 + word; } \
}
#define TIMER(callback) { \
	__u32 zero = 0; struct timed *timed = bpf_map_lookup_elem(&timers, &zero); \
	if (timed) { \
		bpf_timer_init(&timed->timer, &timers, 1); \
		acc += bpf_timer_set_callback(&timed->timer, callback); \
		acc += bpf_timer_start(&timed->timer, 3600000000000ULL, 0); \
		acc += bpf_timer_cancel(&timed->timer); \
	} \
}
/* The instruction itself: older compilers have no name for it. */
#define MAY_GOTO_LABEL(label) \
	asm volatile goto("1:.byte 0xe5; .byte 0; .long ((%l[" #label "] - 1b - 8) / 8) & 0xffff; .short 0" :::: label)
#define MAY_GOTO(count) { \
	__label__ out; __u64 sum = 0; \
	for (int i = 0; i < count; i++) { sum = sum * 3 + i; MAY_GOTO_LABEL(out); } \
	out:; acc += sum; \
}
#define MAY_GOTO_WITHOUT_END() { \
	__label__ out; volatile __u64 turns = 0; \
	for (;;) { turns++; MAY_GOTO_LABEL(out); } \
	out:; acc += turns > 100; \
}
#define SPIN_LOCK(value) { \
	__u32 key = acc & 3; struct locked *locked = bpf_map_lookup_elem(&locks, &key); \
	if (locked) { bpf_spin_lock(&locked->lock); locked->count = locked->count * 31 + value; bpf_spin_unlock(&locked->lock); } \
}
#define ITERATOR(count) { \
	struct bpf_iter_num it; int *at; \
	bpf_iter_num_new(&it, 0, count); \
	while ((at = bpf_iter_num_next(&it))) acc = acc * 3 + *at; \
	bpf_iter_num_destroy(&it); \
}
#define NEW_OBJECT(number) { \
	struct object *object = bpf_obj_new_impl(bpf_core_type_id_local(struct object), 0); \
	if (object) { object->value = acc + number; acc += object->value * 3; bpf_obj_drop_impl(object, 0); } \
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
"#;
