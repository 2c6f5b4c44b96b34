// TensorBoard's events: the few fields of tensorflow.Event that scalars need, in protobuf's wire format.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace trireme::launch {

struct Scalar {
  std::string_view tag;
  float value;
};

/// The event that begins a file: it names the format's version. Serialized; goes into a tfrecord.
std::string first_event(double time);
/// One step's scalars. `time` in seconds since 1970.
std::string scalar_event(double time, int64_t step, std::span<const Scalar> scalars);

/// The step of a serialized event; 0 where it has none.
int64_t step_of_event(std::string_view event);

}  // namespace trireme::launch
