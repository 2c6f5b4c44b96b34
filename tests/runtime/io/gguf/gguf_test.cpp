#include "runtime/io/gguf/gguf.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include <gtest/gtest.h>

#include "runtime/io/gguf/gguf_writer.h"
#include "runtime/io/gguf/rotary_rows.h"
#include "runtime/io/safetensors/safetensors.h"

#include "tests/support/expect_error.h"
#include "tests/support/folders.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

constexpr size_t kCountsAt = 8;  // of tensors, then of values

std::vector<float> whole(const GgufReader& file, const std::string& name) {
  std::vector<float> values(static_cast<size_t>(file.at(name).shape.numel()));
  file.read(name, {0, file.at(name).rows()}, std::nullopt, values);
  return values;
}

/// A small file: two values, two tensors.
std::string small_file() {
  const GgufMetadata metadata = {{"general.architecture", std::string("llama")},
                                 {"list", std::vector<uint32_t>{1, 2}}};
  std::string file = gguf_head({{"a", GgufType::f32, {2, 3}}, {"b", GgufType::q8_0, {32}}}, metadata);
  return file + std::string(32, 'x') + std::string(64, 'y');  // 24 bytes and 34, padded
}

void expect_refused(const std::string& contents, std::initializer_list<std::string_view> parts) {
  const test::TemporaryFolder folder;
  const std::string path = folder.write("x.gguf", contents);
  test::expect_error(ExitCode::bad_input, parts, [&] { GgufReader reader(path); });
  test::expect_error(ExitCode::bad_input, {path}, [&] { GgufReader reader(path); });
}

/// With the bytes of `value` at `place`.
template <class T>
std::string with(std::string contents, size_t place, T value) {
  std::memcpy(contents.data() + place, &value, sizeof value);
  return contents;
}

class GoldenGguf : public ::testing::Test {
 protected:
  GgufReader file_{test::source_folder() + "/tests/golden/gguf_tiny.gguf"};
  SafetensorsReader expected_{test::source_folder() + "/tests/golden/gguf_tiny.safetensors"};
};

TEST_F(GoldenGguf, ValuesHaveTheBitsOfTheReference) {
  for (const char* name : {"plain", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q4_k", "q6_k"}) {
    const auto expected = expected_.at(name).bytes;
    const std::vector<float> values = whole(file_, name);
    ASSERT_EQ(values.size() * 4, expected.size());
    EXPECT_EQ(std::memcmp(values.data(), expected.data(), expected.size()), 0) << name;
  }
}

TEST_F(GoldenGguf, PartsAreThoseOfTheWhole) {
  for (const char* name : {"plain", "f16", "q4_1", "q6_k"}) {
    const std::vector<float> values = whole(file_, name);
    for (const GgufRange columns :
         {GgufRange{0, 512}, {100, 300}, {255, 257}, {256, 512}, {3, 4}, {511, 512}, {7, 7}}) {
      std::vector<float> part(static_cast<size_t>(2 * columns.size()));
      file_.read(name, {1, 3}, columns, part, 2);
      for (int64_t i = 0; i < std::ssize(part); ++i) {
        const int64_t row = 1 + i / columns.size(), column = columns.begin + i % columns.size();
        EXPECT_EQ(part[static_cast<size_t>(i)], values[static_cast<size_t>(row * 512 + column)])
            << name << " " << column;
      }
    }
  }
}

TEST_F(GoldenGguf, MetadataAndTypesThatAreListedAlone) {
  EXPECT_EQ(file_.version(), 3u);
  EXPECT_EQ(file_.text("general.name"), "tiny");
  EXPECT_EQ(file_.integer("llama.block_count"), 2);
  EXPECT_EQ(file_.real("llama.rope.freq_base"), 1e4);
  EXPECT_EQ(std::get<std::vector<std::string>>(*file_.find("tokens")),
            (std::vector<std::string>{"a", "Grüße", ""}));
  EXPECT_EQ(value_text(*file_.find("scores"), 40), "[1.5, -2]");
  EXPECT_EQ(file_.find("none"), nullptr);
  test::expect_error(ExitCode::bad_input, {"general.name", "string"}, [&] { file_.integer("general.name"); });
  test::expect_error(ExitCode::bad_input, {"llama.block_count", "u32"},
                     [&] { file_.text("llama.block_count"); });
  EXPECT_EQ(file_.at("listed_only").type->name, "Q5_0");
  test::expect_error(ExitCode::bad_input, {"listed_only", "Q5_0", "Q6_K"},
                     [&] { whole(file_, "listed_only"); });
}

TEST_F(GoldenGguf, TheWriterRoundsAsTheReference) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path("out.gguf");
  const std::vector<float> plain = whole(file_, "plain");
  {
    GgufWriter writer(
        path, {{"q", GgufType::q8_0, {3, 512}}, {"h", GgufType::f16, {3, 512}}, {"s", GgufType::f32, {}}},
        file_.metadata());
    // Pieces of whole blocks.
    writer.write_values("q", std::span(plain).first(96));
    writer.write_values("q", std::span(plain).subspan(96));
    writer.write_values("h", plain);
    writer.write_values("s", std::vector<float>{2.5f});
    EXPECT_FALSE(std::filesystem::exists(path));
    writer.commit();
  }
  const GgufReader again(path);
  EXPECT_EQ(again.metadata(), file_.metadata());
  EXPECT_EQ(again.order(), (std::vector<std::string>{"q", "h", "s"}));
  const auto stored = again.at("q").bytes, expected = expected_.at("encoded.q8_0").bytes;
  ASSERT_EQ(stored.size(), expected.size());
  EXPECT_EQ(std::memcmp(stored.data(), expected.data(), stored.size()), 0);
  EXPECT_EQ(whole(again, "s"), std::vector<float>{2.5f});
}

TEST(GgufWriter, WhatQ80CannotHoldIsRefused) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf(""), -8.4e6f}) {
    const test::TemporaryFolder folder;
    GgufWriter writer(folder.path("x.gguf"), {{"w", GgufType::q8_0, {32}}}, {});
    std::vector<float> values(32, 1.0f);
    values[7] = bad;
    test::expect_error(ExitCode::bad_input, {"Q8_0", "\"w\""}, [&] { writer.write_values("w", values); });
  }
}

TEST(GgufReader, FilesOfVersionTwoAndOtherAlignments) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(GgufReader(folder.write("2.gguf", with(small_file(), 4, uint32_t{2}))).version(), 2u);
  const std::string head = gguf_head({{"a", GgufType::f32, {1}}, {"b", GgufType::f32, {1}}},
                                     {{"general.alignment", uint32_t{64}}});
  const GgufReader file(folder.write("64.gguf", head + std::string(64 + 4, '\0')));
  EXPECT_EQ(file.alignment(), 64);
  EXPECT_EQ(file.at("b").bytes.data() - file.at("a").bytes.data(), 64);
  EXPECT_TRUE(GgufReader(folder.write("none.gguf", gguf_head({}, {}))).tensors().empty());
}

TEST(GgufReader, WhatIsNotTrueOfTheFileIsRefusedWithPlaceAndValue) {
  const std::string good = small_file();
  const auto place_of = [&](std::string_view text) { return good.find(text); };
  expect_refused("", {"signature"});
  expect_refused("PK\x03\x04 a zip archive, say", {"zip"});
  expect_refused(with(good, 4, uint32_t{1}), {"version 1"});
  expect_refused(with(good, 4, __builtin_bswap32(3)), {"big-endian"});
  expect_refused(with(good, kCountsAt, uint64_t{1} << 60), {"number of tensors", "1152921504606846976"});
  expect_refused(with(good, kCountsAt + 8, ~uint64_t{0}), {"number of metadata values"});
  expect_refused(with(good, kCountsAt, uint64_t{3}), {"byte"});
  expect_refused(with(good, 24, uint64_t{1} << 40), {"a key", "1099511627776"});
  const size_t list = place_of("list");
  expect_refused(with(good, list + 4, uint32_t{13}), {"\"list\"", "type 13"});
  expect_refused(with(good, list + 8, uint32_t{9}), {"\"list\"", "list of lists"});
  expect_refused(with(good, list + 12, uint64_t{1} << 61), {"length of \"list\"", "2305843009213693952"});
  expect_refused(with(good, place_of("a\x02"), 'b'), {"tensor \"b\"", "twice"});
  const size_t b = good.find('b', list);  // name, rank, dim, type, offset
  expect_refused(with(good, b + 1, uint32_t{5}), {"tensor \"b\"", "5 dims"});
  expect_refused(with(good, b + 5, uint64_t{33}), {"tensor \"b\"", "33 elements", "blocks of 32"});
  expect_refused(with(good, b + 5, ~uint64_t{0}), {"tensor \"b\"", "2^63"});
  expect_refused(with(good, b + 5, uint64_t{64}), {"truncated", "tensor \"b\""});
  expect_refused(with(good, b + 13, uint32_t{4}), {"tensor \"b\"", "type 4"});
  expect_refused(with(good, b + 17, uint64_t{0}), {"tensor \"b\"", "overlaps"});
  expect_refused(with(good, b + 17, uint64_t{64}), {"tensor \"b\"", "gap"});
  expect_refused(with(good, b + 17, uint64_t{33}), {"tensor \"b\"", "33", "alignment 32"});
  expect_refused(good + "more", {"tensors end"});
  for (size_t bytes = 0; bytes + 31 < good.size(); ++bytes) expect_refused(good.substr(0, bytes), {"x.gguf"});
}

TEST(RotaryRows, BothDirectionsAreTheReshapeOfConverters) {
  // reshape(heads, 2, 3, ...).swapaxes(1, 2) of rows 0 to 11.
  const std::vector<int64_t> interleaved = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11};
  for (int64_t row = 0; row < 12; ++row) {
    EXPECT_EQ(row_in_halves(row, 6), interleaved[static_cast<size_t>(row)]);
    EXPECT_EQ(interleaved_row(row_in_halves(row, 6), 6), row);
  }
  EXPECT_EQ(has_interleaved_rotary("llama"), true);
  EXPECT_EQ(has_interleaved_rotary("qwen2"), false);
  EXPECT_EQ(has_interleaved_rotary("other"), std::nullopt);
}

}  // namespace
}  // namespace trireme
