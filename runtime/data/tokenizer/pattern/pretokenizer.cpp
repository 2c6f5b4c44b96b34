#include "runtime/data/tokenizer/pattern/pretokenizer.h"

#include <algorithm>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/pattern/oniguruma_pattern.h"
#include "runtime/io/json/utf8.h"

namespace trireme {

const std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

template <auto Free>
struct FreeWith {
  template <class T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using MatchData = std::unique_ptr<pcre2_match_data, FreeWith<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, FreeWith<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, FreeWith<pcre2_jit_stack_free>>;

std::string pcre2_words(int error) {
  char words[256];
  pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(words), sizeof words);
  return words;
}

}  // namespace

class Pretokenizer::Pattern {
 public:
  Pattern(const std::string& source, bool drops_gaps) : drops_gaps_(drops_gaps) {
    const std::string pattern = oniguruma_to_pcre2(source);
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                              PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
    if (!code_) {
      throw_bad_input("the pre-tokenization pattern '{}', for PCRE2 '{}', is wrong at offset {} of that: {}",
                      source, pattern, offset, pcre2_words(error));
    }
    // Where the system forbids generated code, pcre2_match interprets the pattern instead.
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
  }

  void split(std::string_view text, const std::function<void(std::string_view)>& word) const {
    // These belong to one thread; making them is cheap beside a text.
    const MatchData match(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
    const MatchContext context(pcre2_match_context_create(nullptr));
    const JitStack stack(pcre2_jit_stack_create(size_t{32} << 10, size_t{16} << 20, nullptr));
    if (!match || !context || !stack) throw std::bad_alloc();
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match.get());
    size_t done = 0, from = 0;
    bool has_matched = false;
    while (from <= text.size()) {
      const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                    PCRE2_NO_UTF_CHECK, match.get(), context.get());
      if (found == PCRE2_ERROR_NOMATCH) break;
      if (found < 0) {
        throw_bad_input("the pre-tokenization pattern fails at byte {} of a text: {}", from,
                        pcre2_words(found));
      }
      const size_t begin = range[0], end = range[1];
      TRIREME_CHECK(begin >= from && end >= begin, "match {} to {} after {}", begin, end, from);
      if (end == begin && has_matched && end == done) {  // an empty match right after a match is none
        from = next_character(text, from);
        continue;
      }
      if (begin > done) gap(text.substr(done, begin - done), word);
      if (end > begin) word(text.substr(begin, end - begin));
      from = done = end;
      has_matched = true;
    }
    if (done < text.size()) gap(text.substr(done), word);
  }

 private:
  static size_t next_character(std::string_view text, size_t at) {
    for (++at; at < text.size() && is_utf8_continuation(text[at]);) ++at;
    return at;
  }
  void gap(std::string_view piece, const std::function<void(std::string_view)>& word) const {
    if (!drops_gaps_) word(piece);
  }

  bool drops_gaps_;
  std::unique_ptr<pcre2_code, FreeWith<pcre2_code_free>> code_;
};

Pretokenizer::Pretokenizer(std::vector<std::string> patterns, const std::set<size_t>& drop_gaps)
    : patterns_(std::move(patterns)) {
  for (size_t i = 0; i < patterns_.size(); ++i) compiled_.emplace_back(patterns_[i], drop_gaps.contains(i));
}
Pretokenizer::~Pretokenizer() = default;
Pretokenizer::Pretokenizer(Pretokenizer&&) noexcept = default;

void Pretokenizer::split(std::string_view text, const std::function<void(std::string_view)>& word) const {
  if (!text.empty()) split_from(0, text, word);
}

void Pretokenizer::split_from(size_t level, std::string_view text,
                              const std::function<void(std::string_view)>& word) const {
  if (level == compiled_.size()) return word(text);
  if (level + 1 == compiled_.size()) return compiled_[level].split(text, word);
  compiled_[level].split(text, [&](std::string_view piece) { split_from(level + 1, piece, word); });
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
