// Matrices that a file of ours has without their zeros: read, refused, and held.
#include <gmock/gmock.h>

#include "models/formats/open_weights.h"
#include "models/formats/quantized/own_quantization.h"
#include "runtime/io/safetensors/safetensors.h"
#include "runtime/ops/cpu/packed/sparse/few_rows.h"
#include "tests/models/formats/gguf_cases.h"
#include "tests/models/formats/quantized_cases.h"
#include "tests/models/inference/loading.h"
#include "tests/support/expect_error.h"

namespace trireme::test {
namespace {

using ops::PackedFormat;
using ops::PackedSpec;

/// Inputs that 8 does not divide, nor their halves.
ModelConfig odd_llama() {
  ModelConfig c = small_of(ModelFamily::llama);
  c.vocab_size = 96;
  c.num_layers = 1;
  c.ffn_size = 70;
  return c;
}

/// A model of drawn numbers, of which `percent` are zeros in all matrices but the token table.
struct Pruned {
  Pruned(ModelConfig model, std::optional<PackedSpec> spec, DType type = DType::bf16, uint32_t percent = 60)
      : drawn(std::move(model), [spec](const std::string& name) {
          return name.starts_with("layers.") && !name.ends_with("router.weight") ? spec : std::nullopt;
        }) {
    for (QuantizedTensor& t : drawn.tensors) t.sparse = t.shape.rank() == 2;
    const auto is_kept = [=](const std::string& name, size_t i) {
      return name.starts_with("embedding") || name.find("norm") != std::string::npos ||
             drawn_bits(name + ".kept", i) % 100 >= percent;
    };
    content.values = [=, this](const std::string& name) {
      std::vector<float> all = drawn.values(name);
      for (size_t i = 0; i < all.size(); ++i) {
        // Negative zeros are zeros.
        if (!is_kept(name, i)) all[i] = -0.0f;
      }
      return all;
    };
    content.matrix = [=, this](const std::string& name) {
      ops::CodedMatrix m = drawn.matrix(name);
      for (size_t i = 0; i < m.codes.size(); ++i) {
        if (!is_kept(name, i)) m.codes[i] = 128;
      }
      return m;
    };
    file = folder.path("model.safetensors");
    write_quantized(file, drawn.config, drawn.tensors, content, {.values_type = type});
    read();
  }
  Pruned(const Pruned&) = delete;

  void read() {
    const SafetensorsReader reader(file);
    metadata = reader.metadata();
    for (const auto& [name, t] : reader.tensors())
      tensors[name] = {{name, t.dtype, t.shape, t.is_signed}, {t.bytes.begin(), t.bytes.end()}};
  }
  std::vector<float> values(const std::string& name) const {
    return drawn.tensor(name).spec ? values_of_codes(content.matrix(name)) : content.values(name);
  }
  std::unique_ptr<WeightSource> open() const { return open_weights(find_weights(file), drawn.config); }

  /// Writes what `tensors` became, and reads a part of the matrix.
  void expect_refused(std::initializer_list<std::string_view> parts) const {
    std::vector<TensorSpec> specs;
    for (const auto& [name, tensor] : tensors) specs.push_back(tensor.first);
    SafetensorsWriter writer(file, specs, metadata);
    for (const auto& [name, tensor] : tensors) writer.write(name, tensor.second);
    writer.commit();
    expect_error(ExitCode::bad_input, parts, [&] {
      const auto source = open();
      std::vector<float> part(4);
      source->read(kMatrix, block_of(drawn.tensor(kMatrix), {1, 3}, {5, 7}), part);
    });
  }
  std::pair<TensorSpec, std::vector<std::byte>>& part(const std::string& end) {
    return tensors.at(std::string(kMatrix) + end);
  }
  static constexpr const char* kMatrix = "layers.0.ffn.down.weight";  // [64, 70]

  TemporaryFolder folder;
  DrawnQuantized drawn;
  QuantizedContent content;
  std::string file;
  TextMap metadata;
  std::map<std::string, std::pair<TensorSpec, std::vector<std::byte>>> tensors;
};

TEST(LoadingSparse, ValuesAndCodesComeBackInParts) {
  struct Case {
    std::optional<PackedSpec> spec;
    DType type;
  };
  for (const Case& c : {Case{{}, DType::bf16}, Case{{}, DType::f32}, Case{{}, DType::f16},
                        Case{PackedSpec{PackedFormat::int8}, DType::bf16},
                        Case{PackedSpec{PackedFormat::int8, 32}, DType::bf16}}) {
    const Pruned pruned(odd_llama(), c.spec, c.type);
    SCOPED_TRACE(c.spec ? to_string(*c.spec) : to_string(c.type));
    EXPECT_TRUE(pruned.tensors.contains("layers.0.ffn.down.weight_mask"));
    EXPECT_TRUE(pruned.tensors.contains("embedding.tokens.weight"));
    const auto source = pruned.open();
    EXPECT_TRUE(source->is_sparse(Pruned::kMatrix));
    EXPECT_FALSE(source->is_sparse("embedding.tokens.weight"));
    for (const QuantizedTensor& t : pruned.drawn.tensors) {
      const std::vector<float> all = pruned.values(t.name);
      std::vector<float> got(all.size());
      source->read(t.name, Parameter::whole(t.name, t.shape, 0, 0), got);
      EXPECT_EQ(got, all) << t.name;
      if (t.shape.rank() != 2) continue;
      EXPECT_EQ(source->coded_spec(t.name, Parameter::whole(t.name, t.shape, 0, 0)), t.spec);
      for (const Part columns : {Part{0, 1}, Part{3, 35}, Part{35, t.shape[1]}}) {
        std::vector<float> part(static_cast<size_t>(7 * columns.size())), expected;
        source->read(t.name, block_of(t, {2, 9}, columns), part);
        for (int64_t r = 2; r < 9; ++r)
          expected.insert(expected.end(), all.begin() + r * t.shape[1] + columns.begin,
                          all.begin() + r * t.shape[1] + columns.end);
        EXPECT_EQ(part, expected) << t.name;
      }
      if (!t.spec) continue;
      const auto codes = source->coded(t.name, Parameter::whole(t.name, t.shape, 0, 0));
      ASSERT_TRUE(codes.has_value());
      expect_equal(*codes, pruned.content.matrix(t.name), t.name);
    }
  }
  const Pruned full(odd_llama(), PackedSpec{PackedFormat::int8}, DType::bf16, 20);
  EXPECT_FALSE(full.tensors.contains("layers.0.ffn.down.weight_mask"));
  EXPECT_FALSE(full.open()->is_sparse(Pruned::kMatrix));
}

TEST(LoadingSparse, WhatDoesNotFitIsRefused) {
  const auto refused = [](auto&& change, std::initializer_list<std::string_view> parts,
                          std::optional<PackedSpec> spec = {}) {
    Pruned pruned(odd_llama(), spec);
    change(pruned);
    pruned.expect_refused(parts);
  };
  constexpr const char* kMask = "layers.0.ffn.down.weight_mask";
  refused([](Pruned& p) { p.tensors.erase("layers.0.ffn.down.weight_values"); },
          {"model.safetensors", "layers.0.ffn.down.weight_values", "missing"});
  refused([](Pruned& p) { p.tensors.erase(kMask); }, {kMask, "missing"});
  refused([](Pruned& p) { p.tensors.erase("layers.0.ffn.down.weight_shape"); },
          {"layers.0.ffn.down.weight_shape", "missing"});
  refused(
      [](Pruned& p) {
        p.tensors[Pruned::kMatrix] = {{Pruned::kMatrix, DType::bf16, {1}}, std::vector<std::byte>(2)};
      },
      {kMask, "layers.0.ffn.down.weight\" too"});
  // A bit for which there is no value, one beyond the inputs, and values without bits.
  refused([](Pruned& p) { p.part("_mask").second[0] ^= std::byte{1}; }, {kMask, "bits that are set"});
  refused([](Pruned& p) { p.part("_mask").second[8] |= std::byte{0x80}; }, {kMask, "70 inputs", "row 0"});
  refused(
      [](Pruned& p) {
        p.part("_values").first.shape = {p.part("_values").first.shape[0] - 1};
        p.part("_values").second.resize(p.part("_values").second.size() - 2);
      },
      {kMask, "bits that are set"});
  refused([](Pruned& p) { p.part("_mask").first.shape = {32, 18}; }, {kMask, "[32, 18]", "[64, 70 / 8]"});
  for (const int64_t inputs : {int64_t{64}, int64_t{73}, int64_t{-1}, INT64_MAX}) {
    refused([inputs](Pruned& p) { std::memcpy(p.part("_shape").second.data() + 8, &inputs, sizeof inputs); },
            {"layers.0.ffn.down.weight"});
  }
  refused(
      [](Pruned& p) {
        p.part("_values").first.is_signed = true, p.part("_values").first.dtype = DType::u8,
        p.part("_values").first.shape = {std::ssize(p.part("_values").second)};
      },
      {"layers.0.ffn.down.weight_values", "f32, bf16 or f16"});
  refused([](Pruned& p) { p.part("_values").first.is_signed = false; },
          {"layers.0.ffn.down.weight_values", "i8"}, PackedSpec{PackedFormat::int8});
}

/// What rank 0 says of its weights; logits and held values of all ranks are those of the file's values.
std::string loaded(const Pruned& pruned, int tensor, InferenceOptions options) {
  options.plan = {.data = 1, .tensor = tensor};
  const auto source = pruned.open();
  std::map<std::string, std::vector<float>> values;
  for (const QuantizedTensor& t : pruned.drawn.tensors) values[t.name] = pruned.values(t.name);
  const std::vector<float> expected = logits_with(values, pruned.drawn.config);
  std::string formats;
  run_thread_ranks(tensor, [&](Communicator& world) {
    Context ctx;
    InferenceModel model(ctx, world, *source, pruned.drawn.config, options);
    if (!options.weights) {
      for (const auto& [name, held] : held_values(ctx, model.model())) {
        for (const ParameterBlock* block : model.model().part().blocks()) {
          for (const Parameter& p : block->members) {
            if (p.name != name) continue;
            std::vector<float> part(static_cast<size_t>(p.shape.numel()));
            source->read(name, p, part);
            EXPECT_EQ(held, part) << name;
          }
        }
      }
    }
    expect_near(logits_of(ctx, model.model()), expected,
                options.activations == ops::Activations::exact ? 1e-5 : 0.1);
    if (world.rank() == 0) formats = model.loaded().formats;
  });
  return formats;
}

TEST(LoadingSparse, AreHeldAsTheyAreStored) {
  const bool can = ops::cpu::few_rows_kernels() != nullptr;
  const auto has = [can](const std::string& formats, const char* sparse) {
    EXPECT_EQ(formats.find(sparse) != std::string::npos, can) << formats;
  };
  const Pruned values(odd_llama(), {});
  const InferenceOptions exact{.activations = ops::Activations::exact};
  for (const int tensor : {1, 2}) {
    has(loaded(values, tensor, exact), "sparse bf16 (6");
    has(loaded(values, tensor,
               {.weights = PackedSpec{.format = PackedFormat::f32, .sparse = true},
                .activations = ops::Activations::exact}),
        "sparse f32 (6");
  }
  EXPECT_EQ(
      loaded(values, 1, {.weights = PackedSpec{PackedFormat::bf16}, .activations = ops::Activations::exact}),
      "bf16");
  const Pruned codes(odd_llama(), PackedSpec{PackedFormat::int8});
  has(loaded(codes, 2, {}), "sparse int8 per channel (6");
  // By exact activations they would be slower.
  EXPECT_EQ(loaded(codes, 1, exact).find("sparse int8"), std::string::npos);
  const InferenceOptions slower{.weights = PackedSpec{.format = PackedFormat::int8, .sparse = true},
                                .activations = ops::Activations::exact};
  expect_error(ExitCode::usage, {"sparse int8", "exact"}, [&] { loaded(codes, 1, slower); });
}

}  // namespace
}  // namespace trireme::test
