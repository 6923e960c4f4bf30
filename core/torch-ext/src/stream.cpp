// Copies to a GPU on a stream of their own, beside what it computes. Through c10's interfaces alone, so one build serves CPU and GPU.

#include "guarded.h"
#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <memory>

namespace {
struct Transfer {
  c10::Device device;
  c10::impl::VirtualGuardImpl calls;
  c10::Stream copies;
  // Recorded after each copy; the last one follows all others.
  c10::Event sent;

  explicit Transfer(c10::Device device)
      : device(device), calls(device.type()), copies(calls.getStreamFromGlobalPool(device)), sent(device.type()) {}

  at::Tensor send(const at::Tensor &tensor) {
    at::Tensor made;
    {
      c10::StreamGuard guard(copies);
      // libtorch keeps pinned memory until the copy has read it.
      made = tensor.to(at::TensorOptions().device(device), /*non_blocking=*/true);
      sent.record(copies);
    }
    // Its memory belongs to the stream of copies, which must not write there again while what this thread computes may still read it.
    made.record_stream(calls.getStream(device));
    return made;
  }

  void arrive() { sent.block(calls.getStream(device)); }
};
} // namespace

extern "C" {
int vlhub_ext_pinned(const at::Tensor *tensor, at::Tensor **copy) {
  return guarded([&] { *copy = new at::Tensor(tensor->pin_memory()); });
}

void *vlhub_ext_transfer_begin(int index) {
  Transfer *transfer = nullptr;
  guarded([&] { transfer = new Transfer(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index))); });
  return transfer;
}

int vlhub_ext_transfer_send(void *transfer, const at::Tensor *tensor, at::Tensor **copy) {
  return guarded([&] { *copy = new at::Tensor(static_cast<Transfer *>(transfer)->send(*tensor)); });
}

int vlhub_ext_transfer_arrive(void *transfer) {
  return guarded([&] { static_cast<Transfer *>(transfer)->arrive(); });
}

void vlhub_ext_transfer_end(void *transfer) {
  std::unique_ptr<Transfer> ended(static_cast<Transfer *>(transfer));
  guarded([&] { ended.reset(); });
}
}
