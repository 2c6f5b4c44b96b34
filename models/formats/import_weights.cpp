#include "models/formats/import_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "models/formats/mapped_weights.h"
#include "parallel/checkpoint/weights/load_weights.h"
#include "runtime/base/error.h"
#include "runtime/base/half.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme {

namespace {

void write(SafetensorsWriter& file, const std::string& name, std::span<const float> values, DType dtype) {
  if (dtype == DType::f32) return file.write(name, std::as_bytes(values));
  constexpr size_t kPiece = size_t{1} << 16;
  std::vector<bf16> piece;
  for (size_t begin = 0; begin < values.size(); begin += kPiece) {
    piece.clear();
    for (const float value : values.subspan(begin, std::min(kPiece, values.size() - begin)))
      piece.emplace_back(value);
    file.write(name, std::as_bytes(std::span(piece)));
  }
}

}  // namespace

void import_weights(const WeightSource& source, const ModelConfig& config, DType dtype,
                    const std::string& file) {
  TRIREME_CHECK(dtype == DType::f32 || dtype == DType::bf16, "weights of {}", to_string(dtype));
  const std::vector<Parameter> parameters = parameters_of(config);
  check_weights_fit(source.kinds(), source.path(), {parameters}, false);
  std::vector<TensorSpec> specs;
  for (const Parameter& p : parameters) specs.push_back({p.name, dtype, p.global_shape});
  SafetensorsWriter writer(file, specs, TextMap{{"format", "trireme"}});
  std::vector<float> values;
  for (const Parameter& p : parameters) {
    values.resize(static_cast<size_t>(p.global_shape.numel()));
    source.read(p.name, p, values);
    if (!std::ranges::all_of(values, [](float x) { return std::isfinite(x); }))
      throw_bad_input("{}: {} has values that are not finite", source.path(), p.name);
    write(writer, p.name, values, dtype);
  }
  writer.commit();
}

}  // namespace trireme
