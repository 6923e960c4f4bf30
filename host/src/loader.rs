//! Libraries at run time.
