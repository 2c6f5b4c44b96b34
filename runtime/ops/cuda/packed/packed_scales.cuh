// Scales of packed weights, as a lane holds them.
#pragma once

#include "runtime/ops/cuda/packed/packed_codes.cuh"

namespace trireme::ops::cuda {

/// Scales of a group of inputs for a lane's outputs g and g + 8.
struct LaneScales {
  float scale[2], min[2], zero[2];
};

/// Scales of one unit for a lane's two outputs, as they lie in memory.
class UnitScales {
 public:
  __device__ void load(const PackedLayout& l, const std::byte* tile, int64_t unit, int g) {
    const auto two_words = [&](int64_t from, int64_t row) {
      return reinterpret_cast<const TwoWords*>(tile + from)[row * 8 + g];
    };
    switch (l.kind) {
      case ScaleKind::none:
        break;
      case ScaleKind::halves:
        set(0, two_words(l.fine, unit));
        break;
      case ScaleKind::minima:
        words_ = reinterpret_cast<const FourWords*>(tile + l.fine)[unit * 8 + g];
        break;
      case ScaleKind::q4_k:
        set(0, two_words(l.fine, unit));
        set(2, two_words(l.coarse, unit / 4));
        break;
      case ScaleKind::q6_k:
        set(0, two_words(l.fine, unit));
        words_.at[2] = reinterpret_cast<const unsigned*>(tile + l.coarse)[unit / 4 * 8 + g];
        break;
      case ScaleKind::groups:
      case ScaleKind::wide_groups: {
        const int64_t first = l.group_of(unit * kUnitInputs), second = l.group_of(unit * kUnitInputs + 32);
        if (l.kind == ScaleKind::groups) {
          const auto* of_groups = reinterpret_cast<const unsigned*>(tile + l.fine);
          words_.at[0] = of_groups[first * 8 + g];
          words_.at[1] = of_groups[second * 8 + g];
        } else {
          set(0, two_words(l.fine, first));
          set(2, two_words(l.fine, second));
        }
        if (!l.has_zeros) break;
        const auto* zeros = reinterpret_cast<const uint16_t*>(tile + l.coarse);
        zeros_ = zeros[first * 8 + g] | static_cast<unsigned>(zeros[second * 8 + g]) << 16;
      }
    }
  }

  /// Of the unit's inputs from `step` steps on.
  __device__ LaneScales of(const PackedLayout& l, int step) const {
    const auto zero = static_cast<float>(l.zero);
    LaneScales s{{1, 1}, {0, 0}, {zero, zero}};
#pragma unroll
    for (int o = 0; o < 2; ++o) {
      const int of_32 = step / 2 * 2 + o;
      switch (l.kind) {
        case ScaleKind::none:
          break;
        case ScaleKind::halves:
          s.scale[o] = half_of(words_.at[step / 2], o);
          break;
        case ScaleKind::minima:
          s.scale[o] = half_of(words_.at[step / 2], o);
          s.min[o] = half_of(words_.at[2 + step / 2], o);
          break;
        case ScaleKind::q4_k:
          s.scale[o] = half_of(words_.at[2], o) * as_float(words_.at[0] >> 8 * of_32 & 0xffu);
          s.min[o] = -(half_of(words_.at[3], o) * as_float(words_.at[1] >> 8 * of_32 & 0xffu));
          break;
        case ScaleKind::q6_k: {
          const auto factor = static_cast<int8_t>(words_.at[step / 2] >> 8 * (step % 2 * 2 + o) & 0xffu);
          s.scale[o] = half_of(words_.at[2], o) * static_cast<float>(factor);
          break;
        }
        case ScaleKind::groups:
        case ScaleKind::wide_groups:
          s.scale[o] = __uint_as_float(l.kind == ScaleKind::groups ? words_.at[step / 2] >> 16 * o << 16
                                                                   : words_.at[step / 2 * 2 + o]);
          if (l.has_zeros) s.zero[o] = as_float(zeros_ >> 8 * of_32 & 0xffu);
      }
    }
    return s;
  }

 private:
  __device__ void set(int first, const TwoWords& two) {
    words_.at[first] = two.at[0];
    words_.at[first + 1] = two.at[1];
  }
  __device__ static float half_of(unsigned word, int which) {
    fp16 half;
    half.bits = static_cast<uint16_t>(word >> 16 * which);
    return widen(half);
  }

  FourWords words_ = {};
  unsigned zeros_ = 0;
};

}  // namespace trireme::ops::cuda
