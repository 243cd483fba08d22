//! Decisions: pure functions from facts to plans.

mod labels;
mod load;
mod reconcile;
mod refusal;
mod request;
mod sharing;
#[cfg(test)]
mod tests;
mod unload;

pub use labels::LabelSelector;
pub use labels::LabelSelectorError;
pub use load::LoadSnapshot;
pub use load::plan_load;
pub use reconcile::orphaned_programs;
pub use reconcile::reconcile_actions;
pub use refusal::LoadRefusal;
pub use request::CheckedLoad;
pub use request::CheckedProgram;
pub use request::check_load;
pub use sharing::Sharer;
pub use sharing::map_users;
pub use unload::UnloadRefusal;
pub use unload::UnloadSnapshot;
pub use unload::plan_unload;
