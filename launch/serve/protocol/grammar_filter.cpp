#include "launch/serve/protocol/grammar_filter.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace trireme::launch {

GrammarFilter::GrammarFilter(std::shared_ptr<const ByteGrammar> grammar,
                             std::shared_ptr<const TokenMasks> masks, std::span<const int32_t> end_tokens)
    : matcher_(std::move(grammar)),
      masks_(std::move(masks)),
      end_tokens_(end_tokens.begin(), end_tokens.end()) {
  TRIREME_CHECK(masks_ && !end_tokens_.empty());
  const auto is_known = [&](int32_t token) { return token >= 0 && token < masks_->num_tokens(); };
  TRIREME_CHECK(std::ranges::all_of(end_tokens_, is_known));
  allowed_.resize(static_cast<size_t>((masks_->num_tokens() + 63) / 64));
}

bool GrammarFilter::is_end(int32_t token) const {
  return std::ranges::find(end_tokens_, token) != end_tokens_.end();
}

std::span<const uint64_t> GrammarFilter::allowed() {
  if (is_filled_) return allowed_;
  masks_->fill(matcher_, allowed_);
  const auto word = [&](int32_t token) -> uint64_t& { return allowed_[static_cast<size_t>(token) / 64]; };
  for (const int32_t token : end_tokens_) word(token) &= ~(uint64_t{1} << (token % 64));
  const bool is_stuck = std::ranges::all_of(allowed_, [](uint64_t bits) { return bits == 0; });
  if (matcher_.is_complete() || is_stuck) {
    for (const int32_t token : end_tokens_) word(token) |= uint64_t{1} << (token % 64);
  }
  is_filled_ = true;
  return allowed_;
}

void GrammarFilter::accept(int32_t token) {
  is_filled_ = false;
  if (is_end(token)) return;  // nothing comes after it
  TRIREME_CHECK(!masks_->bytes(token).empty() && matcher_.accept(masks_->bytes(token)),
                "token {} was not allowed", token);
}

}  // namespace trireme::launch
