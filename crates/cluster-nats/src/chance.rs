//! Random numbers, for pauses that nobody else makes.

use std::time::Duration;

/// A time between the half of `longest` and all of it.
pub(crate) fn less_up_to_half(longest: Duration) -> Duration {
    let number = getrandom::u32().unwrap_or(u32::MAX);
    let half = longest / 2;
    half + half.mul_f64(f64::from(number) / f64::from(u32::MAX))
}
