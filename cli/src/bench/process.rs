//! CPU time and memory of the server process, from `/proc`.

use anyhow::Context;

/// CPU time and memory that a process has used up to now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_memory_bytes: u64,
    /// Memory in use at this moment.
    pub(crate) memory_bytes: u64,
}

impl Usage {
    /// Reads the figures of the process with this id.
    ///
    /// # Errors
    /// There is no such process, or the system has no `/proc`.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = read(pid, "stat")?;
        let status = read(pid, "status")?;
        Ok(Self {
            cpu_seconds: cpu_ticks(&stat)
                .with_context(|| format!("no CPU times in /proc/{pid}/stat"))?
                as f64
                / TICKS_PER_SECOND,
            memory_bytes: memory(&status, "VmRSS:")
                .with_context(|| format!("no VmRSS in /proc/{pid}/status"))?,
            peak_memory_bytes: memory(&status, "VmHWM:")
                .with_context(|| format!("no VmHWM in /proc/{pid}/status"))?,
        })
    }
}

/// Lets the peak memory of a process begin anew; without the right to do so it goes on counting from the process' start.
pub(crate) fn reset_peak_memory(pid: u32) {
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Linux reports process times in hundredths of a second on every architecture we run on.
const TICKS_PER_SECOND: f64 = 100.0;

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(&path).with_context(|| format!("read {path}"))
}

/// User and system ticks: fields 14 and 15, counted behind the name, which may hold blanks.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn memory(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_blanks() {
        let stat = "17 (a b) c) S 1 1 1 0 -1 0 0 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("17 (cut) S 1"), None);
    }

    #[test]
    fn memory_is_in_kibibytes() {
        assert_eq!(
            memory("Name:\tx\nVmHWM:\t  2048 kB\n", "VmHWM:"),
            Some(2 << 20)
        );
        assert_eq!(memory("Name:\tx\n", "VmHWM:"), None);
    }
}
