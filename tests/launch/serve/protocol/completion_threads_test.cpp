// Texts of one request may be told of by several threads: the engine's, and one that gives a stuck engine up.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "launch/serve/protocol/reply/completion.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"

namespace trireme::launch::test {
namespace {

/// Counts; not safe by itself, so that a sanitizer sees calls that overlap.
class CountingReply final : public HttpReply {
 public:
  void send(int, std::string_view, std::string, Headers) override { ++num_answers; }
  void begin_stream(int, std::string_view, Headers) override { ++num_answers; }
  void write(std::string piece) override { num_bytes += piece.size(); }
  void end() override { ++num_ends; }
  void on_gone(std::function<void()>) override {}

  int num_answers = 0, num_ends = 0;
  size_t num_bytes = 0;
};

/// `num` texts of 300 tokens, each told of by a thread of its own; the one numbered `failing` fails.
void tell(bool streams, int64_t num, int64_t failing) {
  ApiRequest request;
  request.reply.streams = streams;
  request.reply.logprobs = 1;
  request.prompts = {{{'a', 'b'}, "ab", 0}};
  request.n = num;
  const ByteTokenizer tokenizer;
  const TokenNames names(tokenizer);
  const auto reply = std::make_shared<CountingReply>();
  const auto completion = streams ? streamed_completion(request, {"id", 1, "m", "f"}, tokenizer, names, reply)
                                  : whole_completion(request, {"id", 1, "m", "f"}, tokenizer, names, reply);
  std::vector<std::thread> threads;
  for (int64_t i = 0; i < num; ++i) {
    threads.emplace_back([sink = completion->sink(i), fails = i == failing] {
      constexpr int kTokens = 300;
      for (int t = 1; t <= kTokens; ++t) {
        if (fails && t == kTokens / 2) return sink->on_failed(TextFailure::stuck, "stuck");
        sink->on_token(
            {{'x', -1}, "x", t == kTokens ? FinishReason::length : FinishReason::none, {{'y', -2}}});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(reply->num_answers, 1);
  EXPECT_EQ(reply->num_ends, streams ? 1 : 0);
  EXPECT_EQ(reply->num_bytes > 0, streams);
}

TEST(CompletionThreads, AnswerOnceWhoeverEndsLast) {
  for (const bool streams : {true, false}) {
    tell(streams, 4, -1);
    tell(streams, 4, 2);
  }
}

}  // namespace
}  // namespace trireme::launch::test
