//! What a run writes.
