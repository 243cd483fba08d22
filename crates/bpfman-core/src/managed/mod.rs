//! What we store about the programs we manage, and what a user asks for.

mod dispatcher;
mod draft;
mod link;
mod program;
mod recovery;
mod spec;

pub use dispatcher::Dispatcher;
pub use dispatcher::DispatcherDraft;
pub use dispatcher::DispatcherForm;
pub use dispatcher::Holder;
pub use dispatcher::LeftOut;
pub use draft::ProgramDraft;
pub use link::Link;
pub use link::LinkDraft;
pub use program::LoadRecord;
pub use program::ManagedMap;
pub use program::Program;
pub use recovery::Recovery;
pub use spec::LoadSpec;
pub use spec::MAX_METADATA_ENTRIES;
pub use spec::MAX_PROGRAMS_PER_LOAD;
pub use spec::METADATA_APPLICATION;
pub use spec::ObjectSource;
pub use spec::ProgramRequest;
