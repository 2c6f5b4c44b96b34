#include "launch/serve/protocol/token_texts.h"

#include <algorithm>
#include <array>
#include <optional>

#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

// Tokens that others are put behind.
constexpr size_t kNumAnchors = 3;

[[noreturn]] void refuse(const Tokenizer& tokenizer, int32_t id, const std::string& one,
                         const std::string& other) {
  throw_bad_input(
      "structured output is not possible with this {} tokenizer: what a token adds to a text depends on the "
      "tokens "
      "beside it (token {} adds \"{}\" behind one and \"{}\" behind another)",
      tokenizer.kind(), id, one, other);
}

class ContextTexts {
 public:
  explicit ContextTexts(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
    for (int32_t id = 0; id < tokenizer.vocab_size() && anchors_.size() < kNumAnchors; ++id) {
      if (tokenizer.is_special(id) || tokenizer.raw_byte(id)) continue;
      // Letters alone: no step of a decoder means them.
      const std::string text = tokenizer.decode(std::array{id});
      const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
      if (!text.empty() && std::ranges::all_of(text, is_letter)) anchors_.push_back({id, text});
    }
    if (anchors_.empty()) {
      throw_bad_input(
          "structured output is not possible with this {} tokenizer: none of its tokens is a word of letters",
          tokenizer.kind());
    }
  }

  std::string text_of(int32_t id) const {
    if (const auto byte = tokenizer_.raw_byte(id)) return std::string(1, static_cast<char>(*byte));
    std::optional<std::string> text;
    for (const auto& [anchor, before] : anchors_) {
      const std::string both = tokenizer_.decode(std::array{anchor, id});
      if (!both.starts_with(before)) refuse(tokenizer_, id, text.value_or(""), both);
      std::string added = both.substr(before.size());
      if (text && added != *text) refuse(tokenizer_, id, *text, added);
      text = std::move(added);
    }
    // Some write a word's end only once another token comes.
    const auto& [anchor, before] = anchors_.front();
    const std::string twice = tokenizer_.decode(std::array{anchor, anchor});
    const std::string followed = tokenizer_.decode(std::array{anchor, id, anchor});
    const std::string expected = before + *text + twice.substr(std::min(twice.size(), before.size()));
    if (followed != expected) refuse(tokenizer_, id, expected, followed);
    return *text;
  }

 private:
  struct Anchor {
    int32_t id;
    std::string text;
  };
  const Tokenizer& tokenizer_;
  std::vector<Anchor> anchors_;
};

}  // namespace

std::vector<std::string> token_texts(const Tokenizer& tokenizer, int64_t vocab_size) {
  std::vector<std::string> texts(static_cast<size_t>(vocab_size));
  const auto known = static_cast<int32_t>(std::min(vocab_size, tokenizer.vocab_size()));
  std::optional<ContextTexts> in_context;
  if (!tokenizer.joins_bytes()) in_context.emplace(tokenizer);
  for (int32_t id = 0; id < known; ++id) {
    if (tokenizer.is_special(id)) continue;
    texts[static_cast<size_t>(id)] = in_context ? in_context->text_of(id) : tokenizer.decode(std::array{id});
  }
  return texts;
}

}  // namespace trireme::launch
