//! Layers that towers and heads share.
