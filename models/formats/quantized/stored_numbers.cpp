#include "models/formats/quantized/stored_numbers.h"

#include <algorithm>
#include <cstring>

#include <fmt/ranges.h>

#include "runtime/base/error.h"
#include "runtime/base/half.h"

namespace trireme {

namespace {

template <class Element>
Element element_at(const StoredTensor& tensor, int64_t index) {
  Element element;
  std::memcpy(&element, tensor.bytes.data() + static_cast<size_t>(index) * sizeof element, sizeof element);
  return element;
}

const StoredTensor& find_tensor(const StoredTensors& tensors, const std::string& path,
                                const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw_bad_input("{}: tensor \"{}\" is missing", path, name);
  return found->second;
}

}  // namespace

const StoredTensor& tensor_of(const StoredTensors& tensors, const std::string& path, const std::string& name,
                              DType dtype, const Shape& shape) {
  const StoredTensor& tensor = find_tensor(tensors, path, name);
  if (tensor.dtype != dtype || tensor.shape != shape) {
    throw_bad_input("{}: tensor \"{}\" is {} {}; {} {} was expected", path, name, to_string(tensor.dtype),
                    to_string(tensor.shape), to_string(dtype), to_string(shape));
  }
  return tensor;
}

const StoredTensor& signed_bytes_of(const StoredTensors& tensors, const std::string& path,
                                    const std::string& name, const Shape& shape) {
  const StoredTensor& tensor = tensor_of(tensors, path, name, DType::u8, shape);
  if (!tensor.is_signed) throw_bad_input("{}: tensor \"{}\" is u8; i8 was expected", path, name);
  return tensor;
}

const StoredTensor& floats_of(const StoredTensors& tensors, const std::string& path, const std::string& name,
                              const std::vector<Shape>& shapes) {
  const StoredTensor& tensor = find_tensor(tensors, path, name);
  if (!is_compute_type(tensor.dtype) || std::ranges::find(shapes, tensor.shape) == shapes.end()) {
    throw_bad_input("{}: tensor \"{}\" is {} {}; f32, bf16 or f16 of {} was expected", path, name,
                    to_string(tensor.dtype), to_string(tensor.shape), to_string(shapes.front()));
  }
  return tensor;
}

int32_t int32_at(const StoredTensor& tensor, int64_t index) { return element_at<int32_t>(tensor, index); }

int64_t int64_at(const StoredTensor& tensor, int64_t index) { return element_at<int64_t>(tensor, index); }

float float_at(const StoredTensor& tensor, int64_t index) {
  if (tensor.dtype == DType::bf16) return static_cast<float>(element_at<bf16>(tensor, index));
  if (tensor.dtype == DType::f16) return static_cast<float>(element_at<fp16>(tensor, index));
  return element_at<float>(tensor, index);
}

std::vector<int32_t> all_int32(const StoredTensor& tensor) {
  std::vector<int32_t> all(tensor.bytes.size() / sizeof(int32_t));
  if (!all.empty()) std::memcpy(all.data(), tensor.bytes.data(), all.size() * sizeof(int32_t));
  return all;
}

}  // namespace trireme
