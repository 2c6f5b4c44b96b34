#include "runtime/io/safetensors/safetensors.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"

#include "tests/support/folders.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;

class SafetensorsTest : public ::testing::Test {
 protected:
  SafetensorsTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "trireme-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ / "x.safetensors";
  }
  ~SafetensorsTest() override { std::filesystem::remove_all(folder_); }

  void put(std::string_view contents) const { std::ofstream(path_, std::ios::binary) << contents; }
  std::string get() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void put(const std::string& header, size_t data_bytes) const {
    uint64_t length = header.size();
    std::string contents(8, '\0');
    std::memcpy(contents.data(), &length, 8);
    put(contents + header + std::string(data_bytes, 'x'));
  }

  /// The message of the UserError(bad_input) that reading must raise; it must name the file.
  std::string refusal() const {
    try {
      SafetensorsReader reader(path_);
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_input);
      EXPECT_THAT(error.what(), HasSubstr(path_.string()));
      return error.what();
    }
    ADD_FAILURE() << "was read";
    return {};
  }

  /// Three tensors (f32, empty bf16, u8) and metadata.
  void write_small() const {
    SafetensorsWriter writer(
        path_, {{"a", DType::f32, {2, 3}}, {"none", DType::bf16, {0, 4}}, {"b", DType::u8, {5}}},
        {{"kind", "test"}});
    const std::vector<float> a = {1, 2, 3, 4, 5, 6};
    const std::vector<uint8_t> b = {9, 8, 7, 6, 5};
    writer.write("a", std::as_bytes(std::span(a)).first(10));
    writer.write("a", std::as_bytes(std::span(a)).subspan(10));
    writer.write("b", std::as_bytes(std::span(b)));
    writer.commit();
  }

  std::filesystem::path folder_, path_;
};

TEST_F(SafetensorsTest, ReadsWhatItWrote) {
  write_small();
  const SafetensorsReader reader(path_);
  ASSERT_EQ(reader.tensors().size(), 3u);
  const StoredTensor& a = reader.at("a");
  EXPECT_EQ(a.dtype, DType::f32);
  EXPECT_EQ(a.shape, (Shape{2, 3}));
  std::vector<float> values(6);
  ASSERT_EQ(a.bytes.size(), 24u);
  std::memcpy(values.data(), a.bytes.data(), 24);
  EXPECT_EQ(values, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(reader.at("none").shape, (Shape{0, 4}));
  EXPECT_TRUE(reader.at("none").bytes.empty());
  EXPECT_EQ(reader.at("b").bytes[4], std::byte{5});
  EXPECT_EQ(reader.metadata(), (TextMap{{"kind", "test"}}));
  EXPECT_THROW(reader.at("c"), UserError);
}

TEST_F(SafetensorsTest, EveryDTypeAndScalars) {
  std::vector<TensorSpec> specs;
  for (const DType dtype : {DType::f64, DType::i64, DType::f32, DType::i32, DType::bf16, DType::f16,
                            DType::u8, DType::f8e4m3, DType::f8e5m2}) {
    specs.push_back({std::string(to_string(dtype)), dtype, {}});
  }
  SafetensorsWriter writer(path_, specs);
  const std::vector<std::byte> bytes(8, std::byte{3});
  for (const TensorSpec& spec : specs) writer.write(spec.name, std::span(bytes).first(size_of(spec.dtype)));
  writer.commit();
  const SafetensorsReader reader(path_);
  for (const TensorSpec& spec : specs) {
    EXPECT_EQ(reader.at(spec.name).dtype, spec.dtype);
    EXPECT_EQ(reader.at(spec.name).shape, Shape{});
    EXPECT_EQ(reader.at(spec.name).bytes.size(), size_of(spec.dtype));
  }
  EXPECT_TRUE(reader.metadata().empty());
}

TEST_F(SafetensorsTest, SignedBytes) {
  SafetensorsWriter writer(path_, {{"a", DType::u8, {2}, true}, {"b", DType::u8, {2}}});
  writer.write("a", std::vector<std::byte>{std::byte{0xff}, std::byte{1}});
  writer.write("b", std::vector<std::byte>{std::byte{2}, std::byte{3}});
  writer.commit();
  const SafetensorsReader reader(path_);
  EXPECT_TRUE(reader.at("a").is_signed);
  EXPECT_EQ(reader.at("a").dtype, DType::u8);
  EXPECT_EQ(reader.at("a").bytes[0], std::byte{0xff});
  EXPECT_FALSE(reader.at("b").is_signed);
}

TEST_F(SafetensorsTest, NoTensors) {
  SafetensorsWriter(path_, {}).commit();
  EXPECT_TRUE(SafetensorsReader(path_).tensors().empty());
}

TEST_F(SafetensorsTest, ReadsAFileOfTheFormatsOwnLibrary) {
  const SafetensorsReader reader(test::source_folder() + "/tests/golden/llama_tiny.safetensors");
  EXPECT_EQ(reader.at("tokens").dtype, DType::i32);
  EXPECT_EQ(reader.at("logits").shape, (Shape{2, 13, 61}));
  float loss = 0;
  std::memcpy(&loss, reader.at("loss").bytes.data(), sizeof(loss));
  EXPECT_FLOAT_EQ(loss, 4.278649f);
  EXPECT_THAT(reader.metadata().at("made_by"), HasSubstr("make_model_golden.py"));
}

TEST_F(SafetensorsTest, EveryTruncationIsRefused) {
  write_small();
  const std::string whole = get();
  for (size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    put(whole.substr(0, size));
    EXPECT_FALSE(refusal().empty());
  }
  put(whole + "x");
  EXPECT_THAT(refusal(), HasSubstr("30 bytes of data; its tensors end at byte 29"));
}

// A changed byte either is noticed or leaves a header whose tensors lie within the file.
TEST_F(SafetensorsTest, NoChangedByteLeadsOutOfTheFile) {
  write_small();
  const std::string whole = get();
  int refused = 0;
  for (size_t at = 0; at < whole.size() - 29; ++at) {
    for (const int value : {0, 1, 0x7f, 0xff, int{'0'}, int{'9'}, int{'"'}, int{'['}, whole[at] + 1}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(value);
      put(changed);
      try {
        const SafetensorsReader reader(path_);
        size_t total = 0;
        for (const auto& [name, tensor] : reader.tensors()) {
          EXPECT_EQ(tensor.bytes.size(), static_cast<size_t>(tensor.shape.numel()) * size_of(tensor.dtype));
          total += tensor.bytes.size();
        }
        EXPECT_EQ(total, 29u) << "byte " << at << " value " << value;
      } catch (const UserError& error) {
        EXPECT_EQ(error.code(), ExitCode::bad_input);
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 500);
}

TEST_F(SafetensorsTest, MessagesNameTensorAndNumbers) {
  struct Case {
    std::string header;
    std::string message;
  };
  const std::string good = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  const std::vector<Case> cases = {
      {"[]", "not an object"},
      {"{" + good, "not JSON"},
      {"{" + good + "," + good + "}", "\"a\" twice"},
      {R"({"a":{"dtype":"U8","dtype":"U8","shape":[8],"data_offsets":[0,8]}})", "\"dtype\" twice"},
      {R"({"a":7})", "tensor \"a\" is described by 7"},
      {R"({"a":{"dtype":"U8","shape":[8]}})", "has no data_offsets"},
      {R"({"a":{"dtype":"F8_E8M0","shape":[8],"data_offsets":[0,8]}})",
       "dtype \"F8_E8M0\"; supported are F32"},
      {R"({"a":{"dtype":1,"shape":[8],"data_offsets":[0,8]}})", "dtype 1"},
      {R"({"a":{"dtype":"U8","shape":8,"data_offsets":[0,8]}})", "shape is 8"},
      {R"({"a":{"dtype":"U8","shape":[-8],"data_offsets":[0,8]}})", "shape [-8]"},
      {R"({"a":{"dtype":"U8","shape":[8.0],"data_offsets":[0,8]}})", "shape [8.0]"},
      {R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,8]}})", "18446744073709551615"},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "[3] of F32 is 12 bytes"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", "over 2^63"},
      {R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,8],"data_offsets":[0,8]}})", "7 dims"},
      {R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})", "within the 8 bytes"},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[8,4]}})", "[8, 4]"},
      {R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,4,8]}})", "[0, 4, 8]"},
      {"{" + good + "}", "end at byte 4"},
      {"{" + good + R"(,"b":{"dtype":"U8","shape":[5],"data_offsets":[3,8]}})", "\"b\" begins at byte 3"},
      {"{" + good + R"(,"b":{"dtype":"U8","shape":[3],"data_offsets":[5,8]}})", "there is a gap"},
      {R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"__metadata__":{"n":1}})", "not a string"},
      {R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"__metadata__":[]})", "not an object"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.header);
    put(c.header, 8);
    EXPECT_THAT(refusal(), HasSubstr(c.message));
  }
  put(std::string("PK\3\4") + std::string(100, '\xff'));
  EXPECT_THAT(refusal(), HasSubstr("it is a zip archive (also .npz and PyTorch's .pt)"));
  put("version https://git-lfs.github.com/spec/v1\noid sha256:1\n");
  EXPECT_THAT(refusal(), HasSubstr("pointer of Git LFS"));
  put("{\"a\":" + std::string(1'000'000, '['), 8);
  EXPECT_THAT(refusal(), HasSubstr("nested more than 4 deep"));
  put("{\"a\xff\":1}", 8);
  EXPECT_THAT(refusal(), HasSubstr("not JSON"));
  put(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10));
  EXPECT_THAT(refusal(), HasSubstr("18446744073709551615 bytes, 2 follow"));
}

// With a cost that grows with the square of the number this takes minutes, and the test's time runs out.
TEST_F(SafetensorsTest, HeadersWithVeryManyTensorsAreQuick) {
  std::vector<TensorSpec> specs;
  for (int i = 0; i < 100'000; ++i) {
    specs.push_back({fmt::format("blocks.{}.experts.{}.weight", i / 256, i % 256), DType::u8, {1}});
  }
  SafetensorsWriter writer(path_, specs);
  for (const TensorSpec& spec : specs) writer.write(spec.name, std::vector<std::byte>(1, std::byte{7}));
  writer.commit();
  const SafetensorsReader reader(path_);
  EXPECT_EQ(reader.tensors().size(), specs.size());
  EXPECT_EQ(reader.at("blocks.390.experts.7.weight").bytes[0], std::byte{7});
}

TEST_F(SafetensorsTest, NothingStaysBehindWithoutCommit) {
  { SafetensorsWriter writer(path_, {{"a", DType::u8, {3}}}); }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(SafetensorsTest, TheWriterChecksItsCaller) {
  const std::vector<std::byte> bytes(4);
  SafetensorsWriter writer(path_, {{"a", DType::u8, {3}}, {"b", DType::u8, {3}}});
  EXPECT_THROW(writer.write("b", bytes), InternalError);
  EXPECT_THROW(writer.write("a", bytes), InternalError);
  EXPECT_THROW(writer.commit(), InternalError);
  EXPECT_THROW(SafetensorsWriter(path_, {{"a", DType::u8, {3}}, {"a", DType::u8, {3}}}), InternalError);
}

TEST_F(SafetensorsTest, MetadataThatIsNotUtf8IsWrittenReadably) {
  SafetensorsWriter(path_, {}, {{"path", "/data/\xff"}}).commit();
  EXPECT_THAT(SafetensorsReader(path_).metadata().at("path"), HasSubstr("/data/"));
}

}  // namespace
}  // namespace trireme
