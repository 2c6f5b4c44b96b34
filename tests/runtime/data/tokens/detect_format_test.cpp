// What is no token file and no text is called by its name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/philox.h"
#include "runtime/data/text_documents.h"
#include "runtime/data/tokens/token_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using namespace std::string_literals;
using test::expect_error;
using test::TemporaryFolder;

std::string drawn_bytes(size_t size, uint64_t seed = 1) {
  std::string out;
  for (uint64_t i = 0; out.size() < size; ++i) {
    const auto words = philox4x32(seed, i, 0);
    out.append(reinterpret_cast<const char*>(words.data()), 16);
  }
  out.resize(size);
  return out;
}

template <class T>
std::string drawn_ids(size_t count, uint32_t below) {
  std::string out;
  for (uint64_t i = 0; i < count; ++i) {
    const auto id = static_cast<T>(philox4x32(3, i, 0)[0] % below);
    out.append(reinterpret_cast<const char*>(&id), sizeof id);
  }
  return out;
}

struct Signed {
  std::string bytes, name;
};

std::vector<Signed> signed_files() {
  std::vector<Signed> files = {
      {"\x1F\x8B\x08\0"s, "gzip"},
      {"\x28\xB5\x2F\xFD"s, "zstd"},
      {"\xFD\x37zXZ\0"s, "xz"},
      {"BZh91AY&SY"s, "bzip2"},
      {"PK\x03\x04"s, "zip"},
      {"\x04\x22\x4D\x18"s, "lz4"},
      {"7z\xBC\xAF\x27\x1C"s, "7z"},
      {"PAR1"s, "Parquet"},
      {"ARROW1\0\0"s, "Arrow"},
      {"\x93NUMPY\x01\0"s, "NumPy"},
      {"\x89HDF\r\n\x1A\n"s, "HDF5"},
      {"\x80\x04\x95\0"s, "pickle"},
      {"\x7F"
       "ELF\x02\x01"s,
       "ELF"},
      {"GGUF"s, "GGUF"},
      {"version https://git-lfs.github.com/spec/v1\n"s, "Git LFS"},
      {"%PDF-1.7"s, "PDF"},
      {"SQLite format 3\0"s, "SQLite"},
      {"MMIDIDX\0\0"s, "Megatron"},
      {"\xFF\xFEh\0"s, "UTF-16"},
      {"\x50\x2A\x4D\x18"s, "zstd"},
      {"RIFF\0\0\0\0WAVE"s, "RIFF"},
      {"\x28\0\0\0\0\0\0\0{\"a\":"s, "safetensors"},
  };
  for (auto& file : files) file.bytes += drawn_bytes(2000);
  files.push_back({std::string(257, '\0') + "ustar" + drawn_bytes(1000), "tar"});
  return files;
}

TEST(DetectTokenFormat, OtherFilesAreCalledByTheirNames) {
  const TemporaryFolder folder;
  auto files = signed_files();
  files.push_back({"", "empty"});
  files.push_back({"Call me Ishmael. Some years ago, never mind how long.\n", "it is text"});
  files.push_back({"gr\xFC\xDF Gott, sch\xF6ne Welt, in Latin-1 und ohne Nullen\n", "it is text"});
  files.push_back({"{\"text\": \"a\"}\n{\"text\": \"b\"}\n", "JSON lines"});
  files.push_back({"[{\"text\": \"a\"},\n {\"text\": \"b\"}]\n", "it is JSON,"});
  files.push_back({drawn_ids<uint32_t>(500, 50257), "32- or 64-bit"});
  files.push_back({drawn_ids<uint32_t>(500, 150000), "32- or 64-bit"});
  files.push_back({drawn_ids<int64_t>(500, 200), "32- or 64-bit"});
  files.push_back({std::string(4000, '\0'), "nothing but zeros"});
  files.push_back({drawn_bytes(1 << 18), "distributed alike"});
  files.push_back({drawn_ids<uint8_t>(1 << 18, 65), "distributed alike"});
  for (const auto& [bytes, name] : files) {
    const auto path = folder.write("f.bin", bytes);
    expect_error(ExitCode::bad_input, {path, name}, [&] { TokenFile::open(path); });
    if (bytes.size() % 2 == 0) {
      EXPECT_EQ(TokenFile::open(path, TokenFormat::nanogpt)->num_tokens(), std::ssize(bytes) / 2) << name;
    }
  }
  const auto path = folder.write("ids.txt", drawn_ids<uint16_t>(500, 50257));
  expect_error(ExitCode::bad_input, {path, "does not end in .bin"}, [&] { TokenFile::open(path); });
  const auto megatron = folder.write("c4_text_document.bin", drawn_ids<uint16_t>(500, 50257));
  expect_error(ExitCode::bad_input, {megatron, "c4_text_document.idx is missing"},
               [&] { TokenFile::open(megatron); });
}

TEST(DetectTokenFormat, SixteenBitIdsAreRead) {
  const TemporaryFolder folder;
  for (const uint32_t vocab : {2u, 65u, 250u, 257u, 1000u, 4096u, 32000u, 50257u}) {
    for (const size_t count : {100u, 5000u, 200000u}) {
      const auto path = folder.write("f.bin", drawn_ids<uint16_t>(count, vocab));
      EXPECT_EQ(TokenFile::open(path)->num_tokens(), static_cast<int64_t>(count)) << vocab;
    }
  }
}

TEST(DetectTokenFormat, HeadersOneBitAwayAreRefused) {
  const TemporaryFolder folder;
  std::string llmc(1024, '\0');
  const int32_t head[] = {20240520, 1, 3000};
  llmc.replace(0, sizeof head, reinterpret_cast<const char*>(head), sizeof head);
  llmc += drawn_ids<uint16_t>(3000, 50257);
  TokenFileWriter writer(folder.path("f.tok"), 100, 0);
  writer.write(std::vector<int32_t>(100, 7));
  writer.finish();
  const std::string tok(MappedFile(folder.path("f.tok")).text());
  ASSERT_EQ(TokenFile::open(folder.write("f.bin", llmc))->num_tokens(), 3000);
  for (size_t bit = 0; bit < 64; ++bit) {
    const auto open = [&](std::string bytes) {
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
      const auto path = folder.write("f.bin", bytes);
      expect_error(ExitCode::bad_input, {path, "version|header"}, [&] {
        try {
          TokenFile::open(path);
        } catch (const UserError& error) {
          const std::string words = error.what();
          const bool says = words.find("version") != words.npos || words.find("header") != words.npos;
          throw UserError(error.code(), words + (says ? " version|header" : ""));
        }
      });
    };
    SCOPED_TRACE(bit);
    open(llmc);
    open(tok);
  }
}

TEST(DetectTokenFormat, AHeaderIsNoIdsEvenByName) {
  const TemporaryFolder folder;
  TokenFileWriter writer(folder.path("f.tok"), 100, 0);
  writer.write(std::vector<int32_t>(100, 7));
  writer.finish();
  expect_error(ExitCode::bad_input, {"f.tok", "header of the format trireme"},
               [&] { TokenFile::open(folder.path("f.tok"), TokenFormat::nanogpt); });
}

TextFormat format_of(const std::string& path) { return detect_text_format(MappedFile(path)); }

TEST(DetectTextFormat, GoesByContent) {
  const TemporaryFolder folder;
  const std::string lines = "{\"text\": \"a\"}\n{\"text\": \"b\"}\n";
  for (const char* name : {"a.json", "a.txt", "a.jsonl", "a"}) {
    EXPECT_EQ(format_of(folder.write(name, lines)), TextFormat::json_lines) << name;
    EXPECT_EQ(format_of(folder.write(name, "\n\xEF\xBB\xBF" + lines)),
              name == "a.jsonl"s ? TextFormat::json_lines : TextFormat::plain)
        << name;
    EXPECT_EQ(format_of(folder.write(name, "\xEF\xBB\xBF\n" + lines)), TextFormat::json_lines) << name;
  }
  for (const char* text : {"", "Plain.\n", "{curly} words\n", "[1] A list of references\n", "{\n",
                           "\"quoted\"\n", "{{template}}\n", "{ x: 1 }\n", "[[wiki]] link\n"}) {
    EXPECT_EQ(format_of(folder.write("a.txt", text)), TextFormat::plain) << text;
  }
}

TEST(DetectTextFormat, OtherFilesAreCalledByTheirNames) {
  const TemporaryFolder folder;
  auto files = signed_files();
  files.push_back({"[\n  {\"text\": \"a\"}\n]\n", "not one object per line"});
  files.push_back({"{\n  \"text\": \"a\"\n}\n", "not one object per line"});
  files.push_back({"h\0e\0l\0l\0o\0"s, "zero bytes"});
  files.push_back({"TRIREMET" + std::string(100, '\1'), "--data.tokens"});
  for (const auto& [bytes, name] : files) {
    for (const char* file : {"f.txt", "f.jsonl"}) {
      if (file == "f.jsonl"s && name == "not one object per line") continue;
      const auto path = folder.write(file, bytes);
      expect_error(ExitCode::bad_input, {path, name}, [&] { format_of(path); });
    }
  }
}

TEST(DetectTextFormat, ByNameBytesAreTakenAsTheyAre) {
  const TemporaryFolder folder;
  TextInput input{{folder.write("f.gz", "\x1F\x8B\x08{\"text\":\"a\"}")}};
  input.format = TextFormat::plain;
  std::string seen;
  for_each_document(input, [&](const Document& document) { seen = document.text; });
  EXPECT_EQ(seen, "\x1F\x8B\x08{\"text\":\"a\"}");
  input.format = TextFormat::json_lines;
  expect_error(ExitCode::bad_input, {"f.gz:1"}, [&] { for_each_document(input, [](const Document&) {}); });
}

TEST(Json, NumbersThatNoDoubleHoldsNameTheLine) {
  const TemporaryFolder folder;
  for (const char* number : {"1e999", "-1e999", "1e400", "[1e309]", "123e456"}) {
    const auto path =
        folder.write("f.jsonl", fmt::format("{{\"text\":\"a\"}}\n{{\"text\":\"b\",\"n\":{}}}\n", number));
    expect_error(ExitCode::bad_input, {path + ":2", "overflow"},
                 [&] { for_each_document({{path}}, [](const Document&) {}); });
  }
}

}  // namespace
}  // namespace trireme
