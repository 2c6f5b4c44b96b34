#include "runtime/data/tokenizer/tokenize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/data/tokenizer/char_tokenizer.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using test::expect_error;
using test::TemporaryFolder;
using testing::ElementsAre;

struct Split {
  std::vector<int32_t> train, validation;
  TokenizeCounts counts;
};

Split split(const TextInput& input, const Tokenizer& tokenizer, double fraction, int num_threads = 1) {
  Split out;
  const auto into = [](std::vector<int32_t>& ids) {
    return [&ids](std::span<const int32_t> more) { ids.insert(ids.end(), more.begin(), more.end()); };
  };
  out.counts = tokenize(input, tokenizer, fraction, num_threads, into(out.train), into(out.validation));
  EXPECT_EQ(out.counts.train_tokens, static_cast<int64_t>(out.train.size()));
  EXPECT_EQ(out.counts.validation_tokens, static_cast<int64_t>(out.validation.size()));
  return out;
}

TEST(Tokenize, PlainTextIsCutWhereNanoGptCutsIt) {
  const TemporaryFolder folder;
  const auto tokenizer = train_char("0123456789ab\u00e9");
  const auto part = split({{folder.write("t.txt", "0123456789a")}}, *tokenizer, 0.1);
  EXPECT_THAT(part.train, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));  // int(11 * 0.9) = 9
  EXPECT_THAT(part.validation, ElementsAre(9, 10));
  // A cut inside a character moves behind it.
  const auto wide = split({{folder.write("t.txt", "0\u00e9a")}}, *tokenizer, 0.5);
  EXPECT_THAT(wide.train, ElementsAre(0, 12));
  EXPECT_THAT(wide.validation, ElementsAre(10));
  EXPECT_TRUE(split({{folder.path("t.txt")}}, *tokenizer, 0).validation.empty());
}

TEST(Tokenize, DocumentsAreParted) {
  const TemporaryFolder folder;
  const auto tokenizer = load_tokenizer("byte");
  const auto lines =
      folder.write("d.jsonl", "{\"text\":\"a\"}\n\n{\"text\":\"\"}\r\n{\"text\":\"bc\"}\n{\"text\":\"d\"}");
  const auto all = split({{lines}}, *tokenizer, 0);
  EXPECT_THAT(all.train, ElementsAre('a', 256, 'b', 'c', 256, 'd'));
  EXPECT_EQ(all.counts.documents, 3);
  EXPECT_EQ(all.counts.text_bytes, 4);
  // The last line begins behind three quarters of the bytes; no mark stands at the border.
  const auto parted = split({{lines}}, *tokenizer, 0.25);
  EXPECT_THAT(parted.train, ElementsAre('a', 256, 'b', 'c'));
  EXPECT_THAT(parted.validation, ElementsAre('d'));
  const auto files =
      split({{folder.write("x.txt", "xy"), folder.write("empty.txt", ""), lines}}, *tokenizer, 0);
  EXPECT_THAT(files.train, ElementsAre('x', 'y', 256, 'a', 256, 'b', 'c', 256, 'd'));
}

TEST(Tokenize, IdsDoNotDependOnPiecesOrThreads) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; text.size() < 1500000; ++i)
    text += fmt::format("Line {} of the log,\nwritten  by oar {}.\n\n", i, i * 7);
  const TextInput input{{folder.write("t.txt", text)}};
  for (const char* spec : {"byte", "char", "bpe"}) {
    const auto tokenizer = make_tokenizer(spec, input, 300);
    const auto one = split(input, *tokenizer, 0, 1);
    EXPECT_EQ(one.train, tokenizer->encode(text)) << spec;
    EXPECT_EQ(split(input, *tokenizer, 0, 3).train, one.train) << spec;
  }
}

TEST(Tokenize, AnotherFieldCanHoldTheText) {
  const TemporaryFolder folder;
  const auto path = folder.write("d.ndjson", R"({"text":1,"body":"z"})");
  EXPECT_THAT(split({{path}, "body"}, *load_tokenizer("byte"), 0).train, ElementsAre('z'));
}

TEST(Tokenize, BadLinesAreNamed) {
  const TemporaryFolder folder;
  const auto refuses = [&](std::string_view line, std::string_view reason) {
    const auto path = folder.write("d.jsonl", fmt::format("{{\"text\":\"fine\"}}\n{}\n", line));
    expect_error(ExitCode::bad_input, {path + ":2", reason},
                 [&] { split({{path}}, *load_tokenizer("byte"), 0); });
  };
  refuses("{\"text\":", "not JSON");
  refuses("\"text\"", "expected an object");
  refuses("{\"body\":\"x\"}", "\"text\" is missing");
  refuses("{\"text\":[1]}", "must be a string");
  refuses("{\"text\":\"\xff\"}", "0xFF at offset 9");
}

TEST(Tokenize, BadTextIsNamedWithItsPlaceInTheFile) {
  const TemporaryFolder folder;
  // Behind the first piece, on several threads, in the validation part too.
  const std::string good(700000, 'a');
  const auto path = folder.write("t.txt", good + "\xfe" + std::string(1000, 'a'));
  const auto tokenizer = train_char("a");
  for (const double fraction : {0.0, 0.5}) {
    expect_error(ExitCode::bad_input, {path, "0xFE", "offset 700000"},
                 [&] { split({{path}}, *tokenizer, fraction, 2); });
  }
  const auto unknown = folder.write("u.txt", good + "b");
  expect_error(ExitCode::bad_input, {unknown, "U+0062", "byte 700000"},
               [&] { split({{unknown}}, *tokenizer, 0, 2); });
  const auto line = folder.write("l.jsonl", "{\"text\":\"aab\"}");
  expect_error(ExitCode::bad_input, {line + ":1", "U+0062", "byte 2"},
               [&] { split({{line}}, *tokenizer, 0); });
}

TEST(Tokenize, RefusesImpossibleRequests) {
  const TemporaryFolder folder;
  const TextInput input{{folder.write("t.txt", "a")}};
  for (const double fraction : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
    expect_error(ExitCode::usage, {"validation fraction"},
                 [&] { split(input, *load_tokenizer("byte"), fraction); });
  }
  expect_error(ExitCode::bad_input, {"none.txt"},
               [&] { split({{folder.path("none.txt")}}, *load_tokenizer("byte"), 0); });
}

}  // namespace
}  // namespace trireme
