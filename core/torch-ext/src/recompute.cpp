// Gradient checkpointing: a part of a network of which the backward pass keeps the inputs alone, and computes the rest again.

#include "guarded.h"
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <array>
#include <c10/core/GradMode.h>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <vector>

namespace {
using torch::autograd::variable_list;

// The part as Rust has it. `run` gives a tensor that is ours, or null and a text.
using RunPart = at::Tensor *(*)(void *part, at::Tensor *const *inputs, size_t count, char *message, size_t room);
using FreePart = void (*)(void *part);

class Part {
  std::unique_ptr<void, FreePart> part;
  RunPart run;
  // Rust's closure may move between threads, and is not made for two at once.
  std::mutex mutex;

public:
  Part(std::unique_ptr<void, FreePart> part, RunPart run) : part(std::move(part)), run(run) {}

  at::Tensor operator()(const variable_list &inputs) {
    std::vector<at::Tensor *> pointers;
    for (const auto &input : inputs) pointers.push_back(const_cast<at::Tensor *>(&input));
    std::array<char, 2048> message{};
    std::lock_guard<std::mutex> lock(mutex);
    std::unique_ptr<at::Tensor> made(run(part.get(), pointers.data(), pointers.size(), message.data(), message.size()));
    if (!made) throw std::runtime_error(message.data());
    return *made;
  }
};

// Autocast as it is on a thread. Casts of weights are never kept across a part: without a graph they would cut off gradients later, and a second
// run finds other ones than the first.
struct Autocasting {
  static constexpr std::array<at::DeviceType, 2> devices{at::kCPU, at::kCUDA};
  std::array<bool, 2> enabled{};
  std::array<at::ScalarType, 2> dtypes{};
  bool keeps_casts;

  Autocasting() : keeps_casts(at::autocast::is_autocast_cache_enabled()) {
    for (size_t i = 0; i < devices.size(); ++i) {
      enabled[i] = at::autocast::is_autocast_enabled(devices[i]);
      dtypes[i] = at::autocast::get_autocast_dtype(devices[i]);
    }
  }
  void set(bool keep_casts) const {
    for (size_t i = 0; i < devices.size(); ++i) {
      at::autocast::set_autocast_enabled(devices[i], enabled[i]);
      at::autocast::set_autocast_dtype(devices[i], dtypes[i]);
    }
    at::autocast::set_autocast_cache_enabled(keep_casts);
  }
};

struct AutocastAs {
  Autocasting before;
  explicit AutocastAs(const Autocasting &wanted) { wanted.set(/*keep_casts=*/false); }
  ~AutocastAs() { before.set(before.keeps_casts); }
};

struct Recompute : torch::autograd::Node {
  std::shared_ptr<Part> part;
  std::vector<torch::autograd::SavedVariable> saved;
  std::vector<bool> differentiable;
  Autocasting autocasting;

  std::string name() const override { return "vlhub::Recompute"; }

  void release_variables() override {
    std::lock_guard<std::mutex> lock(mutex_);
    part.reset();
    saved.clear();
  }

  variable_list apply(variable_list &&gradients) override {
    // The engine asks for second derivatives by running nodes with gradients on, and for those of given tensors by leaving leaves out.
    if (at::GradMode::is_enabled()) throw std::runtime_error("gradient checkpointing has no second derivatives");
    if (!torch::autograd::Engine::get_default_engine().is_checkpoint_valid())
      throw std::runtime_error("gradient checkpointing goes with a backward pass to all parameters, not with gradients of given tensors");
    std::shared_ptr<Part> again;
    variable_list leaves;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!part) throw std::runtime_error("a second backward pass through a part that is computed again; its inputs are freed");
      again = part;
      for (size_t i = 0; i < saved.size(); ++i) leaves.push_back(saved[i].unpack().detach().set_requires_grad(differentiable[i]));
    }
    variable_list out(leaves.size());
    if (!gradients[0].defined()) return out;
    at::Tensor output;
    {
      at::AutoGradMode with_graph(true);
      AutocastAs as_before(autocasting);
      output = (*again)(leaves);
    }
    // Within the engine's own run: parameters get their gradients here, inputs through what is returned.
    if (output.requires_grad()) torch::autograd::backward({output}, {std::move(gradients[0])});
    for (size_t i = 0; i < leaves.size(); ++i)
      if (differentiable[i] && task_should_compute_output(i)) out[i] = leaves[i].grad();
    return out;
  }
};
} // namespace

extern "C" {
// Whether autograd keeps a graph of what is computed from these. Without a gradient of an input the engine would never come by.
int vlhub_ext_wants_graph(at::Tensor *const *inputs, size_t count) {
  int wanted = 0;
  guarded([&] {
    for (size_t i = 0; i < count && !wanted; ++i) wanted = at::GradMode::is_enabled() && inputs[i]->requires_grad();
  });
  return wanted;
}

// Whether autocast keeps casts of weights on this thread; it tells what was so before.
int vlhub_ext_keep_casts(int on) {
  bool before = at::autocast::is_autocast_cache_enabled();
  at::autocast::set_autocast_cache_enabled(on != 0);
  return before;
}

// `output`, which `part` has computed from `inputs` without a graph, with a graph in which `part` runs again. `part` is ours, whatever happens.
at::Tensor *vlhub_ext_recompute(at::Tensor *const *inputs, size_t count, const at::Tensor *output, void *part, RunPart run, FreePart free) {
  std::unique_ptr<void, FreePart> owned(part, free);
  at::Tensor *made = nullptr;
  guarded([&] {
    variable_list seen;
    for (size_t i = 0; i < count; ++i) seen.push_back(*inputs[i]);
    std::shared_ptr<Recompute> node(new Recompute(), torch::autograd::deleteNode);
    node->set_next_edges(torch::autograd::collect_next_edges(at::ArrayRef<at::Tensor>(seen)));
    node->part = std::make_shared<Part>(std::move(owned), run);
    for (const auto &input : seen) {
      node->saved.emplace_back(input, /*is_output=*/false);
      node->differentiable.push_back(input.requires_grad());
    }
    // A tensor of its own: a part may give back one of its inputs.
    auto result = output->detach();
    torch::autograd::set_history(result, node);
    made = new at::Tensor(std::move(result));
  });
  return made;
}
}
