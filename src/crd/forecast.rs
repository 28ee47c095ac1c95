//! What is foretold of a probe, as it travels in the status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A forecast: when the timeout will be reached. It moves no number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The beginning of the hour in which it is expected; absent while nothing is foretold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub at: Option<String>,
    /// It counts as right if it comes true within so many hours of that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_hours: Option<i64>,
    /// How likely that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// What it follows from: season or trend.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub basis: Option<String>,
    /// Forecasts that came true.
    #[schemars(range(min = 0))]
    pub hits: i64,
    /// Forecasts that did not.
    #[schemars(range(min = 0))]
    pub misses: i64,
    /// Times that the timeout was reached and not foretold.
    #[schemars(range(min = 0))]
    pub surprises: i64,
}
