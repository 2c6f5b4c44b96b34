#include "launch/run/training_data.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/comm/self/self_communicator.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"
#include "runtime/data/tokens/token_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

using test::expect_error;
using test::TemporaryFolder;
using testing::AllOf;
using testing::HasSubstr;

TrainingData load(const DataConfig& config, int64_t vocab = 0) {
  Context ctx;
  const auto world = make_self_communicator();
  return load_training_data(ctx, *world, config, vocab);
}

DataConfig text_config(const std::string& path, const std::string& tokenizer = "byte") {
  DataConfig config;
  config.text = path;
  config.tokenizer = tokenizer;
  return config;
}

DataConfig token_config(const std::string& path) {
  DataConfig config;
  config.tokens = path;
  return config;
}

std::string counting_ids(int count, int below) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    const auto id = static_cast<uint16_t>(i % below);
    bytes.append(reinterpret_cast<const char*>(&id), sizeof id);
  }
  return bytes;
}

TEST(TrainingData, SaysWhatWasRead) {
  const TemporaryFolder folder;
  const auto plain = folder.write("t.txt", std::string(100, 'a'));
  EXPECT_THAT(load(text_config(plain)).description,
              HasSubstr("plain text: 100 bytes in 1 document, 90 + 10 tokens of 257 ids"));
  const auto lines = folder.write("t.json", "{\"text\":\"abc\"}\n{\"text\":\"cba\"}\n");
  EXPECT_THAT(load(text_config(lines)).description,
              AllOf(HasSubstr("JSON lines: 6 bytes in 2 documents"), testing::Not(HasSubstr("note"))));
  EXPECT_THAT(load(text_config(lines, "char")).description,
              AllOf(HasSubstr("no known end-of-text token"), HasSubstr("--data.end-of-text")));
  EXPECT_THAT(load(token_config(folder.write("t.bin", counting_ids(1000, 50))), 50).description,
              HasSubstr("nanogpt format, 1,000 tokens of 16 bits (no header"));
}

TEST(TrainingData, AModelMayHaveMoreRowsThanTheTokenizerHasTokensButNotFewer) {
  const TemporaryFolder folder;
  const auto config = text_config(folder.write("t.txt", std::string(100, 'a')));
  const TrainingData padded = load(config, 320);
  EXPECT_EQ(padded.vocab_size, 320);
  EXPECT_THAT(padded.description, HasSubstr("63 of 320 rows of the embedding (--model.vocab) have no token"));
  EXPECT_THAT(load(config, 257).description, testing::Not(HasSubstr("no token")));
  expect_error(ExitCode::usage, {"--model.vocab 256", "257"}, [&] { load(config, 256); });
}

TEST(TrainingData, NoTextIsNamed) {
  const TemporaryFolder folder;
  for (const char* text : {"", "{\"text\":\"\"}\n", "{\"text\":\"\"}\n\n{\"text\":\"\"}\n"}) {
    const auto path = folder.write("t.jsonl", text);
    for (const char* tokenizer : {"byte", "char", "bpe"}) {
      expect_error(ExitCode::bad_input, {path, "holds no text"}, [&] { load(text_config(path, tokenizer)); });
    }
  }
  const auto empty = folder.write("empty.txt", "");
  expect_error(ExitCode::bad_input, {empty, "holds no text"}, [&] { load(text_config(empty)); });
}

TEST(TrainingData, TheFormatCanBeNamed) {
  const TemporaryFolder folder;
  DataConfig config = text_config(folder.write("t.json", "[{\"text\":\"a\"}]"));
  expect_error(ExitCode::bad_input, {"t.json", "not one object per line"}, [&] { load(config); });
  config.format = "text";
  EXPECT_THAT(load(config).description, HasSubstr("plain text: 14 bytes"));
  DataConfig tokens = token_config(folder.write("t.ids", counting_ids(1000, 50)));
  expect_error(ExitCode::bad_input, {"t.ids", "does not end in .bin"}, [&] { load(tokens, 50); });
  tokens.format = "nanogpt";
  EXPECT_EQ(load(tokens, 50).train->num_tokens(), 900);
  EXPECT_THAT(load(tokens, 50).description, HasSubstr("as --data.format says"));
}

TEST(TrainingData, KnowsWhatEndsDocumentsThatAreKeptApart) {
  const TemporaryFolder folder;
  const auto lines = folder.write("t.jsonl", "{\"text\":\"abc\"}\n{\"text\":\"cba\"}\n");
  DataConfig text = text_config(lines);
  EXPECT_EQ(load(text).end_of_text, std::nullopt);
  text.documents = DocumentsKind::separate;
  EXPECT_EQ(load(text).end_of_text, 256);
  text.tokenizer = "char";
  expect_error(ExitCode::usage,
               {"--data.documents separate", "char", "no known end-of-text token", "byte, bpe"},
               [&] { load(text); });

  DataConfig tokens = token_config(folder.write("t.bin", counting_ids(1000, 50)));
  tokens.documents = DocumentsKind::separate;
  expect_error(ExitCode::usage, {"t.bin", "--data.tokenizer PATH"}, [&] { load(tokens, 50); });
  const ByteTokenizer bytes;
  for (const uint64_t fingerprint : {bytes.fingerprint(), bytes.fingerprint() + 1}) {
    TokenFileWriter writer(folder.path("t.tok"), bytes.vocab_size(), fingerprint);
    writer.write(std::vector<int32_t>(100, 7));
    writer.finish();
    tokens.tokens = folder.path("t.tok");
    if (fingerprint == bytes.fingerprint()) {
      EXPECT_EQ(load(tokens).end_of_text, 256);
    } else {
      expect_error(ExitCode::usage, {"t.tok", "--data.tokenizer PATH"}, [&] { load(tokens); });
    }
  }
}

TEST(TrainingData, IdsBeyondTheVocabularyAreFoundBeforeTheRun) {
  const TemporaryFolder folder;
  const auto path =
      folder.write("t.bin", counting_ids(5000, 100) + counting_ids(1, 1) + std::string("\xE8\3", 2));
  expect_error(ExitCode::bad_input, {path, "position 5001 is 1000", "vocabulary of 100"},
               [&] { load(token_config(path), 100); });
}

}  // namespace
}  // namespace trireme::launch
