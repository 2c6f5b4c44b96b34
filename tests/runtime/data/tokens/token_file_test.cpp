#include "runtime/data/tokens/token_file.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/philox.h"
#include "runtime/io/files/file.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using test::expect_error;
using test::TemporaryFolder;
using testing::ElementsAre;

template <class... T>
std::string packed(T... values) {
  std::string out;
  (out.append(reinterpret_cast<const char*>(&values), sizeof values), ...);
  return out;
}

std::vector<int32_t> read_all(const TokenSource& source) {
  std::vector<int32_t> ids(static_cast<size_t>(source.num_tokens()));
  source.read(0, source.num_tokens(), ids.data());
  return ids;
}

std::string llmc_file(int32_t magic, int32_t version, int32_t count, const std::string& body) {
  std::string out = packed(magic, version, count);
  out.resize(1024);
  return out + body;
}

using u16 = uint16_t;
using u32 = uint32_t;
using i64 = int64_t;
using i32 = int32_t;
using u8 = uint8_t;

// Two documents: sequences of 3, 0 and 2 tokens. `offsets` in bytes.
std::string megatron_index(u8 code, std::array<i64, 3> offsets) {
  return std::string("MMIDIDX\0\0", 9) + packed(uint64_t{1}, code, uint64_t{3}, uint64_t{3}, i32{3}, i32{0},
                                                i32{2}, offsets[0], offsets[1], offsets[2], i64{0}, i64{1},
                                                i64{3});
}

TEST(TokFile, GivesBackWhatWasWritten) {
  const TemporaryFolder folder;
  for (const int64_t vocab : {5, 65536, 65537, 1 << 20}) {
    const std::vector<int32_t> ids{0, 4, static_cast<int32_t>(vocab - 1)};
    TokenFileWriter writer(folder.path("f.tok"), vocab, 0x1234);
    writer.write(ids);
    writer.write({});
    writer.write(ids);
    writer.finish();
    const auto file = TokenFile::open(folder.path("f.tok"));
    EXPECT_EQ(file->num_tokens(), 6);
    EXPECT_EQ(file->max_vocab(), vocab);
    EXPECT_EQ(file->fingerprint(), 0x1234u);
    EXPECT_EQ(read_all(*file), (std::vector<int32_t>{0, 4, ids[2], 0, 4, ids[2]}));
    EXPECT_EQ(MappedFile(folder.path("f.tok")).size(), 64u + 6u * (vocab <= 65536 ? 2u : 4u));
    std::vector<int32_t> middle(2);
    file->read(1, 2, middle.data());
    EXPECT_THAT(middle, ElementsAre(4, ids[2]));
  }
}

TEST(TokFile, TheWriterChecksIdsAndLeavesNothingBehind) {
  const TemporaryFolder folder;
  expect_error(ExitCode::bad_input, {"f.tok", "position 3 is 5", "vocabulary of 5"}, [&] {
    TokenFileWriter writer(folder.path("f.tok"), 5, 0);
    writer.write(std::vector<int32_t>{1, 2});
    writer.write(std::vector<int32_t>{3, 5});
  });
  EXPECT_TRUE(folder.names().empty());
}

std::string small_tok(const TemporaryFolder& folder) {
  TokenFileWriter writer(folder.path("small.tok"), 100, 77);
  writer.write(std::vector<int32_t>{1, 2, 3, 4, 5});
  writer.finish();
  return read_text_file(folder.path("small.tok"));
}

TEST(TokFile, EveryTruncationIsRefused) {
  const TemporaryFolder folder;
  const std::string whole = small_tok(folder);
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto path = folder.write("cut.tok", whole.substr(0, size));
    expect_error(ExitCode::bad_input, {path, std::to_string(size)}, [&] { TokenFile::open(path); });
  }
  const auto path = folder.write("long.tok", whole + "xx");
  expect_error(ExitCode::bad_input, {path, "5 tokens", "76 bytes"}, [&] { TokenFile::open(path); });
}

TEST(TokFile, EveryHeaderFieldIsChecked) {
  const TemporaryFolder folder;
  const std::string whole = small_tok(folder);
  const auto refuses = [&](size_t offset, const std::string& bytes, std::string_view reason) {
    std::string damaged = whole;
    damaged.replace(offset, bytes.size(), bytes);
    const auto path = folder.write("damaged.tok", damaged);
    expect_error(ExitCode::bad_input, {path, reason}, [&] { TokenFile::open(path); });
  };
  refuses(0, "X", "TRIREMET");
  refuses(8, packed(u32{2}), "version 2");
  refuses(12, packed(u32{4}), "5 tokens of 4 bytes");
  refuses(12, packed(u32{3}), "3 bytes per token");
  refuses(16, packed(uint64_t{0}), "vocabulary of 0");
  refuses(16, packed(uint64_t{65537}), "vocabulary of 65537");
  refuses(24, packed(uint64_t{6}), "6 tokens");
  refuses(24, packed(uint64_t{1} << 63 | 5), "9223372036854775813 tokens");
  refuses(40, packed(uint64_t{9}), "reserved");
  refuses(56, packed(uint64_t{9}), "reserved");
}

TEST(LlmcFile, IsReadAsItIs) {
  const TemporaryFolder folder;
  const auto gpt2 =
      TokenFile::open(folder.write("a.bin", llmc_file(20240520, 1, 3, packed(u16{1}, u16{50256}, u16{3}))));
  EXPECT_EQ(gpt2->format(), TokenFormat::llmc);
  EXPECT_THAT(read_all(*gpt2), ElementsAre(1, 50256, 3));
  const auto llama =
      TokenFile::open(folder.write("b.bin", llmc_file(20240801, 7, 2, packed(u32{128000}, u32{3}))));
  EXPECT_THAT(read_all(*llama), ElementsAre(128000, 3));
}

TEST(LlmcFile, HeadersThatDoNotFitAreRefused) {
  const TemporaryFolder folder;
  const auto refuses = [&](const std::string& contents, std::initializer_list<std::string_view> parts) {
    const auto path = folder.write("f.bin", contents);
    expect_error(ExitCode::bad_input, parts, [&] { TokenFile::open(path, TokenFormat::llmc); });
  };
  const std::string body = packed(u16{1}, u16{2});
  const std::string whole = llmc_file(20240520, 1, 2, body);
  for (const size_t size : {0, 1, 3, 4, 5, 7, 8, 9, 11, 12, 13, 512, 1023, 1024, 1025, 1026, 1027}) {
    refuses(whole.substr(0, size), {"f.bin", std::to_string(size)});
  }
  refuses(llmc_file(20240521, 1, 2, body), {"20240521", "20240520", "20240801"});
  refuses(llmc_file(20240520, 2, 2, body), {"version 2"});
  refuses(llmc_file(20240801, 1, 2, body), {"version 1"});
  refuses(llmc_file(20240520, 1, 3, body), {"3 tokens", "1028 bytes"});
  refuses(llmc_file(20240520, 1, -1, body), {"4294967295 tokens"});
  refuses(llmc_file(20240801, 7, 2, body), {"2 tokens of 4 bytes", "1028 bytes"});
}

TEST(LlmcFile, AnIdBeyondInt32IsNamed) {
  const TemporaryFolder folder;
  const auto file =
      TokenFile::open(folder.write("b.bin", llmc_file(20240801, 7, 2, packed(u32{1}, u32{0xFFFFFFFF}))));
  expect_error(ExitCode::bad_input, {"b.bin", "position 1 is 4294967295"}, [&] { read_all(*file); });
}

TEST(NanoGptFile, IsWhatHasNoHeader) {
  const TemporaryFolder folder;
  const auto file = TokenFile::open(folder.write("train.bin", packed(u16{7}, u16{65535})));
  EXPECT_EQ(file->format(), TokenFormat::nanogpt);
  EXPECT_THAT(read_all(*file), ElementsAre(7, 65535));
  expect_error(ExitCode::bad_input, {"odd.bin", "3 bytes"},
               [&] { TokenFile::open(folder.write("odd.bin", std::string("a\0\0", 3))); });
  const auto empty = folder.write("empty.bin", "");
  expect_error(ExitCode::bad_input, {"empty.bin", "it is empty"}, [&] { TokenFile::open(empty); });
  EXPECT_EQ(TokenFile::open(empty, TokenFormat::nanogpt)->num_tokens(), 0);
}

TEST(MegatronFile, IsReadAsOneStream) {
  const TemporaryFolder folder;
  const auto path = folder.write("d.bin", packed(u16{1}, u16{2}, u16{3}, u16{4}, u16{5}));
  folder.write("d.idx", megatron_index(8, {0, 6, 6}));
  const auto file = TokenFile::open(path);
  EXPECT_EQ(file->format(), TokenFormat::megatron);
  EXPECT_THAT(read_all(*file), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(file->num_documents(), 2);
  // The order is the index's, wherever the sequences lie.
  folder.write("d.idx", megatron_index(8, {4, 0, 0}));
  const auto turned = TokenFile::open(path);
  EXPECT_THAT(read_all(*turned), ElementsAre(3, 4, 5, 1, 2));
  std::vector<int32_t> part(3);
  turned->read(2, 3, part.data());
  EXPECT_THAT(part, ElementsAre(5, 1, 2));
}

TEST(MegatronFile, ReadsEveryIntegerType) {
  const TemporaryFolder folder;
  const auto read = [&](u8 code, i64 width, const std::string& body) {
    const auto path = folder.write("d.bin", body);
    folder.write("d.idx", megatron_index(code, {0, 3 * width, 3 * width}));
    return read_all(*TokenFile::open(path));
  };
  EXPECT_THAT(read(1, 1, packed(u8{1}, u8{2}, u8{3}, u8{4}, u8{255})), ElementsAre(1, 2, 3, 4, 255));
  EXPECT_THAT(read(3, 2, packed(u16{1}, u16{2}, u16{3}, u16{4}, u16{0xFFFF})), ElementsAre(1, 2, 3, 4, -1));
  EXPECT_THAT(read(4, 4, packed(i32{1}, i32{2}, i32{3}, i32{4}, i32{1 << 20})),
              ElementsAre(1, 2, 3, 4, 1 << 20));
  EXPECT_THAT(read(5, 8, packed(i64{1}, i64{2}, i64{3}, i64{4}, i64{5})), ElementsAre(1, 2, 3, 4, 5));
  expect_error(ExitCode::bad_input, {"d.bin", "position 4 is 1099511627776"},
               [&] { read(5, 8, packed(i64{1}, i64{2}, i64{3}, i64{4}, i64{1} << 40)); });
}

TEST(MegatronFile, IndexesThatDoNotFitAreRefused) {
  const TemporaryFolder folder;
  const auto path = folder.write("d.bin", packed(u16{1}, u16{2}, u16{3}, u16{4}, u16{5}));
  const std::string whole = megatron_index(8, {0, 6, 6});
  const auto refuses = [&](const std::string& index, std::initializer_list<std::string_view> parts) {
    folder.write("d.idx", index);
    expect_error(ExitCode::bad_input, parts, [&] { TokenFile::open(path, TokenFormat::megatron); });
  };
  const auto changed = [&](size_t offset, const std::string& bytes) {
    std::string damaged = whole;
    return damaged.replace(offset, bytes.size(), bytes);
  };
  for (size_t size = 0; size < whole.size(); ++size) refuses(whole.substr(0, size), {"d.idx"});
  refuses(whole + "x", {"d.idx", "61 bytes"});
  refuses(changed(0, "X"), {"MMIDIDX"});
  refuses(changed(9, packed(uint64_t{2})), {"version 2"});
  for (const u8 code : {u8{0}, u8{2}, u8{6}, u8{7}, u8{9}}) {
    refuses(changed(17, packed(code)), {fmt::format("dtype code {}", code)});
  }
  refuses(changed(17, packed(u8{4})), {"sequence 0", "3 tokens of 4 bytes", "d.bin", "10 bytes"});
  refuses(changed(17, packed(u8{1})), {"d.idx"});
  refuses(changed(18, packed(uint64_t{4})), {"4 sequences"});
  refuses(changed(18, packed(~uint64_t{0})), {"18446744073709551615 sequences"});
  refuses(changed(26, packed(uint64_t{1} << 61)), {"2305843009213693952 document"});
  refuses(changed(34, packed(i32{-1})), {"sequence 0 has length -1"});
  refuses(changed(34, packed(i32{4})), {"d.idx"});
  refuses(changed(46, packed(i64{-2})), {"sequence 0", "from byte -2"});
  refuses(changed(62, packed(i64{8})), {"sequence 2", "from byte 8"});
  refuses(changed(62, packed(INT64_MAX)), {"sequence 2"});
  refuses(changed(70, packed(i64{1})), {"document bound 0 is 1"});
  refuses(changed(78, packed(i64{4})), {"document bound 1 is 4"});
  refuses(changed(86, packed(i64{2})), {"document bound 2 is 2"});
  // As many tokens, but not each once, or not at their beginnings.
  refuses(megatron_index(8, {0, 6, 0}), {"d.idx", "overlap at byte 0"});
  refuses(megatron_index(8, {4, 6, 6}), {"d.idx", "leave a gap at byte 0"});
  refuses(megatron_index(8, {2, 6, 6}), {"d.idx", "leave a gap at byte 0"});
  refuses(megatron_index(8, {0, 6, 5}), {"sequence 2 begins at byte 5", "a token of 2 bytes"});
  refuses(megatron_index(8, {1, 6, 6}), {"sequence 0 begins at byte 1"});
  folder.write("d.idx", whole);
  folder.write("d.bin", packed(u16{1}, u16{2}, u16{3}, u16{4}, u16{5}, u16{6}));
  expect_error(ExitCode::bad_input, {"d.idx", "5 tokens", "12 bytes"}, [&] { TokenFile::open(path); });
}

TEST(TokenFile, DamagedHeadersNeverCrash) {
  const TemporaryFolder folder;
  const std::string tok = small_tok(folder);
  const std::string llmc = llmc_file(20240801, 7, 4, std::string(16, '\1'));
  const std::string index = megatron_index(8, {0, 6, 6});
  folder.write("m.bin", std::string(10, '\1'));
  const auto open_damaged = [&](std::string contents, const char* written, const char* opened,
                                TokenFormat format, uint64_t trial) {
    const auto random = philox4x32(5, trial, 0);
    const size_t header = std::min<size_t>(contents.size(), 100);
    for (u32 i = 0; i <= random[0] % 3; ++i) {
      contents[(random[1] >> (8 * i)) % header] = static_cast<char>(random[2] >> (8 * i));
    }
    folder.write(written, contents);
    try {
      read_all(*TokenFile::open(folder.path(opened), format));
    } catch (const UserError& error) {
      ASSERT_EQ(error.code(), ExitCode::bad_input) << error.what();
    }
  };
  for (uint64_t trial = 0; trial < 500; ++trial) {
    open_damaged(tok, "f.tok", "f.tok", TokenFormat::automatic, trial);
    open_damaged(llmc, "f.bin", "f.bin", TokenFormat::llmc, trial);
    open_damaged(index, "m.idx", "m.bin", TokenFormat::automatic, trial);
  }
}

TEST(TokenFile, NamesWhatCannotBeOpened) {
  const TemporaryFolder folder;
  expect_error(ExitCode::bad_input, {"none.tok", "No such file"},
               [&] { TokenFile::open(folder.path("none.tok")); });
  expect_error(ExitCode::bad_input, {"is a directory"}, [&] { TokenFile::open(folder.path()); });
  expect_error(ExitCode::bad_input, {"d.idx", "give the .bin"},
               [&] { TokenFile::open(folder.path("d.idx")); });
  folder.write("d.bin", "");
  expect_error(ExitCode::bad_input, {"d.idx", "No such file"},
               [&] { TokenFile::open(folder.path("d.bin"), TokenFormat::megatron); });
  EXPECT_EQ(parse_token_format("megatron"), TokenFormat::megatron);
  expect_error(ExitCode::usage, {"'numpy'", "nanogpt"}, [] { parse_token_format("numpy"); });
}

}  // namespace
}  // namespace trireme
