//! What is kept in the cluster about ourselves.
//!
//! **Takes** objects of our own namespace. **Gives** what they say, typed, with a case for what cannot be read. **Never**
//! takes for permission what it could not read.

pub mod pause;
