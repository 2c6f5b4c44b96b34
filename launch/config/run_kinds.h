// Values of options.
#pragma once

#include <cstdint>

#include "runtime/base/enum_names.h"

namespace trireme::launch {

/// automatic: cuda if a GPU is visible, else cpu.
enum class DeviceKind : uint8_t { automatic, cpu, cuda };

inline std::span<const EnumName<DeviceKind>> names_of(DeviceKind) {
  using enum DeviceKind;
  static constexpr EnumName<DeviceKind> kNames[] = {{automatic, "auto"}, {cpu, "cpu"}, {cuda, "cuda"}};
  return kNames;
}

/// When a checkpoint cannot be saved: warn and continue, or stop the run.
enum class SaveFailurePolicy : uint8_t { warn, stop };

inline std::span<const EnumName<SaveFailurePolicy>> names_of(SaveFailurePolicy) {
  using enum SaveFailurePolicy;
  static constexpr EnumName<SaveFailurePolicy> kNames[] = {{warn, "warn"}, {stop, "stop"}};
  return kNames;
}

/// What to do when a save by steps is due while the one before is still being written: wait for that one, or
/// skip this one.
enum class SaveOverlap : uint8_t { wait, skip };

inline std::span<const EnumName<SaveOverlap>> names_of(SaveOverlap) {
  using enum SaveOverlap;
  static constexpr EnumName<SaveOverlap> kNames[] = {{wait, "wait"}, {skip, "skip"}};
  return kNames;
}

/// Communication backend. automatic: nccl if each rank has its own GPU, else mpi; self with one rank.
enum class BackendKind : uint8_t { automatic, self, mpi, nccl };

inline std::span<const EnumName<BackendKind>> names_of(BackendKind) {
  using enum BackendKind;
  static constexpr EnumName<BackendKind> kNames[] = {
      {automatic, "auto"}, {self, "self"}, {mpi, "mpi"}, {nccl, "nccl"}};
  return kNames;
}

/// Attention between the documents of a packed sample: across boundaries, or within each alone.
enum class DocumentsKind : uint8_t { attend, separate };

inline std::span<const EnumName<DocumentsKind>> names_of(DocumentsKind) {
  using enum DocumentsKind;
  static constexpr EnumName<DocumentsKind> kNames[] = {{attend, "attend"}, {separate, "separate"}};
  return kNames;
}

}  // namespace trireme::launch
