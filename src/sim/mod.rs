//! A seeded cluster that emits facts and obeys plans: weather and people in, truth out.
//!
//! **Takes** a seed, a family (or a nature, or a recording of real checks), and what the engine decides: changes, and
//! numbers that ride on the users' rollouts. **Gives** observations as a daemon would come to know them, and the truth
//! that no daemon knows: which restarts were false, when faults were found, what it all cost. **Never** uses the
//! estimator's assumptions: it knows the words and the kubelet's prober, and nothing of evidence, model or decision. A
//! simulator that shares our assumptions proves nothing.
//!
//! What a check meets at a moment does not depend on who asks: two policies on one seed meet the same stalls, so their
//! difference is their own. What does depend on them is modelled as consequence: missing replicas press on the others,
//! restarted containers are cold, and a fault ends with its container.

mod backoff;
mod chance;
mod family;
mod fleet;
mod lives;
mod numbers;
mod pod;
mod recording;
mod setup;
mod slot;
mod truth;
mod voice;
mod weather;
mod wild;
mod worker;
mod world;

pub use chance::Length;
pub use family::{Family, Nature, Refusals, Stalls, Twist};
pub use fleet::Fleet;
pub use numbers::Numbers;
pub use recording::{Recording, Row};
pub use setup::{Losses, MONDAY, Node, Setup, allow_all};
pub use truth::{Detection, Removal, Truth, carrying_cost};
pub use world::{Pause, World};
