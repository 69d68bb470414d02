//! All fuzzers: the program's name tells which parser it is for. What each of them checks stands in
//! `fuzzing` of firstboot and imgbuild.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::time::Duration;

/// The longest that any input may take, of this thread's processor time: on a busy PC nothing else
/// says that a parser is slow.
const LONGEST: Duration = Duration::from_secs(1);

fn target() -> fn(&[u8]) {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let name = env!("CARGO_BIN_NAME");
        let all = firstboot::fuzzing::TARGETS.iter();
        let mut all = all.chain(imgbuild::fuzzing::TARGETS);
        let (_, run) = all.find(|(target, _)| *target == name).expect("a target");
        *run
    })
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// What takes the square of its input's length shows it only in long ones, which a fuzzer hardly makes: some
/// inputs are tried once more, repeated up to this length.
const LONG: usize = 256 << 10;

fn judge(data: &[u8]) {
    let start = now();
    target()(data);
    let took = now() - start;
    assert!(
        took < LONGEST,
        "{took:?} of processor time for {} bytes",
        data.len()
    );
}

fuzz_target!(|data: &[u8]| {
    judge(data);
    let sum = data.iter().fold(0u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
    });
    if sum % 512 == 1 {
        judge(&data.repeat(LONG / data.len()));
    }
});
