// Where the time of a step goes, as libtorch's own profiler sees it.

#include "guarded.h"
#include <ATen/Context.h>
#include <ATen/record_function.h>
#include <cstdlib>
#include <memory>
#include <torch/csrc/autograd/profiler_kineto.h>

namespace {
namespace profiler = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;
} // namespace

extern "C" int vlhub_ext_profile_begin() {
  return guarded([] {
    // Where there is no GPU, libtorch's tracer calls that an error.
    setenv("KINETO_LOG_LEVEL", "5", /*overwrite=*/0);
    // Shapes are what operations are counted by.
    torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO, /*report_input_shapes=*/true,
                                                 /*profile_memory=*/false, /*with_stack=*/false, /*with_flops=*/true);
    std::set<ActivityType> activities{ActivityType::CPU};
    if (at::hasCUDA()) activities.insert(ActivityType::CUDA);
    profiler::prepareProfiler(config, activities);
    profiler::enableProfiler(config, activities);
  });
}

// Ends it, writes a trace to `path` unless that is empty, and tells `each` of every event.
extern "C" int vlhub_ext_profile_end(const char *path, void *to,
                                     void (*each)(void *, const char *name, uint64_t thread, uint64_t start, uint64_t duration, uint64_t flops)) {
  return guarded([&] {
    auto result = profiler::disableProfiler();
    if (*path) result->save(path);
    if (!to) return;
    for (const auto &event : result->events()) {
      if (event.deviceType() != c10::DeviceType::CPU) continue;
      auto name = event.name();
      each(to, name.c_str(), event.startThreadId(), event.startNs(), event.durationNs(), event.flops());
    }
  });
}

extern "C" void *vlhub_ext_span_begin(const char *name) {
  void *made = nullptr;
  guarded([&] {
    auto span = std::make_unique<at::RecordFunction>(at::RecordScope::USER_SCOPE);
    if (span->isActive()) {
      span->before(std::string(name));
      made = span.release();
    }
  });
  return made;
}

extern "C" void vlhub_ext_span_end(void *span) {
  guarded([&] { delete static_cast<at::RecordFunction *>(span); });
}
