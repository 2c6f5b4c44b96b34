#include "models/inference/generator_state.h"

#include <algorithm>
#include <bit>

#include "runtime/base/error.h"

namespace trireme {

namespace {
constexpr size_t kMessageWidth = 3;
}

FinishReason RunningRequest::finish_with(int32_t token) const {
  if (std::ranges::count(wanted.end_tokens, token) > 0) return FinishReason::end_token;
  return std::ssize(text()) + 1 == wanted.max_tokens ? FinishReason::length : FinishReason::none;
}

Generator::State::State(Context& context, const ParallelContext& parallel, CachedModel& cached,
                        const GeneratorOptions& options)
    : ctx(context),
      model(cached),
      first(parallel),
      vocab_size(options.vocab_size > 0 ? options.vocab_size : cached.model().config().vocab_size),
      pool(cached.options().num_blocks, cached.options().block_tokens),
      scheduler(pool, {options.max_batch_tokens, options.max_sequences, options.reuses_prefixes}) {}

RunningRequest& Generator::State::at(int64_t request) const {
  TRIREME_CHECK(request >= 0 && request < std::ssize(requests), "request {} of {}", request, requests.size());
  return *requests[static_cast<size_t>(request)];
}

void Generator::State::expect(const GenerationRequest& request) const {
  const int64_t prompt = std::ssize(request.prompt), length = prompt + request.max_tokens;
  if (prompt == 0) throw_usage("an empty prompt: generation begins after at least one token");
  if (request.max_tokens < 1) throw_usage("max_tokens is {}; allowed: 1 or more", request.max_tokens);
  const int64_t longest = model.model().max_seq_len();
  if (length > longest) {
    throw_usage(
        "{} tokens of a prompt and {} new ones (max_tokens) are more than the longest sequence of the model, "
        "{}: {} new ones would fit",
        prompt, request.max_tokens, longest, std::max<int64_t>(longest - prompt, 0));
  }
  const int64_t cached = pool.num_blocks() * pool.block_tokens();
  if (length > cached) {
    throw_usage(
        "{} tokens of a prompt and {} new ones (max_tokens) are more than the cache of keys and values "
        "holds, "
        "{} blocks of {} tokens: {} new ones would fit",
        prompt, request.max_tokens, pool.num_blocks(), pool.block_tokens(),
        std::max<int64_t>(cached - prompt, 0));
  }
  const int64_t known = model.model().config().vocab_size;
  for (const int32_t token : request.prompt) {
    if (token < 0 || token >= known) throw_usage("token {} of a prompt; the model has {}", token, known);
  }
}

Tensor Generator::State::pass(std::span<const ScheduledChunk> batch) {
  chunks.clear();
  drawn.clear();
  for (const ScheduledChunk& chunk : batch) {
    const Sequence& s = *chunk.sequence;
    const auto begin = static_cast<size_t>(s.computed), count = static_cast<size_t>(chunk.num_tokens);
    chunks.push_back({std::span<const int32_t>(s.tokens).subspan(begin, count), s.computed, s.blocks,
                      chunk.is_last ? 1 : 0});
    if (chunk.is_last) drawn.push_back(&at(s.number));
  }
  const Tensor logits = model.logits(ctx, chunks);
  for (const ScheduledChunk& chunk : batch) scheduler.advance(chunk);
  return logits;
}

void Generator::State::draw(const Tensor& logits, const OnToken& on_token) {
  message.assign(kMessageWidth * drawn.size(), 0);
  if (first.is_this()) {
    sequences.clear();
    for (const RunningRequest* r : drawn)
      sequences.push_back({&r->wanted.sampling, r->wanted.prompt, r->text()});
    const std::vector<SampledToken> tokens = draw_tokens(ctx, logits, vocab_size, sequences);
    for (size_t i = 0; i < drawn.size(); ++i) {
      const RunningRequest& r = *drawn[i];
      FinishReason finish = r.finish_with(tokens[i].token);
      const bool stops = on_token && on_token({r.sequence.number, std::ssize(r.text()), tokens[i], finish});
      if (stops && finish == FinishReason::none) finish = FinishReason::stopped;
      message[kMessageWidth * i] = tokens[i].token;
      message[kMessageWidth * i + 1] = std::bit_cast<int32_t>(tokens[i].log_probability);
      message[kMessageWidth * i + 2] = static_cast<int32_t>(finish);
    }
  }
  first.share(ctx, message);
}

void Generator::State::append() {
  for (size_t i = 0; i < drawn.size(); ++i) {
    drawn[i]->sequence.tokens.push_back(message[kMessageWidth * i]);
    ++counts.decoded_tokens;
    const auto finish = static_cast<FinishReason>(message[kMessageWidth * i + 2]);
    if (finish != FinishReason::none) end(*drawn[i], finish);
  }
}

void Generator::State::end(RunningRequest& request, FinishReason finish) {
  request.finish = finish;
  --num_unfinished;
  scheduler.remove(request.sequence);
}

}  // namespace trireme
