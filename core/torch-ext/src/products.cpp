// Products of float matrices on the CPU by oneDNN, where libtorch asks MKL.

#include "guarded.h"
#include <ATen/core/List.h>
#include <ATen/ops/addmm_cpu_dispatch.h>
#include <ATen/ops/mm_cpu_dispatch.h>
#include <atomic>
#include <c10/util/Exception.h>
#include <torch/library.h>

// Exported by libtorch, in none of its headers, and absent where it was built without oneDNN.
namespace at::native {
__attribute__((weak)) Tensor mkldnn_linear_pointwise(const Tensor &, const Tensor &, const std::optional<Tensor> &, std::string_view,
                                                     c10::List<std::optional<c10::Scalar>>, std::optional<std::string_view>);
}

namespace {
std::atomic<bool> onednn{false};

// Below this many multiplications, looking up oneDNN's plan takes longer than what it saves.
constexpr int64_t SMALL = 1 << 22;

// Whether its rows lie one after the other.
bool by_rows(const at::Tensor &m) { return m.stride(1) == 1 && m.stride(0) == m.size(1); }
bool by_columns(const at::Tensor &m) { return m.stride(0) == 1 && m.stride(1) == m.size(0); }

// oneDNN wants the left matrix by rows; the right one it takes either way.
bool ours(const at::Tensor &left, const at::Tensor &right) {
  return onednn.load(std::memory_order_relaxed) && left.dim() == 2 && right.dim() == 2 && left.scalar_type() == at::kFloat &&
         right.scalar_type() == at::kFloat && left.size(1) == right.size(0) && left.size(0) * left.size(1) * right.size(1) >= SMALL &&
         by_rows(left) && (by_rows(right) || by_columns(right));
}

at::Tensor by_onednn(const at::Tensor &left, const at::Tensor &right, const std::optional<at::Tensor> &bias) {
  return at::native::mkldnn_linear_pointwise(left, right.t(), bias, "none", c10::List<std::optional<c10::Scalar>>(), "");
}

at::Tensor mm(const at::Tensor &left, const at::Tensor &right) {
  return ours(left, right) ? by_onednn(left, right, std::nullopt) : at::cpu::mm(left, right);
}

at::Tensor addmm(const at::Tensor &bias, const at::Tensor &left, const at::Tensor &right, const at::Scalar &beta,
                 const at::Scalar &alpha) {
  const bool plain = bias.dim() == 1 && bias.scalar_type() == at::kFloat && bias.is_contiguous() && right.dim() == 2 &&
                     bias.size(0) == right.size(1) && beta.equal(1) && alpha.equal(1);
  return plain && ours(left, right) ? by_onednn(left, right, bias) : at::cpu::addmm(bias, left, right, beta, alpha);
}

// libtorch warns about every function that is replaced.
struct Silent : c10::WarningHandler {
  void process(const c10::Warning &) override {}
};
} // namespace

extern "C" int vlhub_ext_products(int on) {
  return guarded([on] {
    if (on && !at::native::mkldnn_linear_pointwise) throw std::runtime_error("this libtorch was built without oneDNN");
    if (on) {
      // Kept until the process ends: threads may be within them.
      static auto *replaced = [] {
        Silent silent;
        c10::WarningUtils::WarningHandlerGuard guard(&silent);
        auto *library = new torch::Library(torch::Library::IMPL, "aten", c10::DispatchKey::CPU, __FILE__, __LINE__);
        library->impl("mm", TORCH_FN(mm));
        library->impl("addmm", TORCH_FN(addmm));
        return library;
      }();
      (void)replaced;
    }
    onednn.store(on != 0);
  });
}

extern "C" int vlhub_ext_uses_onednn() { return onednn.load(); }

// Whether MKL, which is made for Intel's processors, is behind oneDNN here: on AMD's with 512-bit vectors.
extern "C" int vlhub_ext_prefers_onednn() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return at::native::mkldnn_linear_pointwise && __builtin_cpu_is("amd") && __builtin_cpu_supports("avx512f");
#else
  return 0;
#endif
}
