//! Part of the data path.
