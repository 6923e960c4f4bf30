// Memory by group of layers: a tensor belongs to the group of the weight that an operation has read last.

#include "guarded.h"
#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace {
struct GroupMeter : c10::MemoryReportingInfoBase {
  std::mutex mutex;
  std::vector<int64_t> live;
  size_t group;
  std::unordered_map<const void *, size_t> owners;

  // The last group is that of what comes before any weight.
  explicit GroupMeter(size_t groups) : live(groups + 1, 0), group(groups) {}

  void reportMemoryUsage(void *memory, int64_t bytes, size_t, size_t, c10::Device) override {
    std::lock_guard<std::mutex> lock(mutex);
    if (bytes > 0) {
      owners[memory] = group;
      live[group] += bytes;
      return;
    }
    // What is older than the meter is not counted when it goes.
    auto found = owners.find(memory);
    if (found == owners.end()) return;
    live[found->second] += bytes;
    owners.erase(found);
  }
  bool memoryProfilingEnabled() const override { return true; }
};

struct GroupMetering {
  std::shared_ptr<GroupMeter> meter;
  std::unordered_map<const void *, size_t> weights;
  c10::DebugInfoGuard guard;
  at::CallbackHandle handle = 0;

  explicit GroupMetering(size_t groups)
      : meter(std::make_shared<GroupMeter>(groups)), guard(c10::DebugInfoKind::PROFILER_STATE, meter) {}

  void read(const at::Tensor &tensor) {
    if (!tensor.defined() || !tensor.has_storage()) return;
    auto found = weights.find(tensor.storage().data());
    if (found == weights.end()) return;
    std::lock_guard<std::mutex> lock(meter->mutex);
    meter->group = found->second;
  }
};
thread_local GroupMetering *group_metering = nullptr;

std::unique_ptr<at::ObserverContext> note_group(const at::RecordFunction &function) {
  auto *metering = group_metering;
  if (!metering) return nullptr;
  for (const auto &input : function.inputs()) {
    if (input.isTensor()) metering->read(input.toTensor());
    if (input.isTensorList())
      for (const at::Tensor &tensor : input.toTensorVector()) metering->read(tensor);
  }
  return nullptr;
}
} // namespace

extern "C" {
void *vlhub_ext_groups_begin(at::Tensor *const *weights, const size_t *group_of, size_t count, size_t groups) {
  GroupMetering *metering = nullptr;
  guarded([&] {
    auto made = std::make_unique<GroupMetering>(groups);
    for (size_t i = 0; i < count; ++i) made->weights[weights[i]->storage().data()] = group_of[i];
    made->handle = at::addThreadLocalCallback(at::RecordFunctionCallback(note_group).needsInputs(true));
    group_metering = metering = made.release();
  });
  return metering;
}

// `live` has room for one number more than there are groups.
void vlhub_ext_groups_end(void *handle, int64_t *live) {
  std::unique_ptr<GroupMetering> metering(static_cast<GroupMetering *>(handle));
  guarded([&] { at::removeCallback(metering->handle); });
  group_metering = nullptr;
  std::lock_guard<std::mutex> lock(metering->meter->mutex);
  for (size_t i = 0; i < metering->meter->live.size(); ++i) live[i] = metering->meter->live[i];
}
}
