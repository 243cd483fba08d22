//! What we store about the programs we manage, and what a user asks for.

mod attach;
mod draft;
mod link;
mod program;
mod spec;

pub use attach::AttachRequest;
pub use attach::AttachSpec;
pub use attach::InterfaceRequest;
pub use attach::PERF_EVENTS;
pub use attach::PerfEvent;
pub use attach::ProbedFile;
pub use draft::ProgramDraft;
pub use link::AttachPoint;
pub use link::FilterPlace;
pub use link::Hook;
pub use link::Link;
pub use link::LinkDetails;
pub use link::LinkDraft;
pub use link::LinkInterface;
pub use link::NetfilterFamily;
pub use link::NetfilterHook;
pub use link::UprobeDetails;
pub use program::LoadRecord;
pub use program::ManagedMap;
pub use program::Program;
pub use spec::LoadSpec;
pub use spec::MAX_METADATA_ENTRIES;
pub use spec::MAX_PROGRAMS_PER_LOAD;
pub use spec::METADATA_APPLICATION;
pub use spec::ProgramRequest;
