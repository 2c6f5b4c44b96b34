// A record of memory allocated and freed by passes of layers, in order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/device/allocator.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

/// Bytes that the allocator takes for rows x width elements. Absurd sizes are cut at 1 PiB, so that they can
/// be added up and shown as such.
inline int64_t block_bytes(int64_t rows, int64_t width, DType dtype) {
  constexpr double kMost = 1125899906842624.0;
  const double bytes =
      static_cast<double>(rows) * static_cast<double>(width) * static_cast<double>(size_of(dtype));
  return bytes == 0 ? 0 : Allocator::block_size(static_cast<int64_t>(std::min(bytes, kMost)));
}
inline int64_t block_bytes(int64_t n, DType dtype) { return block_bytes(n, 1, dtype); }

struct MemoryEvent {
  MemoryCategory category = MemoryCategory::activations;
  int64_t bytes = 0;  ///< below 0: given back
};
using MemoryTrace = std::vector<MemoryEvent>;

/// The three passes of a layer for one micro-batch, activations and buffers. Its input and the gradient of
/// its output are there when a pass begins, and are among what it gives back; its output and the gradient of
/// its input are among what it takes.
struct LayerTraces {
  MemoryTrace forward, backward_input, backward_weight;
  /// Whether the weight gradient needs the gradient of the output.
  bool keeps_gradient = false;
};

/// Writes a trace while a description makes tensors and lets go of them.
class TraceRecorder {
 public:
  /// A tensor: its bytes count until the last handle goes. The recorder outlives it.
  using Held = std::shared_ptr<const int64_t>;

  Held make(int64_t rows, int64_t width, DType dtype, MemoryCategory category = MemoryCategory::activations) {
    const int64_t bytes = block_bytes(rows, width, dtype);
    add({category, bytes});
    return {new int64_t(bytes), [this, category](const int64_t* size) {
              add({category, -*size});
              delete size;
            }};
  }
  Held buffer(int64_t rows, int64_t width, DType dtype) {
    return make(rows, width, dtype, MemoryCategory::buffers);
  }
  /// What happens from now on goes to `trace`; null: nowhere.
  void record(MemoryTrace* trace) { trace_ = trace; }

 private:
  void add(const MemoryEvent& event) {
    if (trace_ != nullptr && event.bytes != 0) trace_->push_back(event);
  }
  MemoryTrace* trace_ = nullptr;
};

}  // namespace trireme
