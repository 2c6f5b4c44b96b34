#include "launch/commands/data_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/data/tokens/token_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/printed.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

using test::expect_error;
using test::printed;
using test::TemporaryFolder;
using testing::HasSubstr;

std::string text_of(const std::string& path, const Tokenizer& tokenizer) {
  const auto file = TokenFile::open(path);
  std::vector<int32_t> ids(static_cast<size_t>(file->num_tokens()));
  file->read(0, file->num_tokens(), ids.data());
  return tokenizer.decode(ids);
}

TEST(DataCommand, BuildsTokenFilesThatSpellTheText) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 200; ++i) text += fmt::format("Oar {} pulls.\n", i);
  for (const char* spec : {"byte", "char", "bpe"}) {
    DataBuildOptions options;
    options.input.files = {folder.write("t.txt", text)};
    options.tokenizer = spec;
    options.bpe_vocab = 280;
    options.out_dir = folder.path(spec) + "/made";
    const auto said = printed([&](std::FILE* out) { run_data_build(options, out); });
    EXPECT_THAT(said, HasSubstr(options.out_dir + "/train.tok"));
    const auto tokenizer = load_tokenizer(options.out_dir + "/tokenizer.json");
    EXPECT_EQ(tokenizer->kind(), spec);
    EXPECT_EQ(text_of(options.out_dir + "/train.tok", *tokenizer) +
                  text_of(options.out_dir + "/validation.tok", *tokenizer),
              text);
    const auto seen = printed([&](std::FILE* out) {
      run_data_inspect({options.out_dir + "/train.tok", TokenFormat::automatic, options.out_dir, 4}, out);
    });
    EXPECT_THAT(seen, HasSubstr("trireme format"));
    EXPECT_THAT(seen, HasSubstr("begins: Oar"));
    EXPECT_THAT(seen, testing::Not(HasSubstr("NOT the one")));
  }
}

TEST(DataCommand, InspectFindsIdsOutsideTheVocabulary) {
  const TemporaryFolder folder;
  const auto path = folder.write("train.bin", std::string("a\0b\0\1\1", 6));
  DataInspectOptions options;
  options.file = path;
  EXPECT_THAT(printed([&](std::FILE* out) { run_data_inspect(options, out); }), HasSubstr("largest id 257"));
  options.tokenizer = "byte";
  expect_error(ExitCode::bad_input, {path, "position 2 is 257", "vocabulary of 257"},
               [&] { printed([&](std::FILE* out) { run_data_inspect(options, out); }); });
}

TEST(DataCommand, ABuildLeavesNoFileOfAnEarlierOne) {
  const TemporaryFolder folder;
  DataBuildOptions options;
  options.out_dir = folder.path("made");
  const auto build = [&](const char* text, double fraction) {
    options.input.files = {folder.write("t.txt", std::string(1000, *text))};
    options.validation_fraction = fraction;
    return printed([&](std::FILE* out) { run_data_build(options, out); });
  };
  EXPECT_THAT(build("a", 0.1), testing::Not(HasSubstr("removed")));
  EXPECT_TRUE(std::filesystem::exists(folder.path("made/validation.tok")));
  EXPECT_THAT(build("b", 0), HasSubstr("validation.tok of an earlier build was removed"));
  EXPECT_FALSE(std::filesystem::exists(folder.path("made/validation.tok")));
  EXPECT_THAT(build("c", 0), testing::Not(HasSubstr("removed")));
}

TEST(DataCommand, SaysWhatItReadAndWhatIsMissing) {
  const TemporaryFolder folder;
  DataBuildOptions options;
  options.validation_fraction = 0;
  options.out_dir = folder.path("made");
  options.input.files = {folder.write("lines.json", "{\"text\":\"ab\"}\n{\"text\":\"ba\"}\n")};
  const auto build = [&] { return printed([&](std::FILE* out) { run_data_build(options, out); }); };
  options.tokenizer = "char";
  EXPECT_THAT(build(), testing::AllOf(HasSubstr("2 documents (2 from JSON lines)"),
                                      HasSubstr("no known end-of-text token"), HasSubstr("--end-of-text")));
  options.tokenizer = "byte";
  EXPECT_THAT(build(), testing::Not(HasSubstr("end-of-text")));
  options.input.format = TextFormat::plain;
  EXPECT_THAT(build(), HasSubstr("1 document, 28 bytes"));
  options.end_of_text = "<eos>";
  expect_error(ExitCode::usage, {"<eos>", "byte"}, build);
}

TEST(DataCommand, FailuresLeaveNoTokenFile) {
  const TemporaryFolder folder;
  DataBuildOptions options;
  const auto build = [&] { run_data_build(options, stdout); };
  expect_error(ExitCode::usage, {"no text"}, build);
  options.input.files = {folder.write("t.jsonl", "{\"text\":\"one\"}\n{\"text\":2}\n")};
  expect_error(ExitCode::usage, {"no folder"}, build);
  options.out_dir = folder.path("made");
  expect_error(ExitCode::bad_input, {"t.jsonl:2"}, build);
  EXPECT_TRUE(std::filesystem::is_empty(options.out_dir));
  options.input.files = {folder.write("one.jsonl", "{\"text\":\"one\"}\n")};
  expect_error(ExitCode::bad_input, {"validation.tok would be empty"}, build);
  EXPECT_FALSE(std::filesystem::exists(folder.path("made/train.tok")));
  options.out_dir = options.input.files[0] + "/sub";
  expect_error(ExitCode::usage, {"cannot create the directory"}, build);
}

}  // namespace
}  // namespace trireme::launch
