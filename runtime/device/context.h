// Where one rank computes: its device, compute stream, memory and threads. Handed down to every op.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <typeindex>

#include "runtime/device/allocator.h"
#include "runtime/device/device.h"
#include "runtime/device/graph.h"
#include "runtime/device/op_settings.h"
#include "runtime/device/stream.h"

namespace trireme {

class OpObserver;
class Recorder;

class Context {
 public:
  /// `num_threads` is for arithmetic on the CPU (1 or more). Throws EnvironmentError when the device is not
  /// there or the program was built without it, naming what was asked for and what exists.
  explicit Context(Device device = {}, int num_threads = 1, const OpSettings& settings = {});

  Device device() const { return device_; }
  int num_threads() const { return num_threads_; }
  const OpSettings& settings() const { return settings_; }
  Allocator& allocator() const { return *allocator_; }
  /// Memory of the host that the device copies from and to while both do other things.
  Allocator& host_allocator() const { return *host_allocator_; }
  Stream& stream() const { return *stream_; }
  /// For host tensors, whatever the device: numbers and names that ranks exchange.
  Stream& host_stream() const { return *host_stream_; }

  /// Stream::capture() of work on stream(). Memory that it takes is the graph's as long as that lives.
  std::unique_ptr<Graph> capture(const std::function<void()>& submit);

  /// Calls `observer` on every op from now on; null: none. It must outlive its registration.
  void observe_ops(OpObserver* observer) { op_observer_ = observer; }
  OpObserver* op_observer() const { return op_observer_; }
  /// What is told where in its work this rank is; null: nobody. It must outlive the context's use.
  void set_recorder(Recorder* recorder) { recorder_ = recorder; }
  Recorder* recorder() const { return recorder_; }

  /// The context's own object of type T, made as T(context) at the first call: what a library needs once per
  /// device, such as a handle. Lives as long as the context; one thread at a time.
  template <class T>
  T& service() {
    auto& entry = services_[std::type_index(typeid(T))];
    if (!entry) entry = std::make_shared<T>(*this);
    return *static_cast<T*>(entry.get());
  }

 private:
  Device device_;
  int num_threads_;
  OpSettings settings_;
  OpObserver* op_observer_ = nullptr;
  Recorder* recorder_ = nullptr;
  std::unique_ptr<Allocator> allocator_, host_allocator_;
  std::unique_ptr<Stream> stream_, host_stream_;
  std::map<std::type_index, std::shared_ptr<void>> services_;  // the first to go
};

}  // namespace trireme
