//! The flags of open_clip and of VL Hub: read beside this program's own, and translated into a run file.
//!
//! One table (`table`) has every flag of both programs, with what it becomes here or why it is refused. Reading the command line (`split`),
//! translating it (`translate`), the nearest name of a misspelt flag and the page `host/FLAGS.md` (`page`) all follow from it.

mod flag;
mod given;
pub mod page;
mod split;
mod table;
mod translate;

pub use flag::{CompatFlag, FlagEffect, FlagOrigin, FlagValue};
pub use given::{GivenFlag, GivenFlags};
pub use split::{SplitLine, split};
pub use table::{GROUPS, all};
pub use translate::{FlagTranslation, Purpose, Request, only_measures, refuse_foreign_checkpoint, translate};
