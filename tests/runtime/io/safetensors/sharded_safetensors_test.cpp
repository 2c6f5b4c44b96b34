#include "runtime/io/safetensors/sharded_safetensors.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

/// A file with the tensors "a" (8 bytes) and "b" (a matrix of 2 x 3 bytes), and this metadata.
std::string make_file(const test::TemporaryFolder& folder, const TextMap& metadata) {
  const std::string head = safetensors_head({{"a", DType::u8, {8}}, {"b", DType::u8, {2, 3}}}, metadata);
  return folder.write("x.safetensors", head + std::string(14, 'x'));
}

TEST(ShardedSafetensors, OffsetsComeBack) {
  const test::TemporaryFolder folder;
  const SafetensorsReader file(
      make_file(folder, sharding_metadata({{"a", {24}}, {"b", {1, int64_t{1} << 40}}})));
  const auto offsets = sharding_offsets(file);
  EXPECT_EQ(offsets.at("a"), (Shape{24}));
  EXPECT_EQ(offsets.at("b"), (Shape{1, int64_t{1} << 40}));
  EXPECT_EQ(file.metadata().at("DCP_VERSION"), "1.0");
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST(ShardedSafetensors, WithoutMetadataTensorsAreWhole) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(sharding_offsets(SafetensorsReader(make_file(folder, {}))).at("b"), (Shape{0, 0}));
}

TEST(ShardedSafetensors, MetadataThatIsNotThatOfTheTensorsIsRefused) {
  const test::TemporaryFolder folder;
  struct Case {
    const char *info, *message;
  };
  for (const Case& c :
       {Case{"[]", "is not an object"}, Case{"{", "not JSON"}, Case{"{}", "tensor \"a\" is missing"},
        Case{R"({"a":{"saved_offsets":[1]},"b":{}})", "tensor \"b\" is {}"},
        Case{R"({"a":{"saved_offsets":[1,2]},"b":{"saved_offsets":[0,0]}})", "with 1 numbers"},
        Case{R"({"a":{"saved_offsets":[-1]},"b":{"saved_offsets":[0,0]}})", "begins at [-1]"},
        Case{R"({"a":{"saved_offsets":[0]},"b":{"saved_offsets":[0,0]},"c":{}})", "names 3 tensors"}}) {
    SCOPED_TRACE(c.info);
    const SafetensorsReader file(make_file(folder, {{"DCP_SHARDING_INFO", c.info}}));
    test::expect_error(ExitCode::bad_input, {file.path(), c.message}, [&] { sharding_offsets(file); });
  }
}

}  // namespace
}  // namespace trireme
