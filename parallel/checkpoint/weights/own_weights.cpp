#include "parallel/checkpoint/weights/own_weights.h"

#include "runtime/base/error.h"
#include "runtime/io/safetensors/float_block.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme {

namespace {

class OwnWeights final : public WeightSource {
 public:
  explicit OwnWeights(const std::string& path) : file_(path) {}

  const std::string& path() const override { return file_.path(); }
  std::map<std::string, StoredKind, std::less<>> kinds() const override {
    std::map<std::string, StoredKind, std::less<>> kinds;
    for (const auto& [name, tensor] : file_.tensors()) kinds.insert({name, {tensor.shape, tensor.dtype}});
    return kinds;
  }
  void read(std::string_view name, const Parameter& p, std::span<float> values) const override {
    StoredTensor stored = file_.at(name);
    if (stored.shape.rank() > 2) stored.shape = {stored.shape[0], stored.shape.numel() / stored.shape[0]};
    const bool is_matrix = p.shape.rank() > 1;
    const FloatBlock block = is_matrix ? FloatBlock{p.offset[0], p.shape[0], p.offset[1], p.shape[1]}
                                       : FloatBlock{0, 1, p.offset[0], p.shape[0]};
    if (!values.empty()) read_floats(stored, block, values);
  }
  std::optional<StoredMatrix> stored(std::string_view name, const Parameter& p) const override {
    const StoredTensor& tensor = file_.at(name);
    const auto format = format_of(tensor.dtype);
    if (!format || p.shape.rank() != 2) return std::nullopt;
    const int64_t row_bytes = tensor.shape[1] * static_cast<int64_t>(size_of(tensor.dtype));
    const int64_t before = *bytes_before(*format, {p.offset[1], p.offset[1] + p.shape[1]});
    const std::byte* first = tensor.bytes.data() + p.offset[0] * row_bytes + before;
    return StoredMatrix{*format, [=](int64_t row) { return first + row * row_bytes; }};
  }

  void release_pages() const noexcept override { file_.release_pages(); }

 private:
  SafetensorsReader file_;
};

}  // namespace

std::unique_ptr<WeightSource> open_own_weights(const std::string& path) {
  return std::make_unique<OwnWeights>(path);
}

}  // namespace trireme
