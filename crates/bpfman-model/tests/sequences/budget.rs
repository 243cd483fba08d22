//! How many sequences are run, and which.

use std::cell::RefCell;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use proptest::strategy::Strategy;
use proptest::test_runner::Config;
use proptest::test_runner::RngSeed;
use proptest::test_runner::TestError;
use proptest::test_runner::TestRunner;

/// Sequences of each kind in an ordinary run, always the same ones: it fails for what was changed, not by chance.
const SEQUENCES: u64 = 12_000;
/// How long to go on with sequences that nobody has seen, in seconds; see `make soak`.
const SECONDS: &str = "BPFMAN_SOAK_SECONDS";
/// The only sequence to run.
const SEED: &str = "BPFMAN_SOAK_SEED";

/// What was run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) events: usize,
    pub(crate) refused: usize,
    pub(crate) killed: usize,
    pub(crate) broken: usize,
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// Plays a sequence for each seed, which is all that decides it.
pub(crate) fn spend<S: Strategy>(kind: &str, sequences: &S, play: impl Fn(&S::Value) -> Count) {
    let start = Instant::now();
    let (seconds, only) = (number(SECONDS), number(SEED));
    let mut seeds: Box<dyn Iterator<Item = u64>> = match (only, seconds) {
        (Some(seed), _) => Box::new(std::iter::once(seed)),
        (None, Some(seconds)) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let end = Duration::from_secs(seconds);
            Box::new((now.as_secs() * 1_000_000..).take_while(move |_| start.elapsed() < end))
        }
        (None, None) => Box::new(0..SEQUENCES),
    };
    let total = RefCell::new(Count::default());
    let played = seeds
        .by_ref()
        .inspect(|seed| play_one(kind, *seed, sequences, &play, &total))
        .count();
    let Count {
        events,
        refused,
        killed,
        broken,
    } = total.into_inner();
    println!(
        "{kind}: {played} sequences, {events} events, {refused} refused at a step, {killed} killed, {broken} broken \
         from outside, {} s",
        start.elapsed().as_secs()
    );
}

fn play_one<S: Strategy>(
    kind: &str,
    seed: u64,
    sequences: &S,
    play: &impl Fn(&S::Value) -> Count,
    total: &RefCell<Count>,
) {
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let done = TestRunner::new(config).run(sequences, |sequence| {
        let count = play(&sequence);
        let mut total = total.borrow_mut();
        total.events += count.events;
        total.refused += count.refused;
        total.killed += count.killed;
        total.broken += count.broken;
        Ok(())
    });
    match done {
        Ok(()) => {}
        Err(TestError::Fail(reason, sequence)) => {
            panic!("{kind}, seed {seed} (again: {SEED}={seed}): {reason}\nshortest: {sequence:?}")
        }
        Err(TestError::Abort(reason)) => panic!("{kind}, seed {seed}: {reason}"),
    }
}
