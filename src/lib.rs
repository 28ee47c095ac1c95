//! probe-tuner measures how Kubernetes health checks really behave and keeps their numbers right.
