// A Generator's pass: the batch as the model takes it, what is drawn from its logits, and what all ranks make
// of it.
#include <algorithm>
#include <utility>

#include "models/inference/generator_state.h"
#include "models/inference/row_scores.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {
constexpr int64_t kMessageHead = 2;
}

// While prompts are there or may come, there are no drafts: they would hold them up.
void Generator::State::propose() {
  const bool may_be_prompts = std::exchange(has_new, false);
  if (!drafts.is_on() || may_be_prompts) return;
  decoding.clear();
  for (Sequence* s : scheduler.running()) {
    if (!s->is_decoding()) return;
    const RunningRequest& request = at(s->number);
    const int64_t left = request.wanted.max_tokens - std::ssize(request.text());
    decoding.push_back({s, s->has_scores() ? 0 : left - 1});
  }
  drafts.propose(ctx, decoding);
}

void Generator::State::tell_schedule(GenerationListener& listener) const {
  for (const Scheduler::Event& event : scheduler.preempted())
    listener.on_preempted(event.sequence->number, event.num_tokens);
  for (const Scheduler::Event& event : scheduler.begun())
    listener.on_begin(event.sequence->number, event.num_tokens);
}

std::span<const ScheduledChunk> Generator::State::write_drafts(std::span<const ScheduledChunk> batch) {
  written.clear();
  if (!self || std::ranges::none_of(batch, [](const ScheduledChunk& c) { return c.num_drafts > 0; }))
    return batch;
  written.assign(batch.begin(), batch.end());
  self->write(ctx, written);
  drafts.drafting_took(self->seconds());
  return written;
}

Tensor Generator::State::pass(std::span<const ScheduledChunk> batch) {
  chunks.clear();
  drawn.clear();
  scored.clear();
  int64_t row = 0, message_size = 0;
  const bool may_leave = model.options().exit.confidence > 0;
  for (const ScheduledChunk& chunk : batch) {
    Sequence& s = *chunk.sequence;
    RunningRequest& request = at(s.number);
    const int64_t end = s.computed + chunk.num_tokens,
                  first_logits = end + chunk.num_drafts - chunk.num_logits;
    s.tokens.insert(s.tokens.end(), s.drafts.begin(), s.drafts.begin() + chunk.num_drafts);
    chunks.push_back(
        {std::span<const int32_t>(s.tokens).subspan(static_cast<size_t>(s.computed),
                                                    static_cast<size_t>(chunk.num_tokens + chunk.num_drafts)),
         s.computed, s.blocks, chunk.num_logits,
         // Tokens of a prompt go through all blocks: what is cached of them is everybody's.
         may_leave ? std::clamp<int64_t>(end + chunk.num_drafts - std::ssize(request.prompt()), 0,
                                         chunk.num_tokens + chunk.num_drafts)
                   : 0});
    const int64_t num_scores = s.has_scores() ? std::min(end, s.scores_end) - first_logits : 0;
    // Of a prompt of one token, too, it is said that all places are scored.
    if (num_scores > 0 || (!request.draws() && s.scores_end == 0))
      scored.push_back({&request, row, first_logits, num_scores, {}});
    row += chunk.num_logits;
    if (chunk.is_last && request.draws()) {
      drawn.push_back({&request, row - 1 - chunk.num_drafts, chunk.num_drafts, {}, {}});
      message_size += kMessageHead + 1 + chunk.num_drafts;
    }
  }
  message.assign(static_cast<size_t>(message_size), 0);
  if (!written.empty()) return self->logits(ctx, chunks);
  const ExitCounts before = model.exit_counts();
  const Tensor logits = model.logits(ctx, chunks);
  counts.exit_rows += model.exit_counts().rows - before.rows;
  counts.exit_blocks += model.exit_counts().blocks - before.blocks;
  return logits;
}

// Each token with the logits behind those before it, until one is not what the draft says.
void Generator::State::draw(const HostLogits& logits, DrawnText& text) const {
  const RunningRequest& r = *text.request;
  const GenerationRequest& wanted = r.wanted;
  const std::span<const int32_t> all = r.text();
  for (int64_t i = 0; i <= text.num_drafts; ++i) {
    const int64_t index = std::ssize(all) - text.num_drafts + i;
    const std::span<const float> row = logits.row(text.row + i);
    TokenLimits limits;
    if (wanted.filter) limits.allowed = wanted.filter->allowed();
    TRIREME_CHECK(!wanted.filter || !limits.allowed.empty(), "a filter of tokens without words");
    if (index < wanted.min_tokens) limits.unwelcome = wanted.end_tokens;
    const int32_t token = draw_token(row, vocab_size, wanted.sampling, r.prompt(),
                                     all.first(static_cast<size_t>(index)), index, limits);
    DrawnText::Token& out = text.tokens.emplace_back();
    out.sampled.token = token;
    out.finish = r.finish_with(token, index);
    if (wanted.num_alternatives >= 0) {
      const RowScores scores(row);
      out.sampled = scores.score(token);
      out.alternatives = scores.likeliest(wanted.num_alternatives);
    }
    if (out.finish != FinishReason::none) return;
    if (wanted.filter) wanted.filter->accept(token);
    if (i < text.num_drafts && all[static_cast<size_t>(index)] != token) return;
  }
}

void Generator::State::work_out(const Tensor& logits) {
  if (logits.dim(0) == 0) return;
  const HostLogits rows(ctx, logits, vocab_size);
  for_each_row(ctx, std::ssize(drawn), [&](int64_t i) {
    DrawnText& text = drawn[static_cast<size_t>(i)];
    try {
      draw(rows, text);
    } catch (...) {
      text.error = std::current_exception();
    }
  });
  for (ScoredChunk& chunk : scored) {
    chunk.scores.resize(static_cast<size_t>(chunk.count));
    const RunningRequest& r = *chunk.request;
    for_each_row(ctx, chunk.count, [&](int64_t i) {
      const RowScores scores(rows.row(chunk.row + i));
      ScoredToken& out = chunk.scores[static_cast<size_t>(i)];
      out.token = scores.score(r.sequence.tokens[static_cast<size_t>(chunk.place + i + 1)]);
      out.alternatives = scores.likeliest(r.wanted.num_alternatives);
    });
  }
}

void Generator::State::tell(GenerationListener& listener) {
  for (const ScoredChunk& chunk : scored)
    listener.on_prompt_scores(chunk.request->sequence.number, chunk.scores);
  int32_t* out = message.data();
  for (const DrawnText& text : drawn) {
    int64_t index = std::ssize(text.request->text()) - text.num_drafts;
    FinishReason finish = FinishReason::none;
    int32_t count = 0;
    if (text.error) {
      listener.on_failed(text.request->sequence.number, text.error);
      finish = FinishReason::stopped;
    }
    for (const DrawnText::Token& token : text.error ? std::span<const DrawnText::Token>() : text.tokens) {
      out[kMessageHead + count++] = token.sampled.token;
      finish = token.finish;
      const bool stops = listener.on_token(
          {text.request->sequence.number, index++, token.sampled, finish, token.alternatives});
      if (stops && finish == FinishReason::none) finish = FinishReason::stopped;
      if (finish != FinishReason::none) break;
    }
    out[0] = count;
    out[1] = static_cast<int32_t>(finish);
    out += kMessageHead + 1 + text.num_drafts;
  }
}

void Generator::State::append(std::span<const ScheduledChunk> batch) {
  auto text = drawn.begin();
  const int32_t* of_text = message.data();
  for (size_t i = 0; i < batch.size(); ++i) {
    const ScheduledChunk& chunk = batch[i];
    Sequence& s = *chunk.sequence;
    s.tokens.resize(s.tokens.size() - static_cast<size_t>(chunk.num_drafts));
    s.drafts.clear();
    s.scores_begin =
        std::clamp(s.computed + chunk.num_tokens, s.scores_begin, std::max(s.scores_begin, s.scores_end));
    if (chunk.is_prompt) report.prompt_tokens += chunk.num_tokens;
    if (chunk.is_prompt) ++report.prompts;
    ++report.sequences;
    if (text != drawn.end() && &text->request->sequence == &s) {
      if (!written.empty() && of_text[0] > 0) self->learn(i, of_text[0] - 1);
      add_drawn(chunk, *text, of_text);
      of_text += kMessageHead + 1 + chunk.num_drafts;
      ++text;
      continue;
    }
    scheduler.advance(s, chunk.num_tokens);
    RunningRequest& request = at(s.number);
    if (!request.draws() && !s.has_scores()) end(request, FinishReason::length);
  }
}

void Generator::State::add_drawn(const ScheduledChunk& chunk, const DrawnText& text, const int32_t* told) {
  RunningRequest& r = *text.request;
  const int64_t count = told[0];
  const auto finish = static_cast<FinishReason>(told[1]);
  if (count == 0) return end(r, finish);
  r.sequence.tokens.insert(r.sequence.tokens.end(), told + kMessageHead, told + kMessageHead + count);
  scheduler.advance(r.sequence, chunk.num_tokens + count - 1);
  counts.decoded_tokens += count;
  counts.drafted_tokens += chunk.num_drafts;
  counts.accepted_tokens += count - 1;
  report.decoded_tokens += count;
  drafts.add({r.sequence.number, chunk.num_drafts, count - 1});
  if (finish != FinishReason::none) end(r, finish);
}

}  // namespace trireme
