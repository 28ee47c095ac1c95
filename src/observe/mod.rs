//! From the world to facts: watches, kubelets, metrics and events become [`Observation`](crate::observation::Observation)s.
//!
//! **Takes** the API server's watches, the kubelets' pages and `metrics.k8s.io`. **Gives** facts, one bounded stream of
//! them. **Never** writes to the cluster, decides anything, or takes what it could not read for a zero.

pub mod page;
