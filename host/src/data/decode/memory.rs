//! A bound on the memory of decoded pictures, shared by the threads that decode.

use std::sync::{Condvar, Mutex, PoisonError};

/// Most bytes that pictures take at a time while they are decoded and resized: 1 GiB. One picture that takes more waits until it is alone.
pub static DECODED: Memory = Memory::new(1 << 30);

/// A number of bytes of which threads take their part, first come, first served: a large picture is not kept waiting by small ones for ever.
#[derive(Debug)]
pub struct Memory {
    most: u64,
    state: Mutex<MemoryState>,
    changed: Condvar,
}

#[derive(Debug)]
struct MemoryState {
    taken: u64,
    /// Tickets that were given out, and the one whose turn it is.
    tickets: u64,
    turn: u64,
}

impl Memory {
    /// So many bytes.
    pub const fn new(most: u64) -> Self {
        Self { most, state: Mutex::new(MemoryState { taken: 0, tickets: 0, turn: 0 }), changed: Condvar::new() }
    }

    /// Waits until `bytes` are free and takes them. More than there are in all counts as all of them. A thread takes only once at a time.
    pub fn take(&self, bytes: u64) -> Taken<'_> {
        let bytes = bytes.min(self.most);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = state.tickets;
        state.tickets += 1;
        while state.turn != ticket || state.taken + bytes > self.most {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.turn += 1;
        state.taken += bytes;
        drop(state);
        self.changed.notify_all();
        Taken { memory: self, bytes }
    }

    fn give_back(&self, bytes: u64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).taken -= bytes;
        self.changed.notify_all();
    }
}

/// Bytes that were taken; dropping it gives them back.
#[derive(Debug)]
pub struct Taken<'a> {
    memory: &'a Memory,
    bytes: u64,
}

impl Taken<'_> {
    /// Gives back all but `bytes`.
    pub fn shrink(&mut self, bytes: u64) {
        let rest = self.bytes.saturating_sub(bytes);
        self.bytes -= rest;
        self.memory.give_back(rest);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    #[test]
    fn threads_together_take_no_more_than_there_is() {
        let memory = Memory::new(1000);
        let (now, most, served) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (memory, now, most, served) = (&memory, &now, &most, &served);
                scope.spawn(move || {
                    for round in 0..20 {
                        // One in four wants more than there is, and gets all of it, alone.
                        let bytes = if (thread + round) % 4 == 0 { 5000 } else { 100 + 90 * thread };
                        let mut taken = memory.take(bytes);
                        let held = now.fetch_add(bytes.min(1000), Ordering::SeqCst) + bytes.min(1000);
                        most.fetch_max(held, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_micros(50));
                        now.fetch_sub(bytes.min(1000), Ordering::SeqCst);
                        taken.shrink(50);
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(served.into_inner(), 160, "everybody had a turn");
        assert!(most.into_inner() <= 1000);
        assert_eq!(memory.state.into_inner().expect("nobody panicked").taken, 0, "everything was given back");
    }
}
