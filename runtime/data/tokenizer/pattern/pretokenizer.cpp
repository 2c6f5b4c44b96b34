#include "runtime/data/tokenizer/pattern/pretokenizer.h"

#include <algorithm>

namespace trireme {

const std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

Pretokenizer::Pretokenizer(std::vector<std::string> patterns, const std::set<size_t>& drop_gaps)
    : patterns_(std::move(patterns)), drop_gaps_(drop_gaps) {
  for (const auto& pattern : patterns_) compiled_.emplace_back(pattern);
}
Pretokenizer::~Pretokenizer() = default;
Pretokenizer::Pretokenizer(Pretokenizer&&) noexcept = default;

void Pretokenizer::split(std::string_view text, const std::function<void(std::string_view)>& word) const {
  if (!text.empty()) split_from(0, text, word);
}

void Pretokenizer::split_from(size_t level, std::string_view text,
                              const std::function<void(std::string_view)>& word) const {
  if (level == compiled_.size()) return word(text);
  const auto down = [&](size_t begin, size_t end) {
    if (end == begin) return;
    const std::string_view piece = text.substr(begin, end - begin);
    level + 1 == compiled_.size() ? word(piece) : split_from(level + 1, piece, word);
  };
  const bool drops_gaps = drop_gaps_.contains(level);
  size_t done = 0;
  compiled_[level].for_each_match(text, [&](size_t begin, size_t end) {
    if (!drops_gaps) down(done, begin);
    down(begin, end);
    done = end;
  });
  if (!drops_gaps) down(done, text.size());
}

size_t Pretokenizer::find_cut(std::string_view text, size_t limit) const {
  if (limit >= text.size()) return text.size();
  const bool known =
      patterns_.size() == 1 && (patterns_[0] == kGpt2Pattern || patterns_[0] == kLlama3Pattern);
  if (!known) return text.size();
  // After a lone line break between two visible ASCII characters both patterns always begin a new word, and
  // neither looks across it.
  const auto visible = [&](size_t i) { return text[i] > ' ' && text[i] < 0x7f; };
  const auto good = [&](size_t i) { return i >= 2 && text[i - 1] == '\n' && visible(i - 2) && visible(i); };
  for (size_t i = limit; i >= 2; --i) {
    if (good(i)) return i;
  }
  for (size_t i = limit + 1; i < text.size(); ++i) {
    if (good(i)) return i;
  }
  return text.size();
}

}  // namespace trireme
