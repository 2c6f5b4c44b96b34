// What a token costs the engine's thread until its chunk is handed to the HTTP server.
#include <benchmark/benchmark.h>

#include "launch/serve/protocol/reply/completion.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"

namespace trireme::launch {
namespace {

class NoReply final : public HttpReply {
 public:
  void send(int, std::string_view, std::string body, Headers) override { benchmark::DoNotOptimize(body); }
  void begin_stream(int, std::string_view, Headers) override {}
  void write(std::string piece) override { benchmark::DoNotOptimize(piece); }
  void end() override {}
  void on_gone(std::function<void()>) override {}
};

/// Arguments: conversation, stream, alternatives (-1: no logprobs).
void token_of_reply(benchmark::State& state) {
  ApiRequest request;
  request.reply.is_chat = state.range(0) != 0;
  request.reply.streams = state.range(1) != 0;
  if (state.range(2) >= 0) request.reply.logprobs = state.range(2);
  request.prompts = {{{'a', 'b'}, "ab", 0}};
  const ByteTokenizer tokenizer;
  const TokenNames names(tokenizer);
  const auto make = request.reply.streams ? streamed_completion : whole_completion;
  const CompletionHead head{"chatcmpl-0123456789abcdef0123456789abcdef", 1700000000, "SmolLM2-135M-Instruct",
                            "f"};
  std::vector<TokenScore> alternatives;
  for (int64_t i = 0; i < state.range(2); ++i)
    alternatives.push_back({static_cast<int32_t>('a' + i), -1.25f});
  constexpr int kTokens = 1000;
  for (auto _ : state) {
    const auto sink = make(request, head, tokenizer, names, std::make_shared<NoReply>())->sink(0);
    for (int i = 1; i <= kTokens; ++i)
      sink->on_token(
          {{'x', -0.123f}, " word", i == kTokens ? FinishReason::length : FinishReason::none, alternatives});
  }
  state.SetItemsProcessed(state.iterations() * kTokens);
}
BENCHMARK(token_of_reply)->ArgsProduct({{0, 1}, {0, 1}, {-1, 1, 20}});

}  // namespace
}  // namespace trireme::launch

BENCHMARK_MAIN();
