// Parts of libtorch that tch 0.24 does not reach. Every function catches every exception: nothing may unwind into Rust.

#include <ATen/core/Tensor.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/_fused_adamw.h>
#include "guarded.h"
#include <dlfcn.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <vector>

thread_local std::string vlhub_last_error;

namespace {
std::vector<at::Tensor> list(at::Tensor *const *tensors, size_t count) {
  std::vector<at::Tensor> out;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) out.push_back(*tensors[i]);
  return out;
}

} // namespace

extern "C" {
const char *vlhub_ext_error() { return vlhub_last_error.c_str(); }

int vlhub_ext_fused_adamw(at::Tensor *const *params, at::Tensor *const *grads, at::Tensor *const *exp_avg, at::Tensor *const *exp_avg_sq,
                          at::Tensor *const *steps, size_t count, double lr, double beta1, double beta2, double weight_decay, double eps) {
  return guarded([&] {
    at::AutoDispatchBelowADInplaceOrView inplace;
    auto p = list(params, count), g = list(grads, count), m = list(exp_avg, count), v = list(exp_avg_sq, count), s = list(steps, count);
    at::_fused_adamw_(p, g, m, v, {}, s, lr, beta1, beta2, weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}

int vlhub_ext_forget_gradient(at::Tensor *tensor) {
  return guarded([&] { tensor->mutable_grad() = at::Tensor(); });
}

int vlhub_ext_give_gradient(at::Tensor *tensor, at::Tensor *gradient) {
  return guarded([&] { tensor->mutable_grad() = *gradient; });
}

int vlhub_ext_tf32(int on) {
  return guarded([&] {
    at::globalContext().setAllowTF32CuBLAS(on != 0);
    at::globalContext().setAllowTF32CuDNN(on != 0);
  });
}

int vlhub_ext_deterministic(int on) {
  return guarded([&] {
    at::globalContext().setDeterministicAlgorithms(on != 0, /*warn_only=*/true);
    // It would fill every new tensor with NaN first, to show who reads what nobody wrote: a thirtieth of a step of ViT-B-32.
    at::globalContext().setDeterministicFillUninitializedMemory(false);
    at::globalContext().setBenchmarkCuDNN(on == 0);
  });
}

int vlhub_ext_serial_thread() {
  return guarded([] {
    // The first question sets up this thread, which a later first use would do over again.
    at::get_num_threads();
    // OpenMP counts by thread; at::set_num_threads would change what all later threads start with.
    auto set = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
    if (set) set(1);
  });
}

void vlhub_ext_keep_memory() {
#ifdef __GLIBC__
  // glibc's highest threshold of blocks that it maps by themselves.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}
