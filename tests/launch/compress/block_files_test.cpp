#include "launch/compress/block_files.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "runtime/base/half.h"
#include "runtime/device/context.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

constexpr const char* kQuery = "layers.0.attention.query.weight";
constexpr const char* kNorm = "layers.0.attention.norm.weight";

ModelConfig two_layers() {
  ModelConfig config;
  config.num_layers = 2;
  config.hidden_size = 64;
  config.num_heads = config.num_kv_heads = 4;
  config.ffn_size = 128;
  config.vocab_size = 256;
  config.max_positions = 64;
  return config;
}

Parameter whole(const std::string& name, const Shape& shape) { return Parameter::whole(name, shape, 0, 0); }

std::vector<float> numbers(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.01f * static_cast<float>((i * 37) % 101) - 0.5f;
  return values;
}

TEST(BlockFiles, AreReadBackUpToTheFirstGap) {
  const test::TemporaryFolder folder;
  const std::string directory = folder.path();
  const ModelConfig config = two_layers();
  Context ctx;
  const auto values = numbers(64 * 64);
  const ops::CodedMatrix matrix =
      ops::round_to_nearest(ctx, {.format = ops::PackedFormat::int4, .group = 32}, 64, 64, values);
  std::vector<int64_t> done;
  BlockWriter writer(directory, config, [&](int64_t index) { done.push_back(index); });
  EXPECT_EQ(finished_blocks(directory, config, 2).count, 0);
  writer.values("embedding.tokens.weight", {256, 64}, numbers(256 * 64));
  writer.block_done(-1);
  writer.matrix(kQuery, matrix);
  writer.values(kNorm, {64}, numbers(64));
  writer.block_done(0);
  const FinishedBlocks some = finished_blocks(directory, config, 2);
  EXPECT_EQ(some.count, 2);
  const auto back = some.source->coded(kQuery, whole(kQuery, {64, 64}));
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->codes, matrix.codes);
  EXPECT_EQ(back->scales, matrix.scales);
  std::vector<float> norm(64), table(256 * 64);
  some.source->read(kNorm, whole(kNorm, {64}), norm);
  EXPECT_EQ(norm, numbers(64));
  some.source->read("embedding.tokens.weight", whole("embedding.tokens.weight", {256, 64}), table);
  EXPECT_EQ(table, numbers(256 * 64));

  writer.block_done(1);  // nothing of its own
  EXPECT_EQ(finished_blocks(directory, config, 2).count, 3);
  std::filesystem::remove(directory + "/block-00000.safetensors");
  EXPECT_EQ(finished_blocks(directory, config, 2).count, 1);
  EXPECT_EQ(done, (std::vector<int64_t>{-1, 0, 1}));
}

/// One matrix of numbers.
class OneMatrix final : public WeightSource {
 public:
  const std::string& path() const override { return path_; }
  std::map<std::string, StoredKind, std::less<>> kinds() const override {
    return {{kQuery, {{64, 64}, DType::f32}}};
  }
  void read(std::string_view, const Parameter&, std::span<float> values) const override {
    std::ranges::copy(numbers(std::ssize(values)), values.begin());
  }

 private:
  std::string path_ = "numbers";
};

TEST(BlockFiles, WhatStaysIsRoundedAsTheFileWillHaveIt) {
  const auto source = std::make_shared<OneMatrix>();
  std::vector<float> kept(64 * 64), rounded(64 * 64);
  const Parameter p = whole(kQuery, {64, 64});
  rounded_source(source, [](std::string_view) { return true; })->read(kQuery, p, kept);
  EXPECT_EQ(kept, numbers(64 * 64));
  rounded_source(source, [](std::string_view) { return false; })->read(kQuery, p, rounded);
  EXPECT_NE(rounded, kept);
  for (size_t i = 0; i < kept.size(); ++i) ASSERT_EQ(rounded[i], static_cast<float>(bf16(kept[i])));
  std::vector<float> vector(64);  // vectors stay
  rounded_source(source, [](std::string_view) { return false; })->read("v", whole("v", {64}), vector);
  EXPECT_EQ(vector, numbers(64));
}

}  // namespace
}  // namespace trireme::launch
