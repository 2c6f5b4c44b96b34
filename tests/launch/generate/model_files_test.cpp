// What goes with a model: end tokens, chat template; requests on other ranks.
#include "launch/generate/model_files.h"

#include <unistd.h>

#include <gmock/gmock.h>

#include "launch/generate/answer.h"
#include "launch/generate/chat_format.h"
#include "launch/generate/conversation.h"
#include "launch/generate/inference_arguments.h"
#include "launch/generate/shared_requests.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"
#include "runtime/io/gguf/gguf_writer.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ModelFiles files_in(const test::TemporaryFolder& folder) {
  ModelFiles files;
  files.path = files.folder = folder.path();
  return files;
}

TEST(EndTokens, OfTheFirstFileThatHasSome) {
  const ByteTokenizer bytes;
  const test::TemporaryFolder folder;
  EXPECT_THAT(end_tokens_of({}, nullptr), IsEmpty());
  EXPECT_THAT(end_tokens_of(files_in(folder), &bytes), ElementsAre(256));
  folder.write("config.json", R"({"eos_token_id": 3})");
  EXPECT_THAT(end_tokens_of(files_in(folder), &bytes), ElementsAre(3));
  folder.write("config.json", R"({"eos_token_id": [3, 5]})");
  EXPECT_THAT(end_tokens_of(files_in(folder), nullptr), ElementsAre(3, 5));
  folder.write("generation_config.json", R"({"eos_token_id": [7, 8]})");
  EXPECT_THAT(end_tokens_of(files_in(folder), &bytes), ElementsAre(7, 8));
  folder.write("generation_config.json", "{}");
  folder.write("config.json", R"({"eos_token_id": "x"})");
  test::expect_error(ExitCode::bad_input, {"config.json", "eos_token_id"},
                     [&] { (void)end_tokens_of(files_in(folder), &bytes); });
}

TEST(EndTokens, OfAGgufFile) {
  const test::TemporaryFolder folder;
  const GgufMetadata metadata = {
      {"tokenizer.ggml.eos_token_id", uint32_t{2}},
      {"tokenizer.ggml.eot_token_id", uint32_t{9}},
      {"tokenizer.ggml.bos_token_id", uint32_t{'B'}},
      {"tokenizer.chat_template", std::string("{{ bos_token }}{{ messages[0].content }}")}};
  ModelFiles files;
  files.gguf = folder.path("metadata.gguf");
  GgufWriter(files.gguf, {}, metadata).commit();
  EXPECT_THAT(end_tokens_of(files, nullptr), ElementsAre(2, 9));
  const ByteTokenizer bytes;
  nlohmann::ordered_json messages = nlohmann::ordered_json::array({chat_message("user", "Hi")});
  EXPECT_THAT(ChatFormat(files, bytes).encode(messages), ElementsAre('B', 'H', 'i'));
}

TEST(ChatFormat, RendersTheModelsTemplate) {
  const ByteTokenizer bytes;
  const test::TemporaryFolder folder;
  test::expect_error(ExitCode::usage, {"has no chat template", folder.path()},
                     [&] { ChatFormat(files_in(folder), bytes); });
  folder.write(
      "tokenizer_config.json",
      R"({"bos_token": "<s>", "chat_template": "{{ bos_token }}{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}{% if add_generation_prompt %}a:{% endif %}"})");
  nlohmann::ordered_json messages =
      nlohmann::ordered_json::array({chat_message("system", "S"), chat_message("user", "U")});
  const auto ids = ChatFormat(files_in(folder), bytes).encode(messages);
  EXPECT_EQ(bytes.decode(ids), "<s>s:S;u:U;a:");
}

TEST(SharedRequests, ArriveWholeOnAllRanks) {
  SharedRequests first;
  first.vocab_size = 257;
  first.requests.push_back({.prompt = {1, 70000},
                            .max_tokens = 5,
                            .sampling = {.temperature = 0.1},
                            .end_tokens = {3},
                            .num_alternatives = 0});
  first.requests.push_back({.prompt = {4},
                            .max_tokens = 6,
                            .sampling = {.temperature = 1.0 / 3,
                                         .top_k = 4,
                                         .top_p = 0.9,
                                         .min_p = 0.01,
                                         .repetition_penalty = 1.1,
                                         .presence_penalty = -0.2,
                                         .frequency_penalty = 0.3,
                                         .seed = ~uint64_t{0}}});
  run_thread_ranks(3, [&](Communicator& world) {
    const SharedRequests found = share(world, world.rank() == 0 ? first : SharedRequests{});
    EXPECT_EQ(found.vocab_size, 257);
    ASSERT_EQ(found.requests.size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(found.requests[i].prompt, first.requests[i].prompt);
      EXPECT_EQ(found.requests[i].max_tokens, first.requests[i].max_tokens);
      EXPECT_EQ(found.requests[i].sampling, first.requests[i].sampling);
      EXPECT_EQ(found.requests[i].end_tokens, first.requests[i].end_tokens);
      EXPECT_EQ(found.requests[i].num_alternatives, first.requests[i].num_alternatives);
    }
    EXPECT_EQ(share_number(world, world.rank() + 5), 5);
  });
}

TEST(Answer, HasTokensTextAndItsEnd) {
  const ByteTokenizer bytes;
  Prompt prompt;
  prompt.text = "p";
  prompt.id = "first";
  prompt.options.stops = {"bc"};
  const GenerationRequest generation{.prompt = {'p'}};
  Answer stopped({prompt, generation}, &bytes);
  EXPECT_EQ(stopped.push({.sampled = {'a', -0.5f}}), "a");
  EXPECT_EQ(stopped.push({.sampled = {'b', -1.0f}}), "");
  EXPECT_FALSE(stopped.is_over());
  EXPECT_EQ(stopped.push({.sampled = {'c', 0.0f}}), "");
  EXPECT_TRUE(stopped.is_stopped());
  EXPECT_EQ(line_of(stopped.json(true)),
            "{\"id\":\"first\",\"prompt\":\"p\",\"text\":\"a\",\"tokens\":[97,98,99],\"prompt_tokens\":1,"
            "\"finish_reason\":\"stop\",\"logprobs\":[-0.5,-1.0,0.0]}\n");
  Answer ended({prompt, generation}, &bytes);
  EXPECT_EQ(ended.push({.sampled = {'b', 0}}), "");
  EXPECT_EQ(ended.push({.sampled = {256, 0}, .finish = FinishReason::end_token}), "b");
  EXPECT_THAT(line_of(ended.json(false)), HasSubstr("\"finish_reason\":\"end\"}"));
  Answer cut({prompt, generation}, &bytes);
  EXPECT_EQ(cut.push({.sampled = {0xe2, 0}}), "");
  EXPECT_FALSE(cut.interrupt().empty());
  EXPECT_EQ(cut.interrupt(), "");
  EXPECT_THAT(line_of(cut.json(false)), HasSubstr("interrupted"));  // the byte is no UTF-8, and JSON has none
  Answer tokens({prompt, generation}, nullptr);
  EXPECT_EQ(tokens.push({.sampled = {5, 0}, .finish = FinishReason::length}), "");
  EXPECT_FALSE(tokens.json(false).contains("text"));
}

TEST(LineReader, GivesLinesOfAnyLength) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const std::string text = "one\n\n" + std::string(10'000, 'x') + "\nlast";
  ASSERT_EQ(::write(ends[1], text.data(), text.size()), std::ssize(text));
  ::close(ends[1]);
  LineReader lines(ends[0]);
  EXPECT_EQ(lines.next(), "one");
  EXPECT_EQ(lines.next(), "");
  EXPECT_EQ(lines.next(), std::string(10'000, 'x'));
  EXPECT_EQ(lines.next(), "last");
  EXPECT_EQ(lines.next(), std::nullopt);
  ::close(ends[0]);
}

struct Parsed {
  InferenceArguments arguments;
  std::vector<std::string> errors;
};

Parsed parse(std::vector<std::string> args, int world_size = 1) {
  Parsed parsed;
  (void)parse_plain_arguments("generate", inference_options(parsed.arguments), args, parsed.errors);
  complete(parsed.arguments, world_size, parsed.errors);
  return parsed;
}

TEST(InferenceArguments, WeightsAndLayout) {
  EXPECT_THAT(parse({}).errors, IsEmpty());
  EXPECT_FALSE(parse({}).arguments.model.weights.has_value());
  const Parsed grouped =
      parse({"--weights", "int4", "--group", "64", "--asymmetric", "--activations", "exact"});
  EXPECT_THAT(grouped.errors, IsEmpty());
  EXPECT_EQ(grouped.arguments.model.weights,
            (ops::PackedSpec{.format = ops::PackedFormat::int4, .group = 64, .symmetric = false}));
  EXPECT_EQ(grouped.arguments.model.activations, ops::Activations::exact);
  EXPECT_EQ(parse({"--weights", "int8"}).arguments.model.weights->group, 32);
  EXPECT_THAT(parse({"--tp", "2", "--ep", "2"}, 4).errors, IsEmpty());
  EXPECT_THAT(parse({"--tp", "2"}, 3).errors, ElementsAre(HasSubstr("make 2 rank(s), and 3 were started")));
  EXPECT_THAT(parse({"--tp", "1048576", "--pp", "1048576"}).errors, testing::SizeIs(1));
  EXPECT_THAT(parse({"--weights", "bf16", "--group", "32"}).errors, ElementsAre(HasSubstr("--group 32")));
  EXPECT_THAT(parse({"--asymmetric"}).errors, ElementsAre(HasSubstr("--asymmetric has no effect")));
  EXPECT_THAT(parse({"--weights", "f32", "--activations", "int8"}).errors,
              ElementsAre(HasSubstr("--activations has no effect")));
  EXPECT_THAT(parse({"--weights", "fp8"}).errors, IsEmpty());
  EXPECT_THAT(parse({"--weights", "fp8", "--activations", "int8"}).errors,
              ElementsAre(HasSubstr("--activations has no effect")));
  EXPECT_EQ(parse({"--weights", "int8", "--activations", "int8-rows"}).arguments.model.activations,
            ops::Activations::int8_rows);
  EXPECT_THAT(parse({"--group", "48"}).errors, ElementsAre(HasSubstr("allowed: one of 32, 64, 128, 0")));
}

}  // namespace
}  // namespace trireme::launch
