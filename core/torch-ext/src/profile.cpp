// Where the time of a step goes, as libtorch's own profiler sees it.

#include "guarded.h"
#include <ATen/Context.h>
#include <ATen/record_function.h>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <torch/csrc/autograd/profiler_kineto.h>

namespace {
namespace profiler = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;

uint64_t elements(const std::vector<int64_t> &shape) {
  return std::accumulate(shape.begin(), shape.end(), uint64_t{1}, std::multiplies<uint64_t>());
}

// Operations of an event; those of some products, libtorch does not count.
uint64_t operations(const std::string &name, const profiler::KinetoEvent &event) {
  auto shapes = event.shapes();
  if (name == "aten::addmm_" || name == "aten::baddbmm_") {
    // What is added to, left, right.
    if (shapes.size() < 3 || shapes[2].empty()) return 0;
    return 2 * elements(shapes[1]) * static_cast<uint64_t>(shapes[2].back());
  }
  if (name == "aten::convolution_backward") {
    // Gradient of the output, input, weight, …, whether it is transposed (7), …, which gradients are wanted (10). That of the input, or of the weight,
    // takes as many as the convolution.
    auto given = event.concreteInputs();
    if (shapes.size() < 11 || given.size() < 11 || !given[7].isBool() || !given[10].isBoolList()) return 0;
    const auto &places = shapes[given[7].toBool() ? 1 : 0], &weight = shapes[2];
    auto wanted = given[10].toBoolList();
    if (weight.empty() || weight[0] == 0 || wanted.size() < 2) return 0;
    uint64_t once = 2 * elements(places) * (elements(weight) / static_cast<uint64_t>(weight[0]));
    return once * ((wanted.get(0) ? 1 : 0) + (wanted.get(1) ? 1 : 0));
  }
  return event.flops();
}
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
      each(to, name.c_str(), event.startThreadId(), event.startNs(), event.durationNs(), operations(name, event));
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
