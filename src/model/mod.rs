//! Turns evidence into beliefs: the tail of a probe's stalls and the rate of false restarts of any setting.
//!
//! **Takes** evidence. **Gives** rates with their uncertainty. **Never** answers as if it knew where too little was
//! seen.
