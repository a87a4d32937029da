// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which CPU each thread runs on.

use std::fs;

use dpdk::Cpu;

/// The CPUs of the management core and of the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// For management and the host thread.
    pub management: Cpu,
    /// For each worker; none if there are too few CPUs to give each its own.
    pub workers: Option<Vec<Cpu>>,
}

/// Why CPUs cannot be assigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpusError {
    /// The key is not a list of CPUs.
    #[error("[eal] lcores = \"{0}\" is not a list of CPUs such as \"0-4\" or \"0,2,4\"")]
    NotAList(String),
    /// There are fewer than one for management and one for each worker.
    #[error(
        "[eal] lcores names {named} CPUs, but {workers} workers and management need {}; name \
         more, or leave the key out",
        workers + 1
    )]
    TooFew {
        /// CPUs that it names.
        named: usize,
        /// Workers that there are.
        workers: u16,
    },
}

impl Cpus {
    /// Gives the first CPU of `lcores` to management and the next ones to the workers; without
    /// `lcores`, those that the process may use.
    ///
    /// # Errors
    /// As [`CpusError`] says.
    pub fn assign(lcores: Option<&str>, workers: u16) -> Result<Self, CpusError> {
        match lcores {
            Some(text) => {
                let named = list(text).ok_or_else(|| CpusError::NotAList(text.to_owned()))?;
                let few = CpusError::TooFew { named: named.len(), workers };
                let cpus = Self::from_list(&named, workers).ok_or(few.clone())?;
                if cpus.workers.is_some() { Ok(cpus) } else { Err(few) }
            }
            None => {
                let allowed = list(&allowed()).unwrap_or_default();
                let first = Self { management: Cpu(0), workers: None };
                Ok(Self::from_list(&allowed, workers).unwrap_or(first))
            }
        }
    }

    fn from_list(cpus: &[Cpu], workers: u16) -> Option<Self> {
        let (management, rest) = cpus.split_first()?;
        let workers = rest.get(..usize::from(workers)).map(<[Cpu]>::to_vec);
        Some(Self { management: *management, workers })
    }
}

/// The list of CPUs that this process may use, as the kernel writes it.
fn allowed() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap_or("0").trim().to_owned()
}

/// Reads `0-3,8`: numbers and ranges.
pub(crate) fn list(text: &str) -> Option<Vec<Cpu>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last {
            return None;
        }
        cpus.extend((first..=last).map(Cpu));
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cpu_is_managements_and_the_next_are_the_workers() {
        let cpus = Cpus::assign(Some("2-3,8"), 2).unwrap();
        assert_eq!(cpus, Cpus { management: Cpu(2), workers: Some(vec![Cpu(3), Cpu(8)]) });
    }

    #[test]
    fn a_list_must_be_one_and_suffice() {
        for bad in ["", "a", "3-1", "0@1", "1,,2"] {
            assert_eq!(Cpus::assign(Some(bad), 1), Err(CpusError::NotAList(bad.into())));
        }
        let error = Cpus::assign(Some("0-1"), 2).unwrap_err();
        assert!(error.to_string().contains("names 2 CPUs, but 2 workers and management need 3"));
    }
}
