//! Tests that need the whole product; see `it/`.
