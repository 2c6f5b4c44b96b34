// Files of prompts, and what is wrong with them.
#include "launch/generate/prompts.h"

#include <gmock/gmock.h>

#include "launch/generate/text_request.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"
#include "tests/support/expect_error.h"

namespace trireme::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> texts(const std::vector<Prompt>& prompts) {
  std::vector<std::string> list;
  for (const Prompt& prompt : prompts) list.push_back(prompt.text);
  return list;
}

TEST(Prompts, ALineOfTextEach) {
  const auto prompts = parse_prompts("Once \n\n  \r\nIn the {beginning}\r\nlast", "p.txt", {});
  EXPECT_THAT(texts(prompts), ElementsAre("Once ", "In the {beginning}", "last"));
  EXPECT_EQ(prompts[1].where, "p.txt:4");
}

TEST(Prompts, JsonLinesWithOptionsOfTheirOwn) {
  TextOptions defaults;
  defaults.sampling.temperature = 0.5;
  defaults.max_tokens = 9;
  defaults.stops = {"x"};
  const auto prompts = parse_prompts(
      R"({"prompt": "a\nb", "id": 7, "max_tokens": 3, "seed": 4, "top_k": 2, "stop": "."}
{"tokens": [1, 2], "temperature": 1, "stop": ["p", "q"], "id": {"of": "b"}}
 {"messages": [{"role": "user", "content": "Hi"}]})",
      "p.jsonl", defaults);
  ASSERT_EQ(prompts.size(), 3u);
  EXPECT_EQ(prompts[0].text, "a\nb");
  EXPECT_EQ(prompts[0].id, 7);
  EXPECT_EQ(prompts[0].options.max_tokens, 3);
  EXPECT_EQ(prompts[0].options.sampling, (SamplingOptions{.temperature = 0.5, .top_k = 2, .seed = 4}));
  EXPECT_THAT(prompts[0].options.stops, ElementsAre("."));
  EXPECT_THAT(prompts[1].tokens, ElementsAre(1, 2));
  EXPECT_EQ(prompts[1].options.max_tokens, 9);
  EXPECT_THAT(prompts[1].options.stops, ElementsAre("p", "q"));
  EXPECT_EQ(prompts[2].messages[0]["content"], "Hi");
}

TEST(Prompts, ErrorsNameFileLineAndKey) {
  const auto refuse = [](const std::string& text, const std::string& words) {
    test::expect_error(ExitCode::bad_input, {words}, [&] { (void)parse_prompts(text, "p", {}); });
  };
  refuse("", "p has no prompts");
  refuse("\n \n", "p has no prompts");
  refuse("{\"prompt\": \"a\"}\nb", "p:2");
  refuse("{\"promt\": \"a\"}", "p:1: \"promt\" is no key of a prompt");
  refuse("{\"id\": 1}", "p:1: one of \"prompt\", \"messages\" and \"tokens\" is needed, found 0");
  refuse("{\"prompt\": \"a\", \"tokens\": [1]}", "found 2");
  refuse("{\"prompt\": 3}", "p:1");
  refuse("{\"tokens\": []}", "allowed: a list of ids");
  refuse("{\"tokens\": [-1]}", "an id of \"tokens\"");
  refuse("{\"prompt\": \"a\", \"max_tokens\": 0}", "\"max_tokens\" is 0; allowed: a whole number, 1 or more");
  refuse("{\"prompt\": \"a\", \"max_tokens\": 1.5}", "\"max_tokens\" is 1.5");
  refuse("{\"prompt\": \"a\", \"temperature\": -1}", "p:1: --temperature is -1");
  refuse("{\"prompt\": \"a\", \"temperature\": \"x\"}", "allowed: a number");
  refuse("{\"prompt\": \"a\", \"top_k\": 4}", "--top-k: no effect at temperature 0");
  refuse("{\"prompt\": \"a\", \"stop\": [\"\"]}", "texts that are not empty");
  refuse("\xff", "p");
}

TextOptions parse(std::vector<std::string> args, std::vector<std::string>& errors) {
  TextOptions options;
  const auto rows = text_options(options);
  (void)parse_plain_arguments("generate", rows, args, errors);
  const auto more = errors_of(options);
  errors.insert(errors.end(), more.begin(), more.end());
  return options;
}

TEST(TextOptions, AreParsedAndChecked) {
  std::vector<std::string> errors;
  const TextOptions o =
      parse({"--temperature", "0.7", "--top-p", "0.9", "--stop", "a", "--stop", "b", "--seed",
             "18446744073709551615", "--max-tokens", "5", "--presence-penalty=-0.5"},
            errors);
  EXPECT_THAT(errors, IsEmpty());
  EXPECT_EQ(o.sampling,
            (SamplingOptions{
                .temperature = 0.7, .top_p = 0.9, .presence_penalty = -0.5, .seed = 18446744073709551615u}));
  EXPECT_THAT(o.stops, ElementsAre("a", "b"));
  EXPECT_EQ(o.max_tokens, 5);
  const auto refuse = [](std::vector<std::string> args, const std::string& words) {
    std::vector<std::string> found;
    (void)parse(std::move(args), found);
    EXPECT_THAT(found, ElementsAre(HasSubstr(words)));
  };
  refuse({"--max-tokens", "0"}, "--max-tokens is '0'; allowed: a whole number, 1 or more");
  refuse({"--temperature", "hot"}, "--temperature is 'hot'; allowed: a number");
  refuse({"--temperature", "-1"}, "--temperature is -1");
  refuse({"--top-k", "4", "--seed", "3"}, "--top-k, --seed: no effect at temperature 0");
  refuse({"--ignore-end", "--end-token", "x"}, "no effect with --ignore-end");
  refuse({"--stop", ""}, "a text that is not empty");
}

TEST(TextRequest, EncodesAndFits) {
  const ByteTokenizer bytes;
  RequestRules rules{.tokenizer = &bytes, .end_tokens = {256}, .vocab_size = 257, .max_seq_len = 20};
  Prompt prompt;
  prompt.text = "abc";
  prompt.where = "prompt";
  TextRequest request = request_of(prompt, rules);
  EXPECT_THAT(request.generation.prompt, ElementsAre('a', 'b', 'c'));
  EXPECT_EQ(request.generation.max_tokens, 17);  // what fits
  EXPECT_THAT(request.generation.end_tokens, ElementsAre(256));
  prompt.options.max_tokens = 17;
  EXPECT_EQ(request_of(prompt, rules).generation.max_tokens, 17);
  prompt.options.max_tokens = 18;
  test::expect_error(ExitCode::usage, {"the prompt has 3 tokens, and with 18 more it does not fit"},
                     [&] { (void)request_of(prompt, rules); });
  prompt.options.max_tokens.reset();
  prompt.text = std::string(20, 'a');
  test::expect_error(ExitCode::usage, {"with 1 more it does not fit"},
                     [&] { (void)request_of(prompt, rules); });
  prompt.text = "";
  EXPECT_THAT(request_of(prompt, rules).generation.prompt, ElementsAre(256));
  prompt.options.ignores_end = true;
  EXPECT_THAT(request_of(prompt, rules).generation.end_tokens, IsEmpty());
  prompt.tokens = {5, 257};
  test::expect_error(ExitCode::bad_input, {"the token 257 is not of the model's"},
                     [&] { (void)request_of(prompt, rules); });
  prompt.tokens = {5};
  prompt.options = {};
  prompt.options.stops = {"<|endoftext|>"};
  EXPECT_EQ(request_of(prompt, rules).generation.prompt.size(), 1u);
  prompt.options.stops = {"x"};
  rules.tokenizer = nullptr;
  test::expect_error(ExitCode::usage, {"need a tokenizer"}, [&] { (void)request_of(prompt, rules); });
  prompt.options = {};
  EXPECT_EQ(request_of(prompt, rules).generation.prompt.size(), 1u);
  prompt.tokens.clear();
  test::expect_error(ExitCode::usage, {"--tokenizer PATH"}, [&] { (void)request_of(prompt, rules); });
}

}  // namespace
}  // namespace trireme::launch
