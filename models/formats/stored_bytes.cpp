#include "models/formats/stored_bytes.h"

#include <cstring>

#include "runtime/base/half.h"

namespace trireme {

namespace {

template <class Element>
std::vector<std::byte> bytes_as(std::span<const float> values) {
  std::vector<std::byte> bytes(values.size() * sizeof(Element));
  for (size_t i = 0; i < values.size(); ++i) {
    const Element element(values[i]);
    std::memcpy(bytes.data() + i * sizeof element, &element, sizeof element);
  }
  return bytes;
}

}  // namespace

std::vector<std::byte> stored_bytes(std::span<const float> values, DType dtype) {
  if (dtype == DType::bf16) return bytes_as<bf16>(values);
  if (dtype == DType::f16) return bytes_as<fp16>(values);
  return bytes_as<float>(values);
}

float rounded_to(float value, DType dtype) {
  if (dtype == DType::bf16) return static_cast<float>(bf16(value));
  if (dtype == DType::f16) return static_cast<float>(fp16(value));
  return value;
}

}  // namespace trireme
