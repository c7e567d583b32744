//! Everything at once, with kills at random: nothing acknowledged is lost, nothing is left broken
//! (REL-041). The short form is bounded by its commands, the long form takes half an hour.

use crate::load::Load;
use crate::sandbox::{World, long};
use std::time::{Duration, Instant};

/// REL-041, REL-005, REL-025: a mixed load in which every third command is killed.
#[test]
fn everything_at_once_with_kills_loses_nothing() {
    let begun = Instant::now();
    let goes_on = |round: u64| match long() {
        true => begun.elapsed() < Duration::from_secs(30 * 60),
        false => round < 2,
    };
    let mut round = 0;
    while goes_on(round) {
        let world = World::new();
        std::fs::create_dir(world.path("disk")).unwrap();
        let load = Load::begin(&world, &world.path("disk"), 41_000 + round, 3);
        for part in 0..3 {
            load.carry_on(8);
            load.check(&load.acknowledged(), &format!("round {round}, part {part}"));
        }
        round += 1;
    }
    println!("{round} rounds");
}
