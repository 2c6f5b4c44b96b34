// What run.device and run.backend may be.
#pragma once

#include <cstdint>

#include "runtime/base/enum_names.h"

namespace trireme {

/// automatic: cuda where the program sees a GPU, else cpu.
enum class DeviceKind : uint8_t { automatic, cpu, cuda };

inline std::span<const EnumName<DeviceKind>> names_of(DeviceKind) {
  using enum DeviceKind;
  static constexpr EnumName<DeviceKind> kNames[] = {{automatic, "auto"}, {cpu, "cpu"}, {cuda, "cuda"}};
  return kNames;
}

/// What a run does when a checkpoint cannot be saved: it says so and goes on, or ends.
enum class SaveFailurePolicy : uint8_t { warn, stop };

inline std::span<const EnumName<SaveFailurePolicy>> names_of(SaveFailurePolicy) {
  using enum SaveFailurePolicy;
  static constexpr EnumName<SaveFailurePolicy> kNames[] = {{warn, "warn"}, {stop, "stop"}};
  return kNames;
}

/// Of communication. automatic: nccl where each rank has a GPU of its own, else mpi; self where there is one
/// rank.
enum class BackendKind : uint8_t { automatic, self, mpi, nccl };

inline std::span<const EnumName<BackendKind>> names_of(BackendKind) {
  using enum BackendKind;
  static constexpr EnumName<BackendKind> kNames[] = {
      {automatic, "auto"}, {self, "self"}, {mpi, "mpi"}, {nccl, "nccl"}};
  return kNames;
}

/// What documents that lie in one sample see of each other.
enum class DocumentsKind : uint8_t { attend, separate };

inline std::span<const EnumName<DocumentsKind>> names_of(DocumentsKind) {
  using enum DocumentsKind;
  static constexpr EnumName<DocumentsKind> kNames[] = {{attend, "attend"}, {separate, "separate"}};
  return kNames;
}

}  // namespace trireme
