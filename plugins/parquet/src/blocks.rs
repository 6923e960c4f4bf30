//! Blocks of rows in memory: a bounded number of bytes, shared by the threads that read.
//!
//! Parquet is made to be read in order. A row alone costs the pages that it lies in, one for each column that is read: 0.6 to 1 MiB of pictures as
//! `datasets` 5 writes them; but pandas and pyarrow look at the size of a page only after each 1024 rows, so 1024 pictures are one page of theirs, or
//! one dictionary. So rows are read in blocks of about 1 MiB, or of a page where pages are larger, and blocks are kept while they fit: reading in
//! order, and any order of a set that fits, decodes every page about once. A shuffled pass over a larger set decodes a page or two for every row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;

use crate::file::Block;

/// Which block of which file.
pub(crate) type BlockId = (u32, Block);

/// The blocks that were used last.
#[derive(Debug)]
pub(crate) struct Blocks {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    blocks: HashMap<BlockId, (Arc<RecordBatch>, u64)>,
    bytes: usize,
    /// Counts uses.
    now: u64,
}

impl Blocks {
    /// Of at most so many bytes.
    pub fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    /// Most bytes that are kept.
    pub fn most(&self) -> usize {
        self.most
    }

    /// A block, read if it is not there. Threads that want the same one at once may each read it.
    ///
    /// # Errors
    /// What `read` says.
    pub fn get(&self, id: BlockId, read: impl FnOnce() -> Result<RecordBatch, String>) -> Result<Arc<RecordBatch>, String> {
        if let Some(block) = self.kept().used(&id) {
            return Ok(block);
        }
        // Nothing is held while a block is decoded.
        let block = Arc::new(read()?);
        let bytes = block.get_array_memory_size();
        if bytes <= self.most {
            self.kept().keep(id, &block, bytes, self.most);
        }
        Ok(block)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn used(&mut self, id: &BlockId) -> Option<Arc<RecordBatch>> {
        self.now += 1;
        let (block, last) = self.blocks.get_mut(id)?;
        *last = self.now;
        Some(Arc::clone(block))
    }

    fn keep(&mut self, id: BlockId, block: &Arc<RecordBatch>, bytes: usize, most: usize) {
        self.now += 1;
        if self.blocks.insert(id, (Arc::clone(block), self.now)).is_none() {
            self.bytes += bytes;
        }
        while self.bytes > most {
            let Some(oldest) = self.blocks.iter().min_by_key(|(_, (_, last))| *last).map(|(id, _)| *id) else { return };
            if let Some((block, _)) = self.blocks.remove(&oldest) {
                self.bytes -= block.get_array_memory_size();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int64Array};

    fn block(rows: usize) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![7; rows]));
        RecordBatch::try_from_iter([("a", column)]).expect("one column")
    }

    fn id(start: u32) -> BlockId {
        (0, Block { group: 0, start, rows: 1 })
    }

    #[test]
    fn what_was_used_last_is_kept_and_no_more_than_fits() {
        let each = block(1000).get_array_memory_size();
        let blocks = Blocks::new(3 * each);
        let mut read = 0;
        let mut get = |at: u32| {
            let before = read;
            blocks
                .get(id(at), || {
                    Ok({
                        read += 1;
                        block(1000)
                    })
                })
                .expect("it reads");
            (read > before, blocks.kept().bytes)
        };
        assert_eq!([get(0), get(1), get(2)].map(|(read, _)| read), [true; 3]);
        assert_eq!((get(0), get(3)), ((false, 3 * each), (true, 3 * each)), "the fourth takes the place of the second");
        assert_eq!([get(0), get(2), get(3), get(1)].map(|(read, _)| read), [false, false, false, true]);
        let large = blocks.get(id(9), || Ok(block(100_000))).expect("it reads");
        assert_eq!((large.num_rows(), blocks.kept().bytes), (100_000, 3 * each), "what does not fit is not kept, and drives nothing out");
        assert_eq!(blocks.get(id(10), || Err("damaged".into())).expect_err("it does not read"), "damaged");
    }

    #[test]
    fn threads_share_blocks() {
        let blocks = Blocks::new(1 << 20);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let blocks = &blocks;
                scope.spawn(move || {
                    for round in 0..200 {
                        let at = (thread * 7 + round) % 30;
                        let rows = blocks.get(id(at), || Ok(block(at as usize + 1))).expect("it reads").num_rows();
                        assert_eq!(rows, at as usize + 1);
                    }
                });
            }
        });
        assert!(blocks.kept().bytes <= 1 << 20);
    }
}
