//! What we store about the programs we manage, and what a user asks for.

mod draft;
mod program;
mod spec;

pub use draft::ProgramDraft;
pub use program::LoadRecord;
pub use program::ManagedMap;
pub use program::Program;
pub use spec::LoadSpec;
pub use spec::MAX_METADATA_ENTRIES;
pub use spec::MAX_PROGRAMS_PER_LOAD;
pub use spec::METADATA_APPLICATION;
pub use spec::ProgramRequest;
