// Watching what a piece of work does: the memory that its tensors take, and what comes out of the layers of given weights.

#include "guarded.h"
#include <ATen/core/Tensor.h>
#include <ATen/ops/std.h>
#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace {
struct Meter : c10::MemoryReportingInfoBase {
  std::mutex mutex;
  int64_t live = 0, peak = 0;
  std::unordered_set<const void *> seen;
  void reportMemoryUsage(void *memory, int64_t bytes, size_t, size_t, c10::Device) override {
    std::lock_guard<std::mutex> lock(mutex);
    if (bytes > 0) {
      seen.insert(memory);
    } else if (seen.erase(memory) == 0) {
      // What is older than the meter, or was made under another one within it, is not counted when it goes.
      return;
    }
    live += bytes;
    peak = std::max(peak, live);
  }
  bool memoryProfilingEnabled() const override { return true; }
};

struct Metering {
  std::shared_ptr<Meter> meter = std::make_shared<Meter>();
  c10::DebugInfoGuard guard{c10::DebugInfoKind::PROFILER_STATE, meter};
};

// What was seen of one weight: in which place it was used first, and the standard deviation of what came out.
struct Seen {
  int64_t place = -1;
  double deviation = 0;
};

struct Watch {
  std::unordered_map<const void *, size_t> weights;
  std::vector<Seen> seen;
  int64_t uses = 0;
  at::CallbackHandle handle = 0;
};
thread_local Watch *watching = nullptr;

bool maps(const char *name) {
  for (auto known : {"aten::linear", "aten::addmm", "aten::mm", "aten::matmul", "aten::conv1d", "aten::conv2d", "aten::convolution"})
    if (std::strcmp(name, known) == 0) return true;
  return false;
}

// The inputs can be read before the operation alone, its output after it.
struct Found : at::ObserverContext {
  size_t index;
  explicit Found(size_t index) : index(index) {}
};

std::unique_ptr<at::ObserverContext> before(const at::RecordFunction &function) {
  auto *watch = watching;
  if (!watch || !maps(function.name())) return nullptr;
  for (const auto &input : function.inputs()) {
    if (!input.isTensor() || !input.toTensor().defined() || !input.toTensor().has_storage()) continue;
    auto found = watch->weights.find(input.toTensor().storage().data());
    if (found != watch->weights.end()) return std::make_unique<Found>(found->second);
  }
  return nullptr;
}

// An operation inside another ends first, so what is seen is the innermost map: `addmm` of `linear`, its bias included.
void after(const at::RecordFunction &function, at::ObserverContext *context) {
  auto *watch = watching;
  if (!watch || !context || function.outputs().empty() || !function.outputs()[0].isTensor()) return;
  auto &seen = watch->seen[static_cast<Found *>(context)->index];
  if (seen.place >= 0) return;
  at::DisableRecordFunctionGuard quiet;
  seen.place = watch->uses++;
  seen.deviation = at::std(function.outputs()[0].toTensor().detach().to(at::kDouble)).item<double>();
}
} // namespace

extern "C" {
void *vlhub_ext_meter_begin() {
  Metering *metering = nullptr;
  guarded([&] { metering = new Metering(); });
  return metering;
}

void vlhub_ext_meter_end(void *handle, int64_t *live, int64_t *peak) {
  auto *metering = static_cast<Metering *>(handle);
  *live = metering->meter->live;
  *peak = metering->meter->peak;
  delete metering;
}

void *vlhub_ext_watch_begin(at::Tensor *const *weights, size_t count) {
  Watch *watch = nullptr;
  guarded([&] {
    auto made = std::make_unique<Watch>();
    made->seen.resize(count);
    for (size_t i = 0; i < count; ++i) made->weights[weights[i]->storage().data()] = i;
    made->handle = at::addThreadLocalCallback(at::RecordFunctionCallback(before, after).needsInputs(true).needsOutputs(true));
    watching = watch = made.release();
  });
  return watch;
}

// `places` and `deviations` have room for the weights of the beginning.
void vlhub_ext_watch_end(void *handle, int64_t *places, double *deviations) {
  std::unique_ptr<Watch> watch(static_cast<Watch *>(handle));
  guarded([&] { at::removeCallback(watch->handle); });
  watching = nullptr;
  for (size_t i = 0; i < watch->seen.size(); ++i) {
    places[i] = watch->seen[i].place;
    deviations[i] = watch->seen[i].deviation;
  }
}
}
