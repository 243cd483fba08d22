//! The words every other module speaks: ids, paths, times, names and the table of program types.

mod encoding;
mod ids;
mod layout;
mod name;
mod path;
mod program_type;
mod time;

pub use encoding::Base64Bytes;
pub use encoding::Tag;
pub use ids::MapId;
pub use ids::ProgramId;
pub use layout::RuntimeLayout;
pub use name::MAX_NAME_BYTES;
pub use name::NameError;
pub use name::PinName;
pub use path::AbsolutePath;
pub use path::MAX_PATH_BYTES;
pub use path::PathError;
pub use program_type::AttachFunctionRule;
pub use program_type::F_SLEEPABLE;
pub use program_type::F_XDP_HAS_FRAGS;
pub use program_type::KernelProgramType;
pub use program_type::ProgramType;
pub use program_type::SectionMatch;
pub use program_type::UnknownProgramType;
pub use program_type::section_match;
pub use time::KernelTime;
pub use time::UnixTime;
