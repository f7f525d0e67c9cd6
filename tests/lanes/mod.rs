//! Two lanes, one behaviour: generated requests and answers through both, and what there is to see of them compared.
//!
//! ```text
//!  requests ─┐                    ┌─ outcome of the full lane ─┐
//!  replies ──┼─► case ──► stage ──┤                            ├─► compare ──► again? ──► minimize ──► report
//!  mutate ───┘                    └─ outcome of the lean lane ─┘
//! ```

pub mod allowance;
pub mod answer_words;
pub mod arena;
pub mod campaign;
pub mod case;
pub mod compare;
pub mod generate;
pub mod known;
pub mod laws;
pub mod message;
pub mod minimize;
pub mod mutate;
pub mod origin;
pub mod random;
pub mod replies;
pub mod requests;
pub mod show;
pub mod stage;
pub mod visitor;
pub mod words;
