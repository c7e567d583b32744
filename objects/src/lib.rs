//! The model and the store.
