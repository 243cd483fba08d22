//! Probes that a program's author placed: the notes of `.note.stapsdt`.
//!
//! Format: the systemtap project, "User Space Probe Implementation": notes of owner `stapsdt` and type 3, each with
//! three addresses (probe, base, semaphore) and three texts (provider, name, arguments).

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use object::Endianness;
use object::U32;
use object::U64;
use object::elf;
use object::pod;
use object::read::ReadRef;
use object::read::elf::NoteIterator;

use super::arguments::ArgumentError;
use super::arguments::ArgumentMachine;
use super::arguments::UsdtSpec;
use super::executable::Executable;
use super::executable::ExecutableError;
use super::executable::Place;
use super::executable::too_large;
use crate::links::ProbeSite;

/// The map that tells a program where the arguments of its probes are (`usdt.bpf.h` of libbpf).
pub const USDT_SPECS: &str = "__bpf_usdt_specs";

/// How many places one probe may have in a file.
pub const MAX_PROBE_SITES: usize = 1 << 14;

const OWNER: &[u8] = b"stapsdt\0";
const NOTE_TYPE: elf::NoteType = elf::NoteType(3);
/// Owner and content are padded to so many bytes, whatever the section says.
const NOTE_ALIGNMENT: u64 = 4;

/// Why a probe's places are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsdtError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] ExecutableError),
    /// It has no probe at all.
    #[error("the file has no USDT probes")]
    NoProbes,
    /// There is no probe of this name.
    #[error("there is no such probe")]
    Unknown,
    /// A note points to where nothing is.
    #[error("the probe at address {0:#x} is not in the file's code")]
    NotInFile(u64),
    /// The processor's registers are not known to us.
    #[error(
        "arguments of USDT probes are known for 64-bit x86 and ARM programs, not for ELF machine {0}"
    )]
    Machine(u16),
    /// An argument cannot be passed on.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
}

/// One probe, at all its places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsdtProbe {
    /// The places. The cookie of each is the index of its arguments in `specs`.
    pub sites: Vec<ProbeSite>,
    /// The different arguments: what goes into `__bpf_usdt_specs`.
    pub specs: Vec<UsdtSpec>,
}

impl UsdtProbe {
    /// The same with other cookies, for a map whose first `first` values are in use.
    #[must_use]
    pub fn with_first_spec(mut self, first: u32) -> Self {
        for site in &mut self.sites {
            site.cookie = site.cookie.saturating_add(first.into());
        }
        self
    }
}

struct Note<'data> {
    provider: &'data [u8],
    name: &'data [u8],
    arguments: &'data [u8],
    location: u64,
    base: u64,
    semaphore: u64,
}

impl<'data, R: ReadRef<'data>> Executable<'data, R> {
    /// The places and arguments of a probe.
    ///
    /// # Errors
    /// [`UsdtError`] when there is none, or libbpf's programs could not read its arguments.
    pub fn usdt(&self, provider: &str, name: &str) -> Result<UsdtProbe, UsdtError> {
        let mut any = false;
        let mut found = Vec::new();
        self.for_each_note(|note| {
            any = true;
            if note.provider == provider.as_bytes() && note.name == name.as_bytes() {
                found.push(note);
            }
        })?;
        match (found.len(), any) {
            (0, false) => return Err(UsdtError::NoProbes),
            (0, true) => return Err(UsdtError::Unknown),
            (count, _) if count > MAX_PROBE_SITES => {
                let count = u64::try_from(count).unwrap_or(u64::MAX);
                return Err(too_large("places of the probe", count, MAX_PROBE_SITES as u64).into());
            }
            _ => {}
        }
        self.probe(&found)
    }

    /// Calls `visit` with the provider and the name of every probe, as often as it has places.
    ///
    /// # Errors
    /// [`ExecutableError`] when the notes cannot be read.
    pub fn for_each_probe(&self, mut visit: impl FnMut(&str, &str)) -> Result<(), ExecutableError> {
        self.for_each_note(|note| {
            let texts = (
                core::str::from_utf8(note.provider),
                core::str::from_utf8(note.name),
            );
            if let (Ok(provider), Ok(name)) = texts {
                visit(provider, name);
            }
        })
    }

    fn probe(&self, notes: &[Note<'data>]) -> Result<UsdtProbe, UsdtError> {
        let base = self
            .section(".stapsdt.base")
            .map_or(0, |section| section.address);
        let mut probe = UsdtProbe::default();
        let mut specs = BTreeMap::<&[u8], u64>::new();
        let mut known = BTreeSet::new();
        for note in notes {
            let place = self.code(moved(note.location, base, note.base))?;
            let counter_offset = match note.semaphore {
                0 => 0,
                address => self.counter(moved(address, base, note.base))?,
            };
            let next = u64::try_from(probe.specs.len()).unwrap_or(u64::MAX);
            let cookie = *specs.entry(note.arguments).or_insert(next);
            if cookie == next {
                probe.specs.push(self.spec(note.arguments)?);
            }
            // Notes of discarded copies of an inline function can name one place twice.
            if known.insert((place.offset, counter_offset)) {
                probe.sites.push(ProbeSite {
                    offset: place.offset,
                    counter_offset,
                    cookie,
                });
            }
        }
        Ok(probe)
    }

    fn code(&self, address: u64) -> Result<Place, UsdtError> {
        let place = self.place(address).filter(|place| place.executable);
        place.ok_or(UsdtError::NotInFile(address))
    }

    fn counter(&self, address: u64) -> Result<u64, UsdtError> {
        let place = self.place(address).filter(|place| !place.executable);
        let place = place.ok_or(UsdtError::NotInFile(address))?;
        Ok(place.offset)
    }

    fn spec(&self, arguments: &[u8]) -> Result<UsdtSpec, UsdtError> {
        if arguments.is_empty() {
            return Ok(UsdtSpec::default());
        }
        let machine = match (self.machine, self.endian) {
            (elf::EM_X86_64, Endianness::Little) if self.wide => ArgumentMachine::X86_64,
            (elf::EM_AARCH64, Endianness::Little) if self.wide => ArgumentMachine::Aarch64,
            (other, _) => return Err(UsdtError::Machine(other.0)),
        };
        let text = core::str::from_utf8(arguments);
        let text = text.map_err(|_| ExecutableError::Damaged("the arguments are not text"))?;
        Ok(UsdtSpec::parse(machine, text)?)
    }

    fn for_each_note(&self, mut visit: impl FnMut(Note<'data>)) -> Result<(), ExecutableError> {
        let mut sections = self
            .sections
            .iter()
            .filter(|section| section.kind == elf::SHT_NOTE && section.name == b".note.stapsdt");
        let Some(section) = sections.next() else {
            return Ok(());
        };
        let bytes = self.bytes(section, "notes")?;
        // The header of a note is the same in both classes.
        let notes =
            NoteIterator::<elf::FileHeader64<Endianness>>::new(self.endian, NOTE_ALIGNMENT, bytes);
        let cut = |_| ExecutableError::Damaged("a note is cut");
        for note in notes.map_err(cut)? {
            let note = note.map_err(cut)?;
            // Whoever else puts notes here does not disturb.
            if note.name_bytes() == OWNER && note.n_type(self.endian) == NOTE_TYPE {
                let wrong = ExecutableError::Damaged("a note about a probe is not understood");
                visit(self.note(note.desc()).ok_or(wrong)?);
            }
        }
        Ok(())
    }

    fn note(&self, bytes: &'data [u8]) -> Option<Note<'data>> {
        let ([location, base, semaphore], texts) = self.addresses(bytes)?;
        let mut texts = texts.splitn(4, |byte| *byte == 0);
        let (provider, name, arguments) = (texts.next()?, texts.next()?, texts.next()?);
        // Without the NUL after the third text there is no fourth part.
        texts.next()?;
        // `:` alone is how some tools write that there are no arguments.
        let arguments = if arguments.starts_with(b":") {
            &[]
        } else {
            arguments
        };
        (!name.is_empty()).then_some(Note {
            provider,
            name,
            arguments,
            location,
            base,
            semaphore,
        })
    }

    /// The three addresses that a note begins with, and what follows them.
    fn addresses(&self, bytes: &'data [u8]) -> Option<([u64; 3], &'data [u8])> {
        if self.wide {
            let (words, rest) = pod::from_bytes::<[U64<Endianness>; 3]>(bytes).ok()?;
            return Some((words.map(|word| word.get(self.endian)), rest));
        }
        let (words, rest) = pod::from_bytes::<[U32<Endianness>; 3]>(bytes).ok()?;
        Some((words.map(|word| word.get(self.endian).into()), rest))
    }
}

/// An address after a prelinker moved the file: it corrects sections (`.stapsdt.base`), but not notes.
fn moved(address: u64, section_base: u64, note_base: u64) -> u64 {
    if section_base == 0 || note_base == 0 {
        return address;
    }
    address.wrapping_add(section_base.wrapping_sub(note_base))
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::string::ToString;
    use alloc::vec;

    use super::super::testing::CODE_ADDRESS;
    use super::super::testing::CODE_OFFSET;
    use super::super::testing::DATA_ADDRESS;
    use super::super::testing::DATA_OFFSET;
    use super::super::testing::TestFile;
    use super::*;

    fn site(inside: u64, counter_offset: u64, cookie: u64) -> ProbeSite {
        ProbeSite {
            offset: CODE_OFFSET + inside,
            counter_offset,
            cookie,
        }
    }

    fn look_up(mut file: TestFile, notes: &[Vec<u8>], name: &str) -> Result<UsdtProbe, UsdtError> {
        file.notes = notes.concat();
        let bytes = file.build();
        Executable::parse(bytes.as_slice())
            .unwrap()
            .usdt("app", name)
    }

    fn refusal(file: TestFile, notes: &[Vec<u8>]) -> String {
        look_up(file, notes, "start").unwrap_err().to_string()
    }

    #[test]
    fn a_probe_has_sites_that_share_specs() {
        let file = TestFile::default();
        let notes = [
            file.note([CODE_ADDRESS, 0, DATA_ADDRESS + 2], "app\0start\0-4@%edi\0"),
            file.raw_note(b"GNU\0", 3, b"not ours"),
            file.note(
                [CODE_ADDRESS + 4, 0, DATA_ADDRESS + 2],
                "app\0start\x008@%rdi\0",
            ),
            file.note(
                [CODE_ADDRESS + 8, 0, DATA_ADDRESS + 2],
                "app\0start\0-4@%edi\0",
            ),
            file.note(
                [CODE_ADDRESS + 8, 0, DATA_ADDRESS + 2],
                "app\0start\0-4@%edi\0",
            ),
            file.note([CODE_ADDRESS + 9, 0, 0], "app\0stop\0:\0"),
        ];
        let probe = look_up(file, &notes, "start").unwrap();
        let counter = DATA_OFFSET + 2;
        assert_eq!(
            probe.sites,
            [
                site(0, counter, 0),
                site(4, counter, 1),
                site(8, counter, 0)
            ]
        );
        let specs = ["-4@%edi", "8@%rdi"]
            .map(|text| UsdtSpec::parse(ArgumentMachine::X86_64, text).unwrap());
        assert_eq!(probe.specs, specs);
        assert_eq!(probe.with_first_spec(5).sites[1], site(4, counter, 6));
        let probe = look_up(TestFile::default(), &notes, "stop").unwrap();
        assert_eq!(probe.sites, [site(9, 0, 0)]);
        assert_eq!(probe.specs, [UsdtSpec::default()]);
    }

    #[test]
    fn notes_of_every_class_and_byte_order_are_read() {
        for (wide, big) in [(true, true), (false, true), (false, false)] {
            let machine = elf::EM_S390;
            let file = || TestFile {
                wide,
                big,
                machine,
                ..TestFile::default()
            };
            let plain = file().note([CODE_ADDRESS, 0, 0], "app\0start\0\0");
            assert_eq!(
                look_up(file(), &[plain], "start").unwrap().sites,
                [site(0, 0, 0)]
            );
            let arguments = file().note([CODE_ADDRESS, 0, 0], "app\0start\x004@%r2\0");
            assert_eq!(
                look_up(file(), &[arguments], "start"),
                Err(UsdtError::Machine(machine.0))
            );
        }
    }

    #[test]
    fn a_prelinked_file_is_corrected_by_its_base() {
        let file = TestFile {
            base: 0x1080,
            ..TestFile::default()
        };
        let notes = [file.note([0x40, 0x80, 0x2000], "app\0start\0\0")];
        let probe = look_up(file, &notes, "start").unwrap();
        assert_eq!(probe.sites, [site(0x40, DATA_OFFSET, 0)]);
    }

    #[test]
    fn what_cannot_be_probed_is_refused_with_its_reason() {
        let file = TestFile::default;
        let note = |addresses, texts| vec![file().note(addresses, texts)];
        let code = CODE_ADDRESS;
        assert_eq!(look_up(file(), &[], "start"), Err(UsdtError::NoProbes));
        assert_eq!(
            look_up(file(), &note([code, 0, 0], "app\0stop\0\0"), "start"),
            Err(UsdtError::Unknown)
        );
        let outside = note([0x9000, 0, 0], "app\0start\0\0");
        assert_eq!(
            look_up(file(), &outside, "start"),
            Err(UsdtError::NotInFile(0x9000))
        );
        let in_data = note([DATA_ADDRESS, 0, 0], "app\0start\0\0");
        assert_eq!(
            look_up(file(), &in_data, "start"),
            Err(UsdtError::NotInFile(DATA_ADDRESS))
        );
        let counter_in_code = note([code, 0, code], "app\0start\0\0");
        assert_eq!(
            look_up(file(), &counter_in_code, "start"),
            Err(UsdtError::NotInFile(code))
        );
        let float = note([code, 0, 0], "app\0start\x008f@%xmm0\0");
        assert!(refusal(file(), &float).contains("floating point"));
        for texts in [
            "app\0start\0",
            "app\0start\x004@%eax",
            "app",
            "",
            "app\0\0\0",
        ] {
            let error = refusal(file(), &note([code, 0, 0], texts));
            assert_eq!(
                error, "damaged ELF file: a note about a probe is not understood",
                "{texts:?}"
            );
        }
        let mut cut = note([code, 0, 0], "app\0start\0\0").concat();
        cut.truncate(20);
        assert_eq!(refusal(file(), &[cut]), "damaged ELF file: a note is cut");
    }
}
