// Quantized files in models that are only read: codes stay codes in every layout.
#include <filesystem>

#include <gmock/gmock.h>

#include "models/formats/hf_config.h"
#include "tests/models/formats/gguf_cases.h"
#include "tests/models/formats/quantized_cases.h"
#include "tests/models/inference/loading.h"

namespace trireme::test {
namespace {

using ops::PackedFormat;
using ops::PackedSpec;

ModelConfig wide(int64_t num_experts = 0) {
  ModelConfig c = small_of(ModelFamily::llama);
  c.num_layers = 2;
  c.hidden_size = 128;
  c.ffn_size = 256;
  if (num_experts > 0) c.moe = {.num_experts = num_experts, .expert_ffn_size = 128};
  return c;
}

std::optional<PackedSpec> mixed(const std::string& name) {
  if (name.find("router") != std::string::npos) return std::nullopt;
  if (name.find("ffn") != std::string::npos) return PackedSpec{PackedFormat::int4, 32, false};
  if (name.find("attention") != std::string::npos) return PackedSpec{PackedFormat::int8};
  return name == "head.weight" ? std::optional(PackedSpec{PackedFormat::int4, 64}) : std::nullopt;
}

void write(const TemporaryFolder& folder, const DrawnQuantized& drawn, QuantizedFormat format) {
  if (format == QuantizedFormat::own) {
    write_quantized(folder.path("model.safetensors"), drawn.config, drawn.tensors, drawn.content, {});
    return;
  }
  auto config = write_hf_config(drawn.config, {}, DType::f32, drawn.config.vocab_size);
  config["quantization_config"] =
      nlohmann::ordered_json::parse(write_quantized(folder.path(), drawn.config, drawn.tensors, drawn.content,
                                                    {.format = format, .values_type = DType::f32}));
  folder.write("config.json", config.dump());
}

std::vector<float> part_of_values(const DrawnQuantized& drawn, const Parameter& p) {
  const std::vector<float> all = drawn.values(p.name);
  if (p.shape.rank() < 2) return {all.begin() + p.offset[0], all.begin() + p.offset[0] + p.shape[0]};
  std::vector<float> part;
  for (int64_t r = p.offset[0]; r < p.offset[0] + p.shape[0]; ++r)
    part.insert(part.end(), all.begin() + r * p.global_shape[1] + p.offset[1],
                all.begin() + r * p.global_shape[1] + p.offset[1] + p.shape[1]);
  return part;
}

void expect_loaded(const DrawnQuantized& drawn, QuantizedFormat format, const ParallelPlan& plan) {
  SCOPED_TRACE(fmt::format("format {}, tp {} pp {} ep {}", static_cast<int>(format), plan.tensor,
                           plan.pipeline, plan.expert));
  const TemporaryFolder folder;
  write(folder, drawn, format);
  std::map<std::string, std::vector<float>> values;
  for (const QuantizedTensor& t : drawn.tensors) values[t.name] = drawn.values(t.name);
  const std::vector<float> expected = logits_with(values, drawn.config);
  run_thread_ranks(plan.world_size(), [&](Communicator& world) {
    Context ctx;
    InferenceModel loaded(ctx, world, folder.path(), drawn.config,
                          {.plan = plan, .activations = ops::Activations::exact});
    const auto held = held_values(ctx, loaded.model());
    for (const ParameterBlock* block : loaded.model().part().blocks()) {
      for (const Parameter& p : block->members)
        EXPECT_EQ(held.at(p.name), part_of_values(drawn, p)) << p.name;
    }
    EXPECT_THAT(loaded.loaded().formats, testing::HasSubstr("int4"));
    if (plan.pipeline == 1 && plan.tensor == 1 && plan.expert == 1)
      expect_near(logits_of(ctx, loaded.model()), expected, 1e-5);
  });
}

TEST(LoadingQuantized, EveryLayoutHoldsItsPartOfTheCodes) {
  const DrawnQuantized drawn(wide(), mixed);
  for (const ParallelPlan& plan :
       {ParallelPlan{.data = 1}, ParallelPlan{.data = 1, .tensor = 2}, ParallelPlan{.data = 1, .pipeline = 2},
        ParallelPlan{.data = 1, .tensor = 2, .pipeline = 2}})
    expect_loaded(drawn, QuantizedFormat::own, plan);
}

TEST(LoadingQuantized, ExpertsAreDivided) {
  const DrawnQuantized drawn(wide(4), mixed);
  expect_loaded(drawn, QuantizedFormat::own, {.data = 1});
  expect_loaded(drawn, QuantizedFormat::own, {.data = 2, .expert = 2});
}

TEST(LoadingQuantized, DirectoriesOfTransformers) {
  const DrawnQuantized drawn(wide(), [](const std::string& name) {
    return name.starts_with("layers.") ? std::optional(PackedSpec{PackedFormat::int4, 32, false})
                                       : std::nullopt;
  });
  for (const QuantizedFormat format :
       {QuantizedFormat::compressed_tensors, QuantizedFormat::gptq, QuantizedFormat::awq})
    expect_loaded(drawn, format, {.data = 1, .tensor = 2});
}

TEST(LoadingQuantized, AnOrderOfInputsIsDecodedWhereRanksDivideThem) {
  const DrawnQuantized drawn(
      wide(),
      [](const std::string& name) {
        return name.starts_with("layers.") ? std::optional(PackedSpec{PackedFormat::int4, 32}) : std::nullopt;
      },
      true);
  expect_loaded(drawn, QuantizedFormat::own, {.data = 1});
  expect_loaded(drawn, QuantizedFormat::gptq, {.data = 1, .tensor = 2});
}

}  // namespace
}  // namespace trireme::test
