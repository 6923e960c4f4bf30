// Running a model on shapes alone, to count its parameters and its work.

#include "guarded.h"
#include <ATen/ExpandUtils.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>
#include <vector>

namespace {
// Shapes without numbers. While `Paper` is alive, libtorch's hook for modes of testing sees every operation of this thread: what would be
// made on a device is made on `meta`, which has no memory, and the multiplications of products of matrices are added up.
constexpr auto kPaper = c10::DispatchKey::TESTING_ONLY_GenericMode;
thread_local double multiplications = 0;

double product(c10::IntArrayRef sizes) {
  double all = 1;
  for (auto size : sizes) all *= static_cast<double>(size);
  return all;
}

bool is_product(const std::string &name) {
  for (auto known : {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::matmul", "aten::linear", "aten::conv2d",
                     "aten::convolution", "aten::conv1d", "aten::scaled_dot_product_attention"})
    if (name == known) return true;
  return false;
}

// Before the call the inputs are on the stack, after it the output is.
double inputs_share(const std::string &name, const std::vector<c10::IValue> &inputs) {
  auto sizes = [&](size_t i) { return inputs[i].toTensor().sizes(); };
  if (name == "aten::addmm" || name == "aten::baddbmm") return static_cast<double>(sizes(1).back());
  if (name == "aten::conv2d" || name == "aten::convolution" || name == "aten::conv1d") return product(sizes(1).slice(1));
  if (name == "aten::scaled_dot_product_attention") {
    // Keys and values; the output is [.., queries, width of a value].
    auto q = sizes(0), k = sizes(1), v = sizes(2);
    return static_cast<double>(k[k.size() - 2]) * (1.0 + static_cast<double>(q.back()) / static_cast<double>(v.back()));
  }
  return static_cast<double>(sizes(0).back());
}

bool keeps_shape(const std::string &name) {
  for (auto known : {"aten::layer_norm", "aten::group_norm", "aten::batch_norm", "aten::bucketize", "aten::hardswish",
                     "aten::hardsigmoid", "aten::relu", "aten::roll"})
    if (name == known) return true;
  return false;
}

// libtorch's own shape rules for these are in Python.
bool known_shape(const std::string &name, torch::jit::Stack *stack, const std::vector<c10::IValue> &inputs) {
  std::vector<int64_t> out;
  size_t like = 0;
  auto sizes = [&](size_t i) { return inputs[i].toTensor().sizes(); };
  if (name == "aten::index_select") {
    out = sizes(0).vec();
    auto dim = inputs[1].toInt();
    out[dim < 0 ? dim + out.size() : dim] = inputs[2].toTensor().numel();
  } else if (name == "aten::embedding") {
    out = sizes(1).vec();
    out.push_back(sizes(0).back());
  } else if (name == "aten::scaled_dot_product_attention") {
    out = sizes(0).vec();
    out.back() = sizes(2).back();
  } else if (name == "aten::where" && inputs.size() == 3 && inputs[1].isTensor() && inputs[2].isTensor()) {
    out = at::infer_size(at::infer_size(sizes(0), sizes(1)), sizes(2));
    like = 1;
  } else if (name == "aten::conv2d" && inputs[4].isIntList()) {
    auto x = sizes(0), kernel = sizes(1);
    auto stride = inputs[3].toIntVector(), padding = inputs[4].toIntVector(), dilation = inputs[5].toIntVector();
    out = {x[0], kernel[0]};
    for (size_t i = 0; i < 2; ++i) {
      auto each = [i](const std::vector<int64_t> &list) { return list[list.size() == 1 ? 0 : i]; };
      out.push_back((x[i + 2] + 2 * each(padding) - each(dilation) * (kernel[i + 2] - 1) - 1) / each(stride) + 1);
    }
  } else if (keeps_shape(name)) {
    out = sizes(0).vec();
  } else {
    return false;
  }
  auto made = at::empty(out, inputs[like].toTensor().options().device(at::kMeta));
  torch::jit::drop(*stack, inputs.size());
  torch::jit::push(*stack, std::move(made));
  return true;
}

void on_paper(const c10::OperatorHandle &op, torch::jit::Stack *stack) {
  c10::impl::ExcludeDispatchKeyGuard plain(kPaper);
  auto &arguments = op.schema().arguments();
  auto first = stack->size() - arguments.size();
  bool drawn = false;
  auto tensors = [&](auto &&each) {
    for (size_t i = first; i < stack->size(); ++i) {
      auto &value = (*stack)[i];
      if (value.isTensor() && value.toTensor().defined()) {
        value = each(value.toTensor());
      } else if (value.isTensorList() || value.isOptionalTensorList()) {
        auto list = value.toList();
        for (size_t j = 0; j < list.size(); ++j) {
          c10::IValue item = list.get(j);
          if (item.isTensor() && item.toTensor().defined()) list.set(j, each(item.toTensor()));
        }
      }
    }
  };
  tensors([&](const at::Tensor &tensor) { drawn |= tensor.is_meta(); return tensor; });
  // Indices and constants that come from Rust hold numbers; beside a tensor without numbers they are shapes too.
  if (drawn) tensors([&](const at::Tensor &tensor) { return tensor.is_meta() ? tensor : tensor.to(at::kMeta); });
  for (size_t i = first; i < stack->size(); ++i)
    if ((*stack)[i].isDevice()) (*stack)[i] = c10::Device(at::kMeta);
  auto name = op.operator_name().name;
  bool counted = is_product(name);
  auto inputs = torch::jit::last(*stack, arguments.size()).vec();
  double share = counted ? inputs_share(name, inputs) : 0;
  for (auto &input : inputs) drawn |= input.isTensor() && input.toTensor().defined() && input.toTensor().is_meta();
  if (!drawn || !known_shape(name, stack, inputs)) op.callBoxed(stack);
  if (counted) multiplications += share * product(stack->back().toTensor().sizes());
}

struct Paper {
  c10::impl::IncludeDispatchKeyGuard guard{kPaper};
};
} // namespace

extern "C" {
Paper *vlhub_ext_paper_begin() {
  Paper *paper = nullptr;
  guarded([&] {
    // Not at start-up: each plugin library may bring a copy of this file, and the hook has one place.
    static torch::Library *library = [] {
      auto *made = new torch::Library(torch::Library::IMPL, "_", kPaper, __FILE__, __LINE__);
      made->fallback(torch::CppFunction::makeFromBoxedFunction<&on_paper>());
      return made;
    }();
    (void)library;
    multiplications = 0;
    paper = new Paper();
  });
  return paper;
}

void vlhub_ext_paper_end(Paper *paper) { delete paper; }

double vlhub_ext_multiplications() { return multiplications; }
}
