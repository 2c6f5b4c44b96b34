// GGUF files in models that are only read: integers stay as they are stored, wherever a rank's part allows
// it.
#include <cstring>

#include <gmock/gmock.h>

#include "models/formats/gguf_config.h"
#include "models/formats/gguf_model_file.h"
#include "models/formats/gguf_tensors.h"
#include "models/formats/gguf_weights.h"
#include "runtime/io/gguf/gguf_writer.h"
#include "tests/models/formats/gguf_cases.h"
#include "tests/models/inference/loading.h"

namespace trireme::test {
namespace {

using ops::PackedFormat;

ModelConfig wide(ModelFamily family, int64_t num_experts = 0) {
  ModelConfig c = small_of(family);
  c.num_layers = 2;
  c.hidden_size = 256;
  c.ffn_size = 512;
  if (num_experts > 0) c.moe = {.num_experts = num_experts, .expert_ffn_size = 256};
  return c;
}

/// Random blocks whose values are some hundredths.
std::vector<std::byte> random_blocks(GgufType type, int64_t count, uint64_t key) {
  const GgufTypeInfo& info = info_of(type);
  std::vector<std::byte> bytes(static_cast<size_t>(count * info.block_bytes));
  for (size_t i = 0; i < bytes.size(); i += 16) {
    const auto drawn = philox4x32(key, i, 0);
    std::memcpy(bytes.data() + i, drawn.data(), std::min<size_t>(16, bytes.size() - i));
  }
  const auto put = [&](int64_t block, int64_t at, uint16_t half) {
    std::memcpy(bytes.data() + block * info.block_bytes + at, &half, sizeof half);
  };
  for (int64_t b = 0; b < count; ++b) {
    if (type == GgufType::q8_0) put(b, 0, 0x1000);
    if (type == GgufType::q4_0) put(b, 0, 0x211f);
    if (type == GgufType::q4_1) put(b, 0, 0x211f), put(b, 2, 0xad1f);
    if (type == GgufType::q4_k) put(b, 0, 0x068e), put(b, 2, 0x0a8e);
    if (type == GgufType::q6_k) put(b, 208, 0x0100);
  }
  return bytes;
}

using TypeOf = std::function<GgufType(const std::string& tensor)>;

/// A file whose matrices have these types; vectors, routers and positions are f32.
std::string write(const TemporaryFolder& folder, const ModelConfig& config, const TypeOf& type_of) {
  const GgufModel model = write_gguf_config(config);
  const TensorMap map = gguf_tensor_map(config);
  std::vector<GgufSpec> specs;
  for (const auto& [name, factors] : model.tables)
    specs.push_back({name, GgufType::f32, {std::ssize(factors)}});
  const size_t num_tables = specs.size();
  for (const StoredTensorShape& tensor : map.tensors) {
    const bool is_plain = gguf_type_of(tensor, GgufType::f16) == GgufType::f32;
    specs.push_back({tensor.name, is_plain ? GgufType::f32 : type_of(tensor.name), tensor.shape});
  }
  const std::string file = folder.path("model.gguf");
  GgufWriter writer(file, specs, gguf_metadata(model, GgufFileType::q8_0, {}, {}));
  const ParameterValues drawn = drawn_weights(config);
  for (const auto& [name, factors] : model.tables) writer.write_values(name, factors);
  for (size_t i = num_tables; i < specs.size(); ++i) {
    const GgufSpec& spec = specs[i];
    if (info_of(spec.type).block_elements == 1) {
      writer.write_values(spec.name, assemble(map, map.tensors[i - num_tables], drawn));
    } else {
      const int64_t blocks = spec.shape.numel() / info_of(spec.type).block_elements;
      writer.write(spec.name, random_blocks(spec.type, blocks, hash_name(spec.name)));
    }
  }
  writer.commit();
  return file;
}

GgufType mixed(const std::string& tensor) {
  if (tensor.find("attn_v") != std::string::npos || tensor.find("ffn_down") != std::string::npos)
    return GgufType::q6_k;
  if (tensor.find("token_embd") != std::string::npos) return GgufType::q8_0;
  return GgufType::q4_k;
}

InferenceOptions exact() { return {.activations = ops::Activations::exact}; }

std::vector<float> file_values(const WeightSource& source, const Parameter& p) {
  std::vector<float> values(static_cast<size_t>(p.shape.numel()));
  source.read(p.name, p, values);
  return values;
}

void expect_as_stored(Context& ctx, InferenceModel& model, const std::string& file) {
  const auto held = held_values(ctx, model.model());
  const auto source = open_gguf_weights(file, model.config());
  for (const ParameterBlock* block : model.model().part().blocks()) {
    for (const Parameter& p : block->members) ASSERT_EQ(held.at(p.name), file_values(*source, p)) << p.name;
  }
}

void expect_logits(const std::string& file, const ModelConfig& config, std::vector<ParallelPlan> plans) {
  const std::vector<float> expected = trained_logits(file, config);
  plans.insert(plans.begin(), ParallelPlan{.data = 1});
  for (const ParallelPlan& plan : plans) {
    SCOPED_TRACE(fmt::format("tensor {} pipeline {} expert {}", plan.tensor, plan.pipeline, plan.expert));
    run_thread_ranks(plan.world_size(), [&](Communicator& world) {
      Context ctx;
      InferenceOptions options = exact();
      options.plan = plan;
      InferenceModel model(ctx, world, file, {}, options);
      expect_as_stored(ctx, model, file);
      expect_near(logits_of(ctx, model.model()), expected, 1e-5);
    });
  }
}

TEST(LoadingGguf, EveryTypeInEveryLayout) {
  const TemporaryFolder folder;
  ModelConfig config = wide(ModelFamily::llama);
  config.num_layers = 1;
  for (const GgufType type : {GgufType::f32, GgufType::f16, GgufType::bf16, GgufType::q8_0, GgufType::q4_0,
                              GgufType::q4_1, GgufType::q4_k, GgufType::q6_k}) {
    SCOPED_TRACE(info_of(type).name);
    const std::string file = write(folder, config, [&](const std::string&) { return type; });
    expect_logits(file, config, {{.data = 1, .tensor = 2}});
  }
}

TEST(LoadingGguf, EveryArchitecture) {
  const TemporaryFolder folder;
  for (const GgufCase& one : gguf_cases()) {
    SCOPED_TRACE(one.architecture);
    const std::string file = write(folder, one.config, [](const std::string&) { return GgufType::q4_1; });
    expect_logits(file, one.config, {});
  }
}

const PackedBlock& packed_of(InferenceModel& model, std::string_view name) {
  for (const ParameterBlock* block : model.model().part().blocks()) {
    for (const Parameter& p : block->members) {
      if (p.name == name) return *block->packed;
    }
  }
  throw std::runtime_error("no such block");
}

std::vector<std::string> formats_of(const PackedBlock& block) {
  std::vector<std::string> formats;
  for (const ops::PackedWeight& part : block.parts)
    formats.push_back(
        fmt::format("{} {}x{}x{}", ops::to_string(part.spec), part.matrices, part.outputs, part.inputs));
  return formats;
}

TEST(LoadingGguf, MembersOfABlockKeepTheirFormats) {
  const TemporaryFolder folder;
  const ModelConfig config = wide(ModelFamily::llama);
  const std::string file = write(folder, config, mixed);
  const auto self = make_self_communicator();
  Context ctx;
  InferenceModel model(ctx, *self, file, {}, exact());
  const int64_t keys = config.num_kv_heads * config.head_dim();
  EXPECT_THAT(
      formats_of(packed_of(model, "layers.0.attention.query.weight")),
      testing::ElementsAre(fmt::format("q4_k 1x{}x256", 256 + keys), fmt::format("q6_k 1x{}x256", keys)));
  EXPECT_THAT(formats_of(packed_of(model, "layers.1.ffn.up.weight")),
              testing::ElementsAre("q4_k 1x1024x256"));
  EXPECT_EQ(packed_of(model, "embedding.tokens.weight").activations, ops::Activations::exact);
  EXPECT_EQ(model.loaded().formats, "q4_k, q6_k, q8_0");
  expect_logits(file, config, {{.data = 1, .pipeline = 2}});
  // Biases of query, key and value.
  const ModelConfig biased = wide(ModelFamily::qwen2);
  expect_logits(write(folder, biased, mixed), biased, {{.data = 1, .tensor = 2}});
}

TEST(LoadingGguf, ColumnsThatCutBlocksAreOfTheComputeType) {
  const TemporaryFolder folder;
  const ModelConfig config = wide(ModelFamily::llama);
  const std::string file = write(folder, config, mixed);
  run_thread_ranks(4, [&](Communicator& world) {
    Context ctx;
    InferenceOptions options = exact();
    options.plan = {.tensor = 4};
    const InferenceModel model(ctx, world, file, {}, options);
    EXPECT_THAT(model.loaded().formats, testing::HasSubstr("f32 (of q6_k)"));
    EXPECT_THAT(model.loaded().formats, testing::HasSubstr("f32 (of q4_k)"));  // attention's output
  });
  expect_logits(file, config, {{.data = 1, .tensor = 4}});
}

TEST(LoadingGguf, Experts) {
  const TemporaryFolder folder;
  const ModelConfig config = wide(ModelFamily::llama, 4);
  const std::string file = write(folder, config, mixed);
  const auto self = make_self_communicator();
  Context ctx;
  InferenceModel model(ctx, *self, file, {}, exact());
  EXPECT_THAT(formats_of(packed_of(model, "layers.0.ffn.experts.1.up.weight")),
              testing::ElementsAre("q4_k 4x512x256"));
  expect_logits(file, config,
                {{.data = 2, .expert = 2}, {.data = 1, .tensor = 2, .expert = 2, .expert_tensor = 1}});
  // Gate and up of two formats have a common one.
  const std::string other = write(folder, config, [](const std::string& tensor) {
    return tensor.find("ffn_up") != std::string::npos ? GgufType::q6_k : mixed(tensor);
  });
  InferenceModel in_floats(ctx, *self, other, {}, exact());
  EXPECT_THAT(formats_of(packed_of(in_floats, "layers.0.ffn.experts.1.up.weight")),
              testing::ElementsAre("f32 4x512x256"));
  expect_logits(other, config, {{.data = 2, .expert = 2}});
}

TEST(LoadingGguf, IntegersAreMadeOfAnyFile) {
  const TemporaryFolder folder;
  ModelConfig config = wide(ModelFamily::llama, 2);
  config.num_layers = 1;
  const auto self = make_self_communicator();
  Context ctx;
  for (const GgufType type : {GgufType::f32, GgufType::q6_k}) {
    const std::string file = write(folder, config, [&](const std::string&) { return type; });
    for (const ops::PackedSpec& spec : {ops::PackedSpec{PackedFormat::int8},
                                        {PackedFormat::int8, 128, false},
                                        {PackedFormat::int4, 32},
                                        {PackedFormat::int4, 64, false}}) {
      SCOPED_TRACE(ops::to_string(spec));
      InferenceOptions options = exact();
      options.weights = spec;
      InferenceModel model(ctx, *self, file, {}, options);
      EXPECT_EQ(model.loaded().formats, ops::to_string(spec));
      const auto held = held_values(ctx, model.model());
      const auto source = open_gguf_weights(file, config);
      for (const ParameterBlock* block : model.model().part().blocks()) {
        for (const Parameter& p : block->members) {
          const std::vector<float> values = file_values(*source, p);
          float largest = 0;
          for (const float x : values) largest = std::max(largest, std::abs(x));
          const float step = !block->packed ? 0 : largest / (spec.format == PackedFormat::int8 ? 127 : 7);
          float error = 0;
          for (size_t i = 0; i < values.size(); ++i)
            error = std::max(error, std::abs(held.at(p.name)[i] - values[i]));
          ASSERT_LE(error, 0.51f * step) << p.name;
        }
      }
      const std::vector<float> expected = logits_with(held, config);
      expect_near(logits_of(ctx, model.model()), expected, 1e-5);
      if (spec.group == 0) continue;  // of all inputs that a tensor-parallel rank has
      options.plan = {.data = 1, .tensor = 2};
      run_thread_ranks(2, [&](Communicator& world) {
        Context own;
        InferenceModel part(own, world, file, {}, options);
        expect_near(logits_of(own, part.model()), expected, 1e-5);
      });
    }
  }
}

TEST(LoadingGguf, InThreeKindsOfFloats) {
  const TemporaryFolder folder;
  const ModelConfig config = wide(ModelFamily::qwen2);
  const std::string file = write(folder, config, [](const std::string&) { return GgufType::q4_0; });
  const auto self = make_self_communicator();
  Context ctx;
  const std::vector<float> expected = trained_logits(file, config);
  for (const PackedFormat format : {PackedFormat::f32, PackedFormat::bf16, PackedFormat::f16}) {
    InferenceModel model(ctx, *self, file, {}, {.weights = ops::PackedSpec{format}});
    EXPECT_EQ(model.loaded().formats, ops::to_string(ops::PackedSpec{format}));
    expect_near(logits_of(ctx, model.model()), expected, format == PackedFormat::f32 ? 1e-6 : 2e-2);
  }
  // As the file has them.
  InferenceModel same(
      ctx, *self, file, {},
      {.weights = ops::PackedSpec{PackedFormat::q4_0}, .activations = ops::Activations::exact});
  expect_near(logits_of(ctx, same.model()), expected, 1e-5);
}

TEST(LoadingGguf, ActivationsInEightBitsAreNear) {
  const TemporaryFolder folder;
  const ModelConfig config = wide(ModelFamily::llama);
  const std::string file = write(folder, config, mixed);
  const auto self = make_self_communicator();
  Context ctx;
  InferenceModel model(ctx, *self, file, {}, {});
  const std::vector<float> expected = trained_logits(file, config), logits = logits_of(ctx, model.model());
  expect_near(logits, expected, 0.05);
  EXPECT_NE(logits, expected);
}

}  // namespace
}  // namespace trireme::test
