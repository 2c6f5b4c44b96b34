#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/formats/open_weights.h"
#include "models/formats/quantized/own_quantization.h"
#include "models/formats/quantized/quantized_files.h"
#include "parallel/checkpoint/weights/load_weights.h"
#include "runtime/io/safetensors/safetensors.h"
#include "tests/models/formats/gguf_cases.h"
#include "tests/models/formats/quantized_cases.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using ops::PackedFormat;
using ops::PackedSpec;
using test::DrawnQuantized;
using test::expect_error;
using test::TemporaryFolder;

/// Sizes that divide by nothing.
ModelConfig odd_model() {
  ModelConfig c = test::small_of(ModelFamily::llama);
  c.vocab_size = 97;
  c.num_layers = 2;
  c.ffn_size = 75;
  return c;
}

std::unique_ptr<WeightSource> written(const TemporaryFolder& folder, const DrawnQuantized& drawn,
                                      ops::Activations activations = ops::Activations::exact) {
  const std::string file = folder.path("model.safetensors");
  EXPECT_EQ(write_quantized(file, drawn.config, drawn.tensors, drawn.content, {.activations = activations}),
            "");
  EXPECT_TRUE(is_quantized(file));
  EXPECT_TRUE(is_quantized(folder.path()));
  const WeightPlace place = find_weights(folder.path());
  EXPECT_EQ(place.format, ModelFormat::own_file);
  auto source = open_weights(place, drawn.config);
  check_weights_fit(source->kinds(), source->path(), {parameters_of(drawn.config)}, false);
  return source;
}

TEST(QuantizedOwn, EverySpecComesBack) {
  for (const PackedFormat format : {PackedFormat::int4, PackedFormat::int8, PackedFormat::fp8}) {
    for (const int64_t group : {0, 32, 64, 128}) {
      for (const bool symmetric : {true, false}) {
        for (const bool ordered : {false, true}) {
          if (ordered && group == 0) continue;
          if (format == PackedFormat::fp8 && (group > 0 || !symmetric)) continue;
          const PackedSpec spec{format, group, symmetric};
          SCOPED_TRACE(ops::to_string(spec) + (ordered ? ", ordered" : ""));
          const DrawnQuantized drawn(
              odd_model(), [&](const std::string&) { return spec; }, ordered);
          const TemporaryFolder folder;
          const auto source = written(folder, drawn);
          test::expect_values(*source, drawn);
          bool has_order = false;
          for (const QuantizedTensor& t : drawn.tensors) {
            const auto got = source->coded(t.name, Parameter::whole(t.name, t.shape, 0, 0));
            if (!t.spec) continue;
            ASSERT_TRUE(got.has_value()) << t.name;
            EXPECT_EQ(test::values_of_codes(*got), drawn.values(t.name)) << t.name;
            has_order = has_order || !got->order.empty();
          }
          if (ordered) {
            EXPECT_EQ(has_order, group < 75);
          } else {
            test::expect_codes(*source, drawn);
          }
        }
      }
    }
  }
}

TEST(QuantizedOwn, SpecsMixAndSomeStayNumbers) {
  const auto spec_of = [](const std::string& name) -> std::optional<PackedSpec> {
    if (name.find("ffn") != std::string::npos) return PackedSpec{PackedFormat::int4, 32, false};
    if (name.find("attention") != std::string::npos) return PackedSpec{PackedFormat::int8};
    return std::nullopt;
  };
  ModelConfig config = odd_model();
  config.moe = {.num_experts = 3, .expert_ffn_size = 48};
  config.convolution = {.kernel = 3, .every = 2};
  const DrawnQuantized drawn(config, spec_of);
  const TemporaryFolder folder;
  const auto source = written(folder, drawn, ops::Activations::int8);
  test::expect_values(*source, drawn);
  test::expect_codes(*source, drawn);
  const SafetensorsReader file(folder.path("model.safetensors"));
  EXPECT_EQ(read_own_quantization(file)->activations, ops::Activations::int8);
  EXPECT_EQ(token_table_rows(file), 97);
  for (const auto& [name, tensor] : file.tensors()) {
    const auto at = reinterpret_cast<uintptr_t>(tensor.bytes.data());
    EXPECT_EQ(at % size_of(tensor.dtype), 0u) << name;
  }
}

TEST(QuantizedOwn, PartsAreThoseOfTheWhole) {
  const PackedSpec spec{PackedFormat::int4, 32, false};
  const DrawnQuantized drawn(odd_model(), [&](const std::string&) { return spec; });
  const TemporaryFolder folder;
  const auto source = written(folder, drawn);
  const QuantizedTensor& t = drawn.tensor("layers.0.ffn.down.weight");  // [64, 75]
  const std::vector<float> all = drawn.values(t.name);
  for (const Part columns : {Part{0, 32}, Part{32, 64}, Part{32, 75}, Part{64, 75}}) {
    const Parameter p = test::block_of(t, {5, 29}, columns);
    EXPECT_EQ(source->coded_spec(t.name, p), spec);
    const auto part = source->coded(t.name, p);
    ASSERT_TRUE(part.has_value());
    std::vector<float> expected;
    for (int64_t r = 5; r < 29; ++r)
      expected.insert(expected.end(), all.begin() + r * 75 + columns.begin,
                      all.begin() + r * 75 + columns.end);
    EXPECT_EQ(test::values_of_codes(*part), expected);
  }
  for (const Part columns : {Part{16, 75}, Part{0, 37}, Part{32, 70}}) {
    const Parameter p = test::block_of(t, {0, 64}, columns);
    EXPECT_FALSE(source->coded_spec(t.name, p).has_value());
    EXPECT_FALSE(source->coded(t.name, p).has_value());
  }
}

TEST(QuantizedOwn, OneScaleForAllInputsHoldsForEachPartOfThem) {
  const PackedSpec spec{PackedFormat::int8};
  const DrawnQuantized drawn(odd_model(), [&](const std::string&) { return spec; });
  const TemporaryFolder folder;
  const auto source = written(folder, drawn);
  const QuantizedTensor& t = drawn.tensor("layers.0.ffn.down.weight");
  const auto part = source->coded(t.name, test::block_of(t, {0, 64}, {37, 75}));
  ASSERT_TRUE(part.has_value());
  const ops::CodedMatrix whole = drawn.matrix(t.name);
  EXPECT_EQ(part->scales, whole.scales);
  EXPECT_EQ(part->codes[1], whole.codes[38]);
}

TEST(QuantizedOwn, ScalesThatAreNoNumbersOfBf16AreKept) {
  DrawnQuantized drawn(odd_model(), [](const std::string&) { return PackedSpec{PackedFormat::int4, 64}; });
  drawn.content.matrix = [&](const std::string& name) {
    ops::CodedMatrix m = drawn.matrix(name);
    m.scales[3] = 0.1f;
    return m;
  };
  const TemporaryFolder folder;
  const auto source = written(folder, drawn);
  const QuantizedTensor& t = drawn.tensor("head.weight");
  EXPECT_EQ(source->coded(t.name, Parameter::whole(t.name, t.shape, 0, 0))->scales[3], 0.1f);
}

/// A file whose header or tensors were changed.
struct Hostile {
  Hostile() {
    const DrawnQuantized drawn(odd_model(), [](const std::string&) {
      return PackedSpec{PackedFormat::int4, 32, false};
    });
    written(folder, drawn);
    const SafetensorsReader reader(folder.path("model.safetensors"));
    for (const auto& [name, tensor] : reader.tensors())
      tensors[name] = {{name, tensor.dtype, tensor.shape}, {tensor.bytes.begin(), tensor.bytes.end()}};
    metadata = reader.metadata();
  }
  void expect_refused(std::initializer_list<std::string_view> parts) const {
    std::vector<TensorSpec> specs;
    for (const auto& [name, tensor] : tensors) specs.push_back(tensor.first);
    SafetensorsWriter writer(folder.path("model.safetensors"), specs, metadata);
    for (const auto& [name, tensor] : tensors) writer.write(name, tensor.second);
    writer.commit();
    expect_error(ExitCode::bad_input, parts, [&] {
      const auto source = open_weights(find_weights(folder.path()), odd_model());
      check_weights_fit(source->kinds(), source->path(), {parameters_of(odd_model())}, false);
      for (const Parameter& p : parameters_of(odd_model())) {
        std::vector<float> values(static_cast<size_t>(p.shape.numel()));
        source->read(p.name, p, values);
      }
    });
  }
  void set_metadata(const std::string& from, const std::string& to) {
    std::string& text = metadata.find("quantization")->second;
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, from.size(), to);
  }

  TemporaryFolder folder;
  std::map<std::string, std::pair<TensorSpec, std::vector<std::byte>>> tensors;
  TextMap metadata;
};

constexpr const char* kUp = "layers.1.ffn.up.weight";

TEST(QuantizedOwn, MissingTensorsAndOtherShapesAreNamed) {
  for (const char* end : {"_packed", "_scale", "_zero_point", "_shape"}) {
    Hostile file;
    file.tensors.erase(std::string(kUp) + end);
    file.expect_refused({"model.safetensors", "layers.1.ffn.up"});
  }
  for (const char* end : {"_packed", "_scale", "_zero_point"}) {
    Hostile file;
    auto& [spec, bytes] = file.tensors.at(std::string(kUp) + end);
    spec.shape = {spec.shape[0] * spec.shape[1], 1};
    file.expect_refused({"model.safetensors", "layers.1.ffn.up"});
  }
  Hostile file;
  file.tensors.erase("final_norm.gain");
  file.expect_refused({"final_norm.gain is missing"});
}

TEST(QuantizedOwn, AShapeThatDoesNotFitTheCodesIsRefused) {
  for (const int64_t inputs : {int64_t{65}, int64_t{56}, int64_t{-1}, INT64_MAX, int64_t{0}}) {
    Hostile file;
    auto& bytes = file.tensors.at(std::string(kUp) + "_shape").second;
    std::memcpy(bytes.data() + 8, &inputs, sizeof inputs);
    file.expect_refused({"layers.1.ffn.up.weight_shape", fmt::to_string(inputs)});
  }
}

TEST(QuantizedOwn, ScalesAreFinite) {
  Hostile file;
  auto& bytes = file.tensors.at(std::string(kUp) + "_scale").second;
  bytes[0] = std::byte{0x80};
  bytes[1] = std::byte{0x7f};
  file.expect_refused({"layers.1.ffn.up.weight", "inf"});
}

TEST(QuantizedOwn, TheHeaderIsChecked) {
  const std::pair<const char*, const char*> changes[] = {
      {"\"version\":1", "\"version\":2"}, {"\"version\":1", "\"version\":-1"},
      {"\"exact\"", "\"sparse\""},        {"\"bits\":4", "\"bits\":3"},
      {"\"bits\":4", "\"bits\":8"},       {"\"group\":32", "\"group\":-32"},
      {"\"group\":32", "\"group\":0"},    {"\"group\":32", "\"group\":64"},
      {"\"group\":32", "\"group\":1"},    {"\"type\":\"int\"", "\"type\":\"nvfp4\""},
      {"\"matrices\":", "\"others\":"},   {"{", ""},
      {".weight\":{", ".bias\":{"},       {"layers.0", "layers.7"},
  };
  for (const auto& [from, to] : changes) {
    SCOPED_TRACE(fmt::format("{} -> {}", from, to));
    Hostile file;
    file.set_metadata(from, to);
    file.expect_refused({"model.safetensors"});
  }
}

TEST(QuantizedOwn, GroupsOfInputsAreChecked) {
  Hostile file;
  const std::string name = std::string(kUp) + "_g_idx";
  const auto with = [&](int32_t first) {
    std::vector<int32_t> groups(64);
    groups[0] = first;
    const auto bytes = std::as_bytes(std::span(groups));
    file.tensors[name] = {{name, DType::i32, {64}}, {bytes.begin(), bytes.end()}};
  };
  with(2);
  file.expect_refused({"layers.1.ffn.up.weight", "input 0", "group 2", "2 groups"});
  with(-1);
  file.expect_refused({"group -1"});
  file.tensors[name].first.shape = {32, 2};
  file.expect_refused({"weight_g_idx", "[32, 2]"});
}

}  // namespace
}  // namespace trireme
