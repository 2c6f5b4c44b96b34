// Element types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runtime/base/float8.h"
#include "runtime/base/half.h"

namespace trireme {

enum class DType : uint8_t { f32, bf16, f16, f64, i32, i64, u8, f8e4m3, f8e5m2 };

constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::u8:
    case DType::f8e4m3:
    case DType::f8e5m2:
      return 1;
  }
  return 0;
}

constexpr std::string_view to_string(DType dtype) {
  constexpr std::string_view kNames[] = {"f32", "bf16", "f16", "f64", "i32", "i64", "u8", "f8e4m3", "f8e5m2"};
  return kNames[static_cast<size_t>(dtype)];
}

/// True for the types of weights and activations: f32, bf16, f16.
constexpr bool is_compute_type(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
}

/// True for the types that ops::quantize makes: they are stored and multiplied, and reduced nowhere.
constexpr bool is_float8(DType dtype) { return dtype == DType::f8e4m3 || dtype == DType::f8e5m2; }

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<fp16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<fp8_e4m3> {
  static constexpr DType value = DType::f8e4m3;
};
template <>
struct DTypeOf<fp8_e5m2> {
  static constexpr DType value = DType::f8e5m2;
};

}  // namespace trireme
