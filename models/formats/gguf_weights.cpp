#include "models/formats/gguf_weights.h"

#include <utility>

#include "models/formats/gguf_config.h"
#include "models/formats/gguf_tensors.h"
#include "models/formats/mapped_weights.h"
#include "runtime/io/gguf/gguf.h"

namespace trireme {

namespace {

class GgufTensors : public RawTensors {
 public:
  explicit GgufTensors(const std::string& file) : file_(file) {}

  const GgufReader& file() const { return file_; }

  std::map<std::string, RawTensor, std::less<>> tensors() const override {
    std::map<std::string, RawTensor, std::less<>> all;
    for (const auto& [name, tensor] : file_.tensors()) {
      if (!is_gguf_table(name)) all.insert({name, {tensor.shape, dtype_of(*tensor.type)}});
    }
    return all;
  }

  void read(std::string_view name, Part rows, Part columns, std::span<float> values) const override {
    file_.read(name, {rows.begin, rows.end}, GgufRange{columns.begin, columns.end}, values);
  }

  std::optional<RawRows> rows(std::string_view name) const override {
    const GgufTensor& tensor = file_.at(name);
    const auto format = format_of_type(*tensor.type);
    if (!format || tensor.rows() == 0) return std::nullopt;
    return RawRows{*format, tensor.bytes.data(), std::ssize(tensor.bytes) / tensor.rows()};
  }

  void release_pages() const noexcept override { file_.release_pages(); }

 private:
  static std::optional<ops::PackedFormat> format_of_type(const GgufTypeInfo& type) {
    using enum ops::PackedFormat;
    switch (static_cast<GgufType>(type.id)) {
      case GgufType::f32:
        return f32;
      case GgufType::f16:
        return f16;
      case GgufType::bf16:
        return bf16;
      case GgufType::q8_0:
        return q8_0;
      case GgufType::q4_0:
        return q4_0;
      case GgufType::q4_1:
        return q4_1;
      case GgufType::q4_k:
        return q4_k;
      case GgufType::q6_k:
        return q6_k;
    }
    return std::nullopt;  // of a type that is not read
  }

  static DType dtype_of(const GgufTypeInfo& type) {
    if (type.id == info_of(GgufType::f16).id) return DType::f16;
    if (type.id == info_of(GgufType::bf16).id) return DType::bf16;
    return DType::f32;
  }

  GgufReader file_;
};

}  // namespace

std::unique_ptr<WeightSource> open_gguf_weights(const std::string& file, const ModelConfig& config) {
  auto tensors = std::make_unique<GgufTensors>(file);
  TensorMap map = gguf_tensor_map(config, tensors->file().text("general.architecture"));
  return mapped_weights(std::move(tensors), std::move(map), config, file);
}

}  // namespace trireme
