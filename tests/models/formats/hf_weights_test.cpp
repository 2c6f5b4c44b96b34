#include "models/formats/hf_weights.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/formats/hf_tensors.h"
#include "models/formats/import_weights.h"
#include "models/formats/mapped_weights.h"
#include "models/formats/open_weights.h"
#include "models/formats/source_folder.h"
#include "parallel/checkpoint/weights/own_weights.h"
#include "runtime/base/half.h"
#include "runtime/io/safetensors/safetensors.h"
#include "tests/models/formats/hf_directory.h"
#include "tests/models/formats/published_configs.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::TemporaryFolder;

struct Directory : test::HfDirectory {
  using HfDirectory::HfDirectory;
  /// In two files; returns the index.
  nlohmann::json write_two() const {
    test::StoredTensors parts[2];
    nlohmann::json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", nlohmann::json::object()}};
    size_t i = 0;
    for (const auto& [name, tensor] : tensors) {
      const size_t part = 2 * i++ / tensors.size();
      parts[part][name] = tensor;
      index["weight_map"][name] = fmt::format("model-{}.safetensors", part);
    }
    for (size_t part = 0; part < 2; ++part)
      test::write_tensors(folder.path(fmt::format("model-{}.safetensors", part)), parts[part]);
    write_index(index);
    return index;
  }
  void write_index(const nlohmann::json& index) const {
    folder.write("model.safetensors.index.json", index.dump());
  }
  void expect_all() const { expect_all_of(*open_hf_weights(folder.path(), model.config)); }
  void expect_all_of(const WeightSource& source) const {
    EXPECT_EQ(source.kinds().size(), parameters_of(model.config).size());
    for (const Parameter& p : parameters_of(model.config)) {
      std::vector<float> values(static_cast<size_t>(p.global_shape.numel()));
      source.read(p.name, p, values);
      EXPECT_EQ(values, test::values_of(p)) << p.name;
    }
  }
  void expect_refused(std::initializer_list<std::string_view> parts) const {
    expect_error(ExitCode::bad_input, parts, [&] { open_hf_weights(folder.path(), model.config); });
  }
};

TEST(HfWeights, OneFileOfEachArchitecture) {
  for (const char* text : test::kPublished) {
    const Directory directory(text);
    SCOPED_TRACE(directory.model.architecture);
    directory.write_one();
    directory.expect_all();
  }
}

TEST(HfWeights, SeveralFilesWithAnIndexAndLinks) {
  const Directory directory(test::kLlama32);
  directory.write_two();
  directory.expect_all();
  // As the hub's cache: files are links to blobs elsewhere.
  const TemporaryFolder blobs;
  for (const char* name : {"model-0.safetensors", "model-1.safetensors", "config.json"}) {
    fs::rename(directory.folder.path(name), blobs.path(name));
    fs::create_symlink(blobs.path(name), directory.folder.path(name));
  }
  directory.expect_all();
}

TEST(HfWeights, AnIndexThatDoesNotFitItsFilesIsRefused) {
  const Directory directory(test::kLlama2);
  nlohmann::json index = directory.write_two();
  const std::string first = index["weight_map"].begin().key();
  const auto with_file = [&](const nlohmann::json& file) {
    nlohmann::json other = index;
    other["weight_map"][first] = file;
    directory.write_index(other);
  };
  for (const char* file :
       {"../model-0.safetensors", "/etc/model.safetensors", "a/model-0.safetensors", ".."}) {
    with_file(file);
    directory.expect_refused({first, file, "in the same directory"});
  }
  with_file(7);
  directory.expect_refused({first});
  with_file("model-2.safetensors");
  directory.expect_refused({"model-2.safetensors", "not there"});
  with_file("model-1.safetensors");
  directory.expect_refused({first});
  with_file("model-0.bin");
  directory.expect_refused({"model-0.bin"});
  directory.write_index({{"metadata", 1}});
  directory.expect_refused({"weight_map"});
  directory.folder.write("model.safetensors.index.json", "{");
  directory.expect_refused({"model.safetensors.index.json"});
}

TEST(HfWeights, TensorsThatDoNotFitTheConfigurationAreNamed) {
  Directory directory(test::kLlama2);
  directory.tensors.erase("model.norm.weight");
  auto& head = directory.tensors.at("lm_head.weight");
  head = test::stored<bf16>("lm_head.weight", DType::bf16, {3, 64}, std::vector<float>(192));
  directory.write_one();
  directory.expect_refused({"model.norm.weight is missing", "lm_head.weight is [3, 64]", "[101, 64]"});
}

TEST(HfWeights, BuffersAndEqualCopiesOfTiedMatricesArePassedOver) {
  Directory directory(test::kGpt2);
  directory.tensors["transformer.h.0.attn.bias"] =
      test::stored<float>("transformer.h.0.attn.bias", DType::f32, {1, 1, 2, 2}, {1, 0, 1, 1});
  test::StoredForTest head = directory.tensors.at("transformer.wte.weight");
  head.spec.name = "lm_head.weight";
  directory.tensors["lm_head.weight"] = head;
  directory.write_one();
  directory.expect_all();
  directory.tensors["lm_head.weight"].bytes[5] ^= std::byte{1};
  directory.write_one();
  directory.expect_refused({"lm_head.weight", "tie_word_embeddings"});
}

TEST(HfWeights, NamesOfTheModelWithoutItsHead) {
  for (const char* text : {test::kGpt2, test::kQwen25}) {
    Directory directory(text);
    test::StoredTensors bare;
    for (auto& [name, tensor] : directory.tensors) {
      tensor.spec.name = name.substr(name.find('.') + 1);
      bare[tensor.spec.name] = tensor;
    }
    directory.tensors = bare;
    directory.write_one();
    directory.expect_all();
  }
}

TEST(HfWeights, PickledWeightsAreRefusedWithTheCommandThatConverts) {
  const Directory directory(test::kLlama2);
  directory.folder.write("pytorch_model.bin", "PK");
  directory.expect_refused({"pytorch_model.bin", "python3 -c", "save_pretrained"});
  expect_error(ExitCode::bad_input, {"python3 -c"},
               [&] { find_weights(directory.folder.path("pytorch_model.bin")); });
  const Directory adapter(test::kLlama2);
  adapter.folder.write("adapter_model.safetensors", "x");
  adapter.expect_refused({"adapter", "merge"});
}

TEST(HfWeights, WhatAPathIsIsFound) {
  const Directory directory(test::kLlama2);
  directory.write_one();
  EXPECT_EQ(find_weights(directory.folder.path()).format, ModelFormat::hugging_face);
  const WeightPlace file = find_weights(directory.folder.path("model.safetensors"));
  EXPECT_EQ(file.format, ModelFormat::hugging_face);
  EXPECT_EQ(model_of(file), directory.model.config);
  directory.expect_all_of(*open_weights(file, directory.model.config));
}

TEST(HfWeights, AnImportHasTheSameValues) {
  const Directory directory(test::kGemma2);
  directory.write_one();
  const auto source = open_hf_weights(directory.folder.path(), directory.model.config);
  const TemporaryFolder run;
  import_weights(*source, directory.model.config, DType::f32, run.path("model.safetensors"));
  EXPECT_EQ(find_weights(run.path()).format, ModelFormat::own_file);
  directory.expect_all_of(*open_own_weights(run.path("model.safetensors")));
  import_weights(*source, directory.model.config, DType::bf16, run.path("half.safetensors"));
  directory.expect_all_of(*open_own_weights(run.path("half.safetensors")));
  EXPECT_EQ(SafetensorsReader(run.path("half.safetensors")).at("final_norm.gain").dtype, DType::bf16);
}

TEST(HfWeights, TokenizersOfEveryKindAreFound) {
  for (const char* name :
       {"tekken.json", "tokenizer.model", "spiece.model", "encoder.json", "vocab.json", "qwen.tiktoken"}) {
    const TemporaryFolder folder;
    EXPECT_EQ(tokenizer_in(folder.path()), "");
    folder.write(name, "");
    EXPECT_EQ(tokenizer_in(folder.path()), folder.path()) << name;
    EXPECT_TRUE(goes_with_model(name)) << name;
    const std::string json = folder.write("tokenizer.json", "");
    EXPECT_EQ(tokenizer_in(folder.path()), json) << name;
  }
}

TEST(HfWeights, WhatBelongsToAModelIsKept) {
  const Directory directory(test::kLlama2);
  directory.write_one();
  directory.folder.write("LICENSE.txt", "free");
  directory.folder.write("generation_config.json", R"({"eos_token_id": [1, 2]})");
  directory.folder.write("training_args.bin", "x");
  const TemporaryFolder run;
  keep_source(directory.folder.path(), run.path());
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(run.path("source")))
    names.push_back(entry.path().filename());
  EXPECT_THAT(names, testing::UnorderedElementsAre("LICENSE.txt", "config.json", "generation_config.json"));
}

}  // namespace
}  // namespace trireme
