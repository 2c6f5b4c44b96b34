// trireme checkpoint export of a run that has weights alone.
#include "launch/export/export_model.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "launch/cli/config_file.h"
#include "launch/export/check_export.h"
#include "launch/export/companions.h"
#include "launch/export/exported_model.h"
#include "launch/export/tokenizer_export.h"
#include "models/formats/gguf_config.h"
#include "models/formats/gguf_weights.h"
#include "models/formats/hf_model_files.h"
#include "models/formats/hf_tensors.h"
#include "models/formats/hf_weights.h"
#include "models/formats/model_differences.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"
#include "runtime/data/tokenizer/char_tokenizer.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/gguf/gguf_writer.h"
#include "runtime/io/json/json_file.h"
#include "runtime/io/safetensors/safetensors.h"
#include "tests/models/formats/gguf_cases.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

namespace fs = std::filesystem;

using test::expect_error;
using testing::HasSubstr;

class Export : public testing::Test {
 protected:
  /// A run's directory as trireme import leaves it.
  std::string make_run(const ModelConfig& model) {
    const std::string run = folder_.path("run");
    fs::create_directories(run + "/source");
    RunConfig config;
    config.model = model;
    config.data.text = "text.txt";
    config.train.seq_len = 16;
    config.train.global_batch = 8;
    folder_.write("run/config.ini", write_config(config));
    std::vector<TensorSpec> specs;
    for (const Parameter& p : parameters_of(model)) specs.push_back({p.name, DType::f32, p.global_shape});
    SafetensorsWriter writer(run + "/model.safetensors", specs, TextMap{{"format", "trireme"}});
    for (const TensorSpec& spec : specs) {
      const std::vector<float> values = test::drawn_weights(model)(spec.name);
      writer.write(spec.name, std::as_bytes(std::span(values)));
    }
    writer.commit();
    return run;
  }
  ModelConfig small(ModelFamily family) {
    ModelConfig model = test::small_of(family);
    model.num_layers = 2;
    model.vocab_size = 260;
    return model;
  }
  /// What is printed.
  std::string write(const ExportOptions& options) {
    const std::string log = folder_.path("log");
    std::FILE* out = std::fopen(log.c_str(), "w");
    try {
      export_model(options, out);
    } catch (...) {
      std::fclose(out);
      fs::remove(log);
      throw;
    }
    std::fclose(out);
    std::ifstream file(log);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    fs::remove(log);
    return text;
  }
  void expect_weights(const WeightSource& source, const ModelConfig& model) {
    for (const Parameter& p : parameters_of(model)) {
      std::vector<float> values(static_cast<size_t>(p.global_shape.numel()));
      source.read(p.name, p, values);
      EXPECT_EQ(values, test::drawn_weights(model)(p.name)) << p.name;
    }
  }
  test::TemporaryFolder folder_;
};

TEST_F(Export, WritesWhatTransformersLoads) {
  const ModelConfig model = small(ModelFamily::llama);
  const std::string run = make_run(model), out = folder_.path("out");
  ByteTokenizer().save(run + "/tokenizer.json");
  folder_.write("run/source/LICENSE.txt", "do as you like\n");
  folder_.write("run/source/pytorch_model.bin", "not a file that goes along");
  const std::string printed = write({.path = run, .out = out});
  EXPECT_THAT(printed, HasSubstr("logits of 64 drawn tokens are those of the checkpoint, 0.0e+00"));
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(out)) names.push_back(entry.path().filename());
  EXPECT_THAT(names, testing::UnorderedElementsAre("config.json", "model.safetensors", "LICENSE.txt",
                                                   "tokenizer.json", "tokenizer_config.json",
                                                   "generation_config.json"));
  EXPECT_EQ(SafetensorsReader(out + "/model.safetensors").metadata(), (TextMap{{"format", "pt"}}));
  expect_weights(*open_hf_weights(out, model), model);
  const auto tokenizer = load_tokenizer(out + "/tokenizer.json");
  EXPECT_EQ(tokenizer->encode("a\xc3\xa9"), (std::vector<int32_t>{'a', 0xc3, 0xa9}));
  EXPECT_EQ(tokenizer->end_of_text(), 256);
  EXPECT_EQ(read_json_file(out + "/generation_config.json").at("eos_token_id"), 256);
}

TEST_F(Export, TakesEveryOptionOfTheModel) {
  for (const test::GgufCase& one : test::gguf_cases()) {
    const ExportedModel model = open_exported(make_run(one.config), "");
    EXPECT_THAT(model_differences(one.config, model.config), testing::IsEmpty()) << one.architecture;
    EXPECT_TRUE(compute_the_same(one.config, model.config)) << one.architecture;
    EXPECT_EQ(model.config.max_positions, one.config.max_positions) << one.architecture;
  }
}

TEST_F(Export, GivesTransformersTheChatTemplateOfGguf) {
  const ModelConfig model = small(ModelFamily::llama);
  const std::string run = make_run(model), out = folder_.path("out");
  folder_.write("run/tokenizer.json",
                R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},)"
                R"("model":{"type":"BPE","vocab":{"a":0},"merges":[]},)"
                R"("added_tokens":[{"id":1,"content":"<s>","special":true,"normalized":false}]})");
  GgufWriter(run + "/source/metadata.gguf", {},
             {{"general.architecture", std::string("llama")},
              {"tokenizer.chat_template", std::string("{{ messages[0].content }}")},
              {"tokenizer.ggml.bos_token_id", uint32_t{1}}})
      .commit();
  write({.path = run, .out = out, .check = false});
  const auto config = read_json_file(out + "/tokenizer_config.json");
  EXPECT_EQ(config.at("chat_template"), "{{ messages[0].content }}");
  EXPECT_EQ(config.at("bos_token"), "<s>");
}

TEST_F(Export, WritesShardsAndTheirIndex) {
  const ModelConfig model = small(ModelFamily::qwen2);
  const std::string run = make_run(model), out = folder_.path("out");
  const std::string printed =
      write({.path = run, .out = out, .type = ExportType::bf16, .shard_bytes = 60000, .check = false});
  EXPECT_THAT(printed, HasSubstr("not read back: --check off"));
  EXPECT_THAT(printed, HasSubstr("note: no tokenizer is written"));
  const auto index = read_json_file(out + "/model.safetensors.index.json");
  int64_t bytes = 0;
  for (const auto& [name, file] : index.at("weight_map").items()) {
    const SafetensorsReader shard(out + "/" + file.get<std::string>());
    EXPECT_LE(fs::file_size(shard.path()), 60000 + 4096);
    bytes += std::ssize(shard.at(name).bytes);
    EXPECT_EQ(shard.at(name).dtype, DType::bf16);
  }
  EXPECT_EQ(index.at("metadata").at("total_size"), bytes);
  const int64_t files = std::ranges::count_if(fs::directory_iterator(out), [](const auto& entry) {
    return entry.path().extension() == ".safetensors";
  });
  EXPECT_GT(files, 1);
  EXPECT_TRUE(fs::exists(fmt::format("{}/model-{:05d}-of-{:05d}.safetensors", out, files, files)));
  EXPECT_EQ(open_hf_weights(out, model)->kinds().size(), parameters_of(model).size());
}

TEST_F(Export, WritesWhatLlamaCppLoads) {
  const ModelConfig model = small(ModelFamily::llama);
  const std::string run = make_run(model), out = folder_.path("model.gguf");
  ByteTokenizer().save(run + "/tokenizer.json");
  const std::string printed = write({.path = run, .out = out});
  EXPECT_THAT(printed, HasSubstr("logits of 64 drawn tokens are those of the checkpoint, 0.0e+00"));
  const GgufReader file(out);
  EXPECT_EQ(file.text("general.architecture"), "llama");
  EXPECT_EQ(file.text("general.name"), "model");
  EXPECT_EQ(std::get<std::vector<std::string>>(*file.find("tokenizer.ggml.tokens")).size(), 260u);
  expect_weights(*open_gguf_weights(out, read_gguf_config(file)), model);
  for (const ExportType type : {ExportType::bf16, ExportType::fp16, ExportType::q8_0, ExportType::q4_0})
    EXPECT_THAT(write({.path = run, .out = out, .type = type}), HasSubstr("0.0e+00 of the largest apart"));
  EXPECT_THAT(folder_.names(), testing::UnorderedElementsAre("run", "model.gguf"));
}

// The metadata that came with a model stays, but for what does not hold any more.
TEST_F(Export, KeepsMetadataOfTheFileThatItCameFrom) {
  const ModelConfig model = small(ModelFamily::llama);
  const std::string run = make_run(model), out = folder_.path("model.gguf");
  GgufWriter(run + "/source/metadata.gguf", {},
             {{"general.architecture", std::string("llama")},
              {"general.name", std::string("Somebody's model")},
              {"llama.block_count", uint32_t{99}},
              {"llama.rope.scaling.type", std::string("none")},
              {"tokenizer.ggml.model", std::string("gpt2")},
              {"general.file_type", uint32_t{15}}})
      .commit();
  write({.path = run, .out = out, .type = ExportType::q8_0});
  const GgufReader file(out);
  EXPECT_EQ(file.text("general.name"), "Somebody's model");
  EXPECT_EQ(file.text("tokenizer.ggml.model"), "gpt2");
  EXPECT_EQ(file.integer("llama.block_count"), 2);
  EXPECT_EQ(file.integer("general.file_type"), 7);
  EXPECT_EQ(file.find("llama.rope.scaling.type"), nullptr);
}

TEST_F(Export, LeavesNothingOfWhatCannotBeHeld) {
  ModelConfig model = small(ModelFamily::llama);
  model.share = 1;
  const std::string run = make_run(model);
  for (const char* out : {"out", "out.gguf"}) {
    expect_error(ExitCode::usage, {"model.share"},
                 [&] { write({.path = run, .out = folder_.path(out), .check = false}); });
  }
  const ModelConfig fits = small(ModelFamily::llama);
  make_run(fits);
  expect_error(ExitCode::usage, {"--dtype q8_0", "--format gguf"},
               [&] { write({.path = run, .out = folder_.path("out"), .type = ExportType::q8_0}); });
  expect_error(ExitCode::usage, {"--source", "no directory"},
               [&] { write({.path = run, .out = folder_.path("out"), .source = folder_.path("none")}); });
  expect_error(ExitCode::usage, {"there already"}, [&] { write({.path = run, .out = run}); });
  expect_error(ExitCode::usage, {"cannot create"},
               [&] { write({.path = run, .out = folder_.path("no/out")}); });
  expect_error(ExitCode::checkpoint, {"neither a checkpoint"},
               [&] { write({.path = folder_.path(), .out = folder_.path("out")}); });
  EXPECT_THAT(folder_.names(), testing::UnorderedElementsAre("run"));
}

TEST_F(Export, RefusesWeightsOfAnotherModel) {
  const std::string run = make_run(small(ModelFamily::llama));
  RunConfig config;
  config.model = small(ModelFamily::llama);
  config.model.ffn_size = 160;
  config.data.text = "text.txt";
  folder_.write("run/config.ini", write_config(config));
  expect_error(ExitCode::bad_input, {"model.safetensors", "ffn"},
               [&] { write({.path = run, .out = folder_.path("out")}); });
}

TEST(ComparedLogits, DifferByTheLargest) {
  const std::vector<float> logits = {1, -4, 2};
  EXPECT_EQ(largest_difference(logits, logits), 0);
  EXPECT_DOUBLE_EQ(largest_difference(logits, std::vector<float>{1, -4, 3}), 0.25);
  EXPECT_TRUE(std::isinf(largest_difference(logits, std::vector<float>{1, -4})));
  EXPECT_TRUE(std::isinf(largest_difference(logits, std::vector<float>{1, NAN, 2})));
}

TEST(ExportedTokenizers, SayTheSameInTheOtherForm) {
  const test::TemporaryFolder folder;
  train_char("hällo wörld\n")->save(folder.path("char.json"));
  const TokenizerExport of_chars = export_tokenizer(folder.path("char.json"));
  const auto chars = load_tokenizer(folder.write("as-words.json", of_chars.json));
  EXPECT_EQ(chars->encode("wöl\nh"), load_tokenizer(folder.path("char.json"))->encode("wöl\nh"));
  EXPECT_EQ(chars->decode(chars->encode("wöl\nh")), "wöl\nh");
  expect_error(ExitCode::bad_input, {"0x78", "offset 1", "WordLevel"}, [&] { chars->encode("wx"); });
  EXPECT_FALSE(of_chars.end_id);
  folder.write("sp.json", "{\"type\":\"trireme-unknown\",\"version\":1}");
  expect_error(ExitCode::bad_input, {"trireme-unknown"}, [&] { export_tokenizer(folder.path("sp.json")); });
}

}  // namespace
}  // namespace trireme::launch
