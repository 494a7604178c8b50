//! The allocator's own word for giving memory back.
#![allow(unsafe_code, reason = "malloc_trim has no safe wrapper")]

/// Hands free pages of every arena to the system; whether there were any.
#[cfg(target_env = "gnu")]
pub fn release() -> bool {
    // SAFETY: takes a number only, and may be called by any thread at any time; glibc takes its own locks.
    unsafe { libc::malloc_trim(0) != 0 }
}

/// Other allocators give memory back by themselves, or cannot be asked.
#[cfg(not(target_env = "gnu"))]
pub fn release() -> bool {
    false
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    /// Resident memory of this process, bytes.
    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells it");
        let pages: usize =
            statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        pages * rustix::param::page_size()
    }

    #[test]
    fn what_lies_between_living_things_is_given_back() {
        const EACH: usize = 1_000;
        const COUNT: usize = 64_000;
        // In a thread of its own, so that it lies in an arena of its own, as with calls.
        std::thread::spawn(|| {
            let mut blocks: Vec<Vec<u8>> = (0..COUNT).map(|_| vec![1; EACH]).collect();
            let mut index = 0;
            // One in forty lives on, the last one too: nothing at the end of the arena is free.
            blocks.retain(|_| {
                index += 1;
                index % 40 == 0
            });
            let kept = resident();
            assert!(release());
            let after = resident();
            assert!(blocks.iter().all(|block| block.len() == EACH));
            let given = kept.saturating_sub(after);
            assert!(given > EACH * COUNT / 2, "{given} bytes of {}", EACH * COUNT);
        })
        .join()
        .expect("it holds");
    }
}
