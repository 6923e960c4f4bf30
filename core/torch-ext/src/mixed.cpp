// Autocast: products in bfloat16 or float16, for one thread and for a while.

#include "guarded.h"
#include <ATen/autocast_mode.h>
#include <memory>

namespace {
// What was set before is set again when it ends, so that one may run within another.
struct Autocast {
  at::DeviceType device;
  bool enabled;
  at::ScalarType dtype;

  Autocast(at::DeviceType on, at::ScalarType to)
      : device(on), enabled(at::autocast::is_autocast_enabled(on)), dtype(at::autocast::get_autocast_dtype(on)) {
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::set_autocast_dtype(device, to);
    at::autocast::increment_nesting();
  }
  void end() {
    at::autocast::set_autocast_enabled(device, enabled);
    at::autocast::set_autocast_dtype(device, dtype);
    // Casts of weights are kept only while it runs: the next step's weights are others.
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  }
};
} // namespace

extern "C" void *vlhub_ext_autocast_begin(int cuda, int half) {
  void *made = nullptr;
  guarded([&] { made = new Autocast(cuda ? at::kCUDA : at::kCPU, half ? at::kHalf : at::kBFloat16); });
  return made;
}

extern "C" void vlhub_ext_autocast_end(void *autocast) {
  std::unique_ptr<Autocast> ended(static_cast<Autocast *>(autocast));
  if (ended) guarded([&] { ended->end(); });
}
