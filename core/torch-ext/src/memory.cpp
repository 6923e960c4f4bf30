// How much of a GPU's memory is taken, as its allocator counts it. Through c10's interfaces alone, so one build serves CPU and GPU.

#include "guarded.h"
#include <c10/core/CachingDeviceAllocator.h>

extern "C" {
int vlhub_ext_reset_peak(int index) {
  return guarded([&] { c10::getDeviceAllocator(c10::kCUDA)->resetPeakStats(static_cast<c10::DeviceIndex>(index)); });
}

int vlhub_ext_peak(int index, int64_t *bytes) {
  return guarded([&] {
    constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    *bytes = c10::getDeviceAllocator(c10::kCUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(index)).allocated_bytes[all].peak;
  });
}

// Raises what a full GPU raises: for the test of what becomes of it.
int vlhub_ext_full() {
  return guarded([] { TORCH_CHECK_WITH(OutOfMemoryError, false, "no room"); });
}
}
