//! The machine on which numbers were measured.

use std::fs;

/// Facts for the table of a report: the processor, memory and system. What the system does not tell is left out.
pub fn machine() -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = cpu_name(&read("/proc/cpuinfo")).unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = memory(&read("/proc/meminfo"));
    let kernel = read("/proc/sys/kernel/osrelease");
    let system = format!("{} {} {}", std::env::consts::OS, kernel.trim(), std::env::consts::ARCH);
    let cpu = format!("{cpu}, {threads} hardware threads");
    let known = [("cpu", Some(cpu)), ("memory", memory), ("system", Some(system))];
    known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn cpu_name(info: &str) -> Option<String> {
    let named = |line: &str| line.split_once(':').filter(|(name, _)| name.trim() == "model name").map(|(_, name)| name.trim().to_owned());
    info.lines().find_map(named)
}

fn memory(info: &str) -> Option<String> {
    let line = info.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(format!("{:.1} GiB", kib / f64::from(1 << 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linux_machine_is_described() {
        let info = "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nflags\t: a b\n";
        assert_eq!(cpu_name(info).as_deref(), Some("Some CPU @ 2.0GHz"));
        assert_eq!(memory("MemTotal:       16777216 kB\nMemFree: 1 kB\n").as_deref(), Some("16.0 GiB"));
        assert_eq!((cpu_name(""), memory("nonsense")), (None, None));
        assert!(machine().iter().any(|(name, value)| name == "cpu" && value.contains("hardware threads")));
    }
}
