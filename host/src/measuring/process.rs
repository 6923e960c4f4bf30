//! What a process takes of the machine.

use rustix::time::{ClockId, clock_gettime};
use tch::{Cuda, Device};

/// Seconds of a clock that all processes of this machine have in common, and that nobody sets.
pub fn clock() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Bytes of this process that are in memory (its resident set); `None` where the system does not tell.
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Waits until a GPU has done what it was asked for. A CPU has by then.
pub fn wait_for(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_and_this_process_is_in_memory() {
        let before = clock();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!((0.001..60.0).contains(&(clock() - before)));
        assert!(resident().is_none_or(|bytes| bytes > 1 << 20), "{:?}", resident());
    }
}
