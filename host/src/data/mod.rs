//! Samples: where they are, in which order they are read, and how they become batches.
