#include "models/formats/hf_tensors.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/formats/hf_config.h"
#include "models/formats/mapped_weights.h"
#include "runtime/base/error.h"
#include "tests/models/formats/published_configs.h"
#include "tests/models/formats/tiny_models.h"

namespace trireme {
namespace {

using testing::Each;
using testing::ElementsAre;

/// Tensors in memory.
class MemoryTensors final : public RawTensors {
 public:
  std::map<std::string, std::pair<Shape, std::vector<float>>, std::less<>> all;

  std::map<std::string, RawTensor, std::less<>> tensors() const override {
    std::map<std::string, RawTensor, std::less<>> out;
    for (const auto& [name, tensor] : all) out.insert({name, {tensor.first, DType::f32}});
    return out;
  }
  void read(std::string_view name, Part rows, Part columns, std::span<float> values) const override {
    const auto& [shape, stored] = all.find(name)->second;
    size_t i = 0;
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      for (int64_t c = columns.begin; c < columns.end; ++c)
        values[i++] = stored.at(static_cast<size_t>(r * shape[-1] + c));
    }
  }
};

std::unique_ptr<MemoryTensors> assembled(const TensorMap& map,
                                         const std::map<std::string, Parameter>& parameters) {
  auto raw = std::make_unique<MemoryTensors>();
  for (const StoredTensorShape& tensor : map.tensors) {
    raw->all[tensor.name] = {tensor.shape, assemble(map, tensor, [&](const std::string& name) {
                               return test::values_of(parameters.at(name));
                             })};
  }
  return raw;
}

/// The block of a whole parameter's values.
std::vector<float> block_of(const std::vector<float>& whole, const Parameter& block) {
  std::vector<float> out;
  const bool is_matrix = block.shape.rank() == 2;
  const int64_t pitch = is_matrix ? block.global_shape[1] : 1, begin = is_matrix ? block.offset[1] : 0,
                width = is_matrix ? block.shape[1] : 1;
  for (int64_t r = 0; r < block.shape[0]; ++r) {
    for (int64_t c = 0; c < width; ++c)
      out.push_back(whole[static_cast<size_t>((block.offset[0] + r) * pitch + begin + c)]);
  }
  return out;
}

TEST(HfTensors, EveryParameterIsFoundAgainWholeAndInBlocks) {
  for (const char* text : test::kPublished) {
    const HfModel model = test::tiny_model(text);
    SCOPED_TRACE(model.architecture);
    const TensorMap map = hf_tensor_map(model.config, model.architecture);
    std::map<std::string, Parameter> parameters;
    for (const Parameter& p : parameters_of(model.config)) parameters.insert({p.name, p});
    EXPECT_EQ(map.places.size(), parameters.size());
    const auto source = mapped_weights(assembled(map, parameters), map, model.config, "memory");
    EXPECT_EQ(source->kinds().size(), parameters.size());
    for (const auto& [name, p] : parameters) {
      EXPECT_EQ(source->kinds().find(name)->second.shape, p.global_shape);
      std::vector<Parameter> blocks = {p};
      for (int dim = 0; dim < p.global_shape.rank(); ++dim) {
        for (const int ranks : {2, 3}) {
          for (int rank = 0; rank < ranks; ++rank) {
            const int64_t n = p.global_shape[dim];
            blocks.push_back(Parameter::part_of(name, p.global_shape, dim,
                                                {n * rank / ranks, n * (rank + 1) / ranks}, 0, 0));
          }
        }
      }
      const std::vector<float> whole = test::values_of(p);
      for (const Parameter& block : blocks) {
        std::vector<float> read(static_cast<size_t>(block.shape.numel()));
        source->read(name, block, read);
        ASSERT_EQ(read, block_of(whole, block)) << name;
      }
    }
  }
}

TEST(HfTensors, NamesAreThoseOfTransformers) {
  const auto place = [](const char* text, const char* parameter) {
    const HfModel model = test::tiny_model(text);
    return hf_tensor_map(model.config, model.architecture).places.find(parameter)->second;
  };
  EXPECT_EQ(place(test::kLlama2, "layers.1.attention.query.weight"),
            (StoredPlace{.tensor = "model.layers.1.self_attn.q_proj.weight"}));
  EXPECT_EQ(place(test::kQwen25, "layers.0.attention.key.bias").tensor,
            "model.layers.0.self_attn.k_proj.bias");
  EXPECT_EQ(place(test::kMixtral, "layers.1.ffn.experts.3.up.weight").tensor,
            "model.layers.1.block_sparse_moe.experts.3.w3.weight");
  EXPECT_EQ(place(test::kQwen3Moe, "layers.1.ffn.router.weight").tensor, "model.layers.1.mlp.gate.weight");
  EXPECT_EQ(place(test::kGemma2, "final_norm.gain"),
            (StoredPlace{.tensor = "model.norm.weight", .added = 1}));
  EXPECT_EQ(place(test::kOlmo2, "layers.0.ffn_post_norm.gain").tensor,
            "model.layers.0.post_feedforward_layernorm.weight");
  const StoredPlace value = place(test::kPythia, "layers.0.attention.value.weight");
  EXPECT_EQ(value.tensor, "gpt_neox.layers.0.attention.query_key_value.weight");
  EXPECT_EQ(value.rows.stored_row(0), 32);   // of heads of 16
  EXPECT_EQ(value.rows.stored_row(17), 81);  // the second head's row 1
  const StoredPlace up = place(test::kPhi3, "layers.0.ffn.up.weight");
  EXPECT_EQ(up.tensor, "model.layers.0.mlp.gate_up_proj.weight");
  EXPECT_EQ(up.rows.offset, 96);
  const StoredPlace key = place(test::kGpt2, "layers.1.attention.key.weight");
  EXPECT_TRUE(key.transposed);
  EXPECT_EQ(key.tensor, "transformer.h.1.attn.c_attn.weight");
  EXPECT_FALSE(place(test::kGpt2, "layers.1.attention.key.bias").transposed);
}

TEST(HfTensors, ATiedMatrixIsThereOnceAndNamesAreSorted) {
  for (const char* text : test::kPublished) {
    const HfModel model = test::tiny_model(text);
    std::vector<std::string> names;
    for (const auto& tensor : hf_tensor_map(model.config, model.architecture).tensors)
      names.push_back(tensor.name);
    EXPECT_TRUE(std::ranges::is_sorted(names));
    const auto heads = std::ranges::count_if(names, [](const std::string& name) {
      return name == "lm_head.weight" || name == "embed_out.weight";
    });
    EXPECT_EQ(heads, model.config.tied_embeddings ? 0 : 1) << model.architecture;
  }
}

TEST(HfTensors, BuffersAreNoWeights) {
  for (const char* name : {"model.layers.0.self_attn.rotary_emb.inv_freq", "transformer.h.0.attn.bias",
                           "h.0.attn.bias", "h.0.attn.masked_bias", "gpt_neox.layers.3.attention.bias",
                           "gpt_neox.layers.3.attention.masked_bias"})
    EXPECT_TRUE(is_hf_buffer(name)) << name;
  for (const char* name : {"transformer.h.0.attn.c_attn.bias", "model.layers.0.self_attn.q_proj.bias",
                           "gpt_neox.layers.3.attention.dense.bias", "lm_head.weight"})
    EXPECT_FALSE(is_hf_buffer(name)) << name;
}

}  // namespace
}  // namespace trireme
