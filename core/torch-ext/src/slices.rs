//! The numbers of tensors on the CPU as slices, and loops over them by several threads.

use tch::{Device, Kind, TchError, Tensor};

/// Elements that are worth a thread of their own.
const WORTH_A_THREAD: usize = 1 << 16;

/// The numbers of a float tensor.
pub(crate) fn floats(tensor: &Tensor) -> Result<&[f32], TchError> {
    let (data, count) = memory(tensor, Kind::Float)?;
    // SAFETY: `memory` has seen that the tensor holds `count` numbers of this type, one after the other; it lives as long as the slice, and
    // every bit pattern is a float.
    Ok(unsafe { std::slice::from_raw_parts(data.cast::<f32>(), count) })
}

/// The numbers of a float tensor, to be written. Nothing else may read or write its memory meanwhile.
pub(crate) fn floats_mut(tensor: &mut Tensor) -> Result<&mut [f32], TchError> {
    let (data, count) = memory(tensor, Kind::Float)?;
    // SAFETY: as in `floats`; who calls it holds the tensor alone, as the documentation asks for.
    Ok(unsafe { std::slice::from_raw_parts_mut(data.cast::<f32>(), count) })
}

/// The numbers of a tensor of bytes.
pub(crate) fn bytes(tensor: &Tensor) -> Result<&[u8], TchError> {
    let (data, count) = memory(tensor, Kind::Uint8)?;
    // SAFETY: as in `floats`, for bytes.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// The numbers of a tensor of bytes, to be written. Nothing else may read or write its memory meanwhile.
pub(crate) fn bytes_mut(tensor: &mut Tensor) -> Result<&mut [u8], TchError> {
    let (data, count) = memory(tensor, Kind::Uint8)?;
    // SAFETY: as in `floats_mut`, for bytes.
    Ok(unsafe { std::slice::from_raw_parts_mut(data, count) })
}

/// The bits of a bfloat16 tensor, to be written. Nothing else may read or write its memory meanwhile.
pub(crate) fn bf16_bits_mut(tensor: &mut Tensor) -> Result<&mut [u16], TchError> {
    let (data, count) = memory(tensor, Kind::BFloat16)?;
    // SAFETY: as in `floats_mut`, for numbers of two bytes, of which each bit pattern is one.
    Ok(unsafe { std::slice::from_raw_parts_mut(data.cast::<u16>(), count) })
}

/// Where the numbers of a tensor lie, and how many there are.
fn memory(tensor: &Tensor, kind: Kind) -> Result<(*mut u8, usize), TchError> {
    if tensor.device() != Device::Cpu || tensor.kind() != kind || !tensor.is_contiguous() {
        let (found, device) = (tensor.kind(), tensor.device());
        return Err(TchError::Torch(format!("a contiguous tensor of {kind:?} on the CPU is needed, not one of {found:?} on {device:?}")));
    }
    let count = tensor.numel();
    let data = tensor.data_ptr().cast::<u8>();
    // A tensor of nothing has no memory, and a slice of nothing has an address all the same.
    if count == 0 || data.is_null() { Ok((std::ptr::NonNull::<u64>::dangling().as_ptr().cast(), 0)) } else { Ok((data, count)) }
}

/// Refuses tensors of which two share memory: a slice to be written must not meet another.
pub(crate) fn apart(tensors: &[&Tensor]) -> Result<(), TchError> {
    let span = |tensor: &&Tensor| {
        let begin = tensor.data_ptr() as usize;
        begin..begin + if begin > 0 { tensor.numel() * tensor.kind().elt_size_in_bytes() } else { 0 }
    };
    let spans: Vec<_> = tensors.iter().map(span).collect();
    let meet = |one: usize, other: usize| spans[one].start < spans[other].end && spans[other].start < spans[one].end;
    if (0..spans.len()).any(|one| (0..one).any(|other| meet(one, other))) {
        return Err(TchError::Torch("two of the tensors share memory".into()));
    }
    Ok(())
}

/// How many of `count` elements one thread takes: whole blocks of `block`, as many for each thread, of which there are as many as libtorch has where
/// that is worth it.
pub(crate) fn share(count: usize, block: usize) -> usize {
    share_of(count, block, usize::try_from(tch::get_num_threads()).unwrap_or(1))
}

fn share_of(count: usize, block: usize, threads: usize) -> usize {
    let threads = threads.min(count / WORTH_A_THREAD).max(1);
    count.div_ceil(threads).next_multiple_of(block).max(block)
}

/// Runs `work` for each job, on a thread of its own; the last one on this.
pub(crate) fn in_parallel<T: Send>(jobs: impl Iterator<Item = T>, work: impl Fn(T) + Sync) {
    let mut jobs: Vec<T> = jobs.collect();
    let Some(last) = jobs.pop() else { return };
    let work = &work;
    std::thread::scope(|scope| {
        for job in jobs {
            scope.spawn(move || work(job));
        }
        work(last);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_such_tensor_is_refused_and_shares_are_whole_blocks() {
        let mut tensor = Tensor::zeros([4, 6], (Kind::Float, Device::Cpu));
        floats_mut(&mut tensor).expect("it is one")[7] = 2.0;
        assert_eq!((tensor.double_value(&[1, 1]), floats(&tensor).expect("it is one").len()), (2.0, 24));
        assert!(floats(&tensor.tr()).is_err() && bytes(&tensor).is_err() && bf16_bits_mut(&mut tensor).is_err());
        let mut nothing = Tensor::zeros([0, 6], (Kind::Uint8, Device::Cpu));
        assert!(bytes_mut(&mut nothing).expect("it is one").is_empty());
        for (count, block) in [(0, 256), (1, 256), (257, 256), (WORTH_A_THREAD * 6 + 5, 256)] {
            let each = share(count, block);
            assert!(each > 0 && each.is_multiple_of(block), "{count}: {each}");
        }
        assert_eq!(share_of(WORTH_A_THREAD * 2, 256, 64), WORTH_A_THREAD, "two threads, of 64");
        assert_eq!(share_of(WORTH_A_THREAD * 128, 256, 64), WORTH_A_THREAD * 2, "all of them");
        let part = tensor.narrow(0, 1, 2);
        assert!(apart(&[&tensor, &part]).is_err() && apart(&[&tensor.narrow(0, 0, 1), &part, &nothing]).is_ok());
        let mut squares = vec![0; 9];
        in_parallel(squares.chunks_mut(4).enumerate(), |(piece, part)| {
            part.iter_mut().zip(piece * 4..).for_each(|(square, at)| *square = at * at);
        });
        assert_eq!(squares, [0, 1, 4, 9, 16, 25, 36, 49, 64]);
    }
}
