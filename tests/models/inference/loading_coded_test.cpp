// Matrices that a source has as codes: kept as they are, wherever a rank's part allows it.
#include <gmock/gmock.h>

#include "parallel/checkpoint/weights/own_weights.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "tests/models/formats/gguf_cases.h"
#include "tests/models/inference/loading.h"

namespace trireme::test {
namespace {

using ops::CodedMatrix;
using ops::PackedFormat;
using ops::PackedSpec;
using testing::HasSubstr;

using SpecOf = std::function<std::optional<PackedSpec>(const std::string& name)>;

/// Another source's matrices, rounded to nearest.
class CodedWeights final : public WeightSource {
 public:
  CodedWeights(Context& ctx, const std::string& file, const SpecOf& spec_of, bool ordered)
      : base_(open_own_weights(file)) {
    for (const auto& [name, kind] : base_->kinds()) {
      const auto spec = kind.shape.rank() == 2 ? spec_of(name) : std::nullopt;
      if (!spec || name.ends_with(kRouterWeight)) continue;
      std::vector<float> values(static_cast<size_t>(kind.shape.numel()));
      base_->read(name, Parameter::whole(name, kind.shape, 0, 0), values);
      CodedMatrix m = ops::round_to_nearest(ctx, *spec, kind.shape[0], kind.shape[1], values);
      // Of query, key and value one is ordered alone.
      for (int64_t i = m.inputs; ordered && i > 0 && name.find("attention.key") == std::string::npos; --i) {
        m.order.push_back(static_cast<int32_t>(i - 1));
      }
      coded_.emplace(name, std::move(m));
    }
  }

  const std::string& path() const override { return base_->path(); }
  std::map<std::string, StoredKind, std::less<>> kinds() const override { return base_->kinds(); }
  void read(std::string_view name, const Parameter& p, std::span<float> values) const override {
    const auto found = coded_.find(name);
    if (found == coded_.end()) return base_->read(name, p, values);
    std::vector<float> row(static_cast<size_t>(found->second.inputs));
    for (int64_t r = 0; r < p.shape[0]; ++r) {
      decode_row(found->second, p.offset[0] + r, row);
      std::copy_n(row.begin() + p.offset[1], p.shape[1], values.begin() + r * p.shape[1]);
    }
  }
  std::optional<CodedMatrix> coded(std::string_view name, const Parameter& p) const override {
    if (!coded_spec(name, p)) return std::nullopt;
    return part_of(coded_.find(name)->second, p.offset[0], p.shape[0], p.offset[1], p.shape[1]);
  }
  std::optional<PackedSpec> coded_spec(std::string_view name, const Parameter& p) const override {
    const auto found = coded_.find(name);
    if (found == coded_.end() || !is_whole_groups(found->second, p.offset[1], p.shape[1]))
      return std::nullopt;
    return found->second.spec;
  }

 private:
  std::unique_ptr<WeightSource> base_;
  std::map<std::string, CodedMatrix, std::less<>> coded_;
};

ModelConfig llama(int64_t num_experts = 0) {
  ModelConfig config = small_of(ModelFamily::llama);
  config.num_layers = 1;
  config.hidden_size = 128;
  config.ffn_size = 192;
  if (num_experts > 0) config.moe = {.num_experts = num_experts, .expert_ffn_size = 64};
  return config;
}

/// Loads and compares values and logits with those of the source; the formats of rank 0.
std::string loaded_formats(const WeightSource& source, const ModelConfig& config, ParallelPlan plan,
                           InferenceOptions options = {}) {
  options.plan = plan;
  options.activations = ops::Activations::exact;
  std::map<std::string, std::vector<float>> values;
  for (const auto& [name, kind] : source.kinds()) {
    values[name].resize(static_cast<size_t>(kind.shape.numel()));
    source.read(name, Parameter::whole(name, kind.shape, 0, 0), values[name]);
  }
  const std::vector<float> expected = logits_with(values, config);
  std::string formats;
  run_thread_ranks(plan.world_size(), [&](Communicator& world) {
    Context ctx;
    InferenceModel model(ctx, world, source, config, options);
    const auto held = held_values(ctx, model.model());
    for (const ParameterBlock* block : model.model().part().blocks()) {
      for (const Parameter& p : block->members) {
        std::vector<float> part(static_cast<size_t>(p.shape.numel()));
        source.read(p.name, p, part);
        ASSERT_EQ(held.at(p.name), part) << p.name;
      }
    }
    expect_near(logits_of(ctx, model.model()), expected, 1e-5);
    if (world.rank() == 0) formats = model.loaded().formats;
  });
  return formats;
}

TEST(LoadingCoded, CodesAreKept) {
  const TemporaryFolder folder;
  const ModelConfig config = llama();
  const std::string file = saved_file(folder, config);
  Context ctx;
  for (const PackedSpec& spec : {PackedSpec{PackedFormat::int4, 64},
                                 PackedSpec{PackedFormat::int8, 32, false}, PackedSpec{PackedFormat::fp8}}) {
    for (const bool ordered : {false, true}) {
      SCOPED_TRACE(to_string(spec) + (ordered ? ", ordered" : ""));
      const CodedWeights source(
          ctx, file, [&](const std::string&) { return spec; }, ordered);
      EXPECT_EQ(loaded_formats(source, config, {.data = 1}), to_string(spec));
      EXPECT_EQ(loaded_formats(source, config, {.data = 1}, {.weights = spec}), to_string(spec));
    }
  }
}

TEST(LoadingCoded, PartsThatCutGroupsAreOfTheComputeType) {
  const TemporaryFolder folder;
  const ModelConfig config = llama();
  const std::string file = saved_file(folder, config);
  Context ctx;
  const PackedSpec spec{PackedFormat::int4, 64};
  const CodedWeights source(
      ctx, file, [&](const std::string&) { return spec; }, false);
  // 96 of the 192 inputs of ffn.down.
  EXPECT_EQ(loaded_formats(source, config, {.data = 1, .tensor = 2}),
            "f32 (of int4 in groups of 64), int4 in groups of 64");
}

TEST(LoadingCoded, MembersOfABlockKeepTheirFormats) {
  const TemporaryFolder folder;
  const ModelConfig config = llama();
  const std::string file = saved_file(folder, config);
  Context ctx;
  const auto spec_of = [](const std::string& name) -> std::optional<PackedSpec> {
    if (name.find("value") != std::string::npos) return std::nullopt;
    if (name.find("up") != std::string::npos) return PackedSpec{PackedFormat::fp8};
    return PackedSpec{PackedFormat::int8, 128};
  };
  const std::string formats = loaded_formats(CodedWeights(ctx, file, spec_of, false), config, {.data = 1});
  EXPECT_THAT(formats,
              testing::AllOf(HasSubstr("int8 in groups of 128"), HasSubstr("fp8"), HasSubstr("f32")));
}

TEST(LoadingCoded, ExpertsAreInOne) {
  const TemporaryFolder folder;
  const ModelConfig config = llama(4);
  const std::string file = saved_file(folder, config);
  Context ctx;
  const PackedSpec spec{PackedFormat::int4, 32};
  for (const bool ordered : {false, true}) {
    const CodedWeights source(
        ctx, file, [&](const std::string&) { return spec; }, ordered);
    EXPECT_EQ(loaded_formats(source, config, {.data = 1}), to_string(spec));
    EXPECT_EQ(loaded_formats(source, config, {.data = 2, .expert = 2}), to_string(spec));
  }
  const auto some = [&](const std::string& name) {
    return name.find("experts.2") == std::string::npos ? std::optional(spec) : std::nullopt;
  };
  EXPECT_EQ(loaded_formats(CodedWeights(ctx, file, some, false), config, {.data = 1}),
            "f32 (of int4 in groups of 32), int4 in groups of 32");
}

}  // namespace
}  // namespace trireme::test
