#include "models/formats/quantized/coded_tensors.h"

#include <utility>

#include "parallel/checkpoint/weights/stored_matrix.h"
#include "runtime/base/error.h"
#include "runtime/io/safetensors/float_block.h"

namespace trireme {

namespace {

class RawCodedTensors final : public RawTensors {
 public:
  RawCodedTensors(CodedTensors tensors, std::string path)
      : all_(std::move(tensors)), path_(std::move(path)) {}

  std::map<std::string, RawTensor, std::less<>> tensors() const override {
    std::map<std::string, RawTensor, std::less<>> raw;
    for (const auto& [name, tensor] : all_.tensors) {
      if (!all_.parts.contains(name)) raw.insert({name, {tensor.shape, tensor.dtype}});
    }
    for (const auto& [name, codes] : all_.codes)
      raw.insert({name, {Shape{codes->kind().outputs, codes->kind().inputs}, DType::f32}});
    for (const auto& [name, sparse] : all_.sparse) {
      if (sparse) raw.insert({name, {Shape{sparse->outputs(), sparse->inputs()}, sparse->dtype()}});
    }
    return raw;
  }

  void read(std::string_view name, Part rows, Part columns, std::span<float> values) const override {
    if (const StoredCodes* codes = codes_of(name)) return read_values(*codes, rows, columns, values);
    if (const auto found = all_.sparse.find(name); found != all_.sparse.end())
      return found->second->read(rows, columns, values);
    StoredTensor tensor = all_.tensors.find(name)->second;
    // Taps of a convolution: [width, kernel, 1].
    if (tensor.shape.rank() == 3 && tensor.shape[2] == 1) tensor.shape = {tensor.shape[0], tensor.shape[1]};
    if (!is_compute_type(tensor.dtype))
      throw_bad_input("{}: tensor \"{}\" is of type {}: f32, bf16 or f16 are read", path_, name,
                      to_string(tensor.dtype));
    read_floats(tensor, {rows.begin, rows.size(), columns.begin, columns.size()}, values);
  }

  std::optional<RawRows> rows(std::string_view name) const override {
    if (codes_of(name) != nullptr || is_sparse(name)) return std::nullopt;
    const StoredTensor& tensor = all_.tensors.find(name)->second;
    const auto format = format_of(tensor.dtype);
    if (!format || tensor.shape.rank() == 0) return std::nullopt;
    return RawRows{*format, tensor.bytes.data(),
                   tensor.shape[-1] * static_cast<int64_t>(size_of(tensor.dtype))};
  }

  std::optional<ops::PackedSpec> coded_spec(std::string_view name, Part columns) const override {
    const StoredCodes* codes = codes_of(name);
    return codes == nullptr ? std::nullopt : spec_of(codes->kind(), columns);
  }

  ops::CodedMatrix coded(std::string_view name, Part rows, Part columns) const override {
    return read_codes(*codes_of(name), rows, columns);
  }

  bool is_sparse(std::string_view name) const override { return all_.sparse.contains(name); }

  void release_pages() const noexcept override {
    if (all_.release_pages) all_.release_pages();
  }

 private:
  const StoredCodes* codes_of(std::string_view name) const {
    const auto found = all_.codes.find(name);
    return found == all_.codes.end() ? nullptr : found->second.get();
  }

  CodedTensors all_;
  std::string path_;
};

}  // namespace

std::unique_ptr<RawTensors> raw_coded_tensors(CodedTensors tensors, std::string path) {
  return std::make_unique<RawCodedTensors>(std::move(tensors), std::move(path));
}

}  // namespace trireme
