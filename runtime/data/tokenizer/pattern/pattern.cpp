#include "runtime/data/tokenizer/pattern/pattern.h"

#include <algorithm>
#include <mutex>
#include <vector>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/pattern/oniguruma_library.h"
#include "runtime/data/tokenizer/pattern/oniguruma_pattern.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
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

void free_region(OnigRegion* region) { OnigurumaLibrary::get().region_free(region, 1); }
void free_regex(OnigRegex regex) { OnigurumaLibrary::get().free(regex); }

std::string pcre2_words(int error) {
  char words[256];
  pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(words), sizeof words);
  return words;
}

std::string oniguruma_words(int error, OnigErrorInfo* info) {
  OnigUChar words[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int size = OnigurumaLibrary::get().error_code_to_str(words, error, info);
  return {reinterpret_cast<const char*>(words), static_cast<size_t>(std::max(size, 0))};
}

struct Range {
  size_t begin, end;
};

}  // namespace

class Pattern::Engine {
 public:
  virtual ~Engine() = default;
  /// Finds matches of one text after another; belongs to one thread.
  class Search {
   public:
    virtual ~Search() = default;
    /// The first match that begins at `from` or later.
    virtual bool find(std::string_view text, size_t from, Range& found) = 0;
  };
  virtual std::unique_ptr<Search> search() const = 0;
  virtual bool is_compiled() const = 0;

  /// Pieces are short and many: what a search needs is kept for the next one.
  std::unique_ptr<Search> borrow() const {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return search();
    auto idle = std::move(idle_.back());
    idle_.pop_back();
    return idle;
  }
  void give_back(std::unique_ptr<Search> one) const {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(one));
  }

 private:
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Search>> idle_;
};

class Pattern::Pcre2Engine final : public Pattern::Engine {
 public:
  // Throws UserError where PCRE2 cannot.
  explicit Pcre2Engine(const std::string& source) {
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

  std::unique_ptr<Search> search() const override { return std::make_unique<Pcre2Search>(*this); }
  bool is_compiled() const override { return true; }

 private:
  class Pcre2Search final : public Search {
   public:
    explicit Pcre2Search(const Pcre2Engine& engine)
        : code_(engine.code_.get()),
          match_(pcre2_match_data_create_from_pattern(code_, nullptr)),
          context_(pcre2_match_context_create(nullptr)),
          stack_(pcre2_jit_stack_create(size_t{32} << 10, size_t{16} << 20, nullptr)) {
      if (!match_ || !context_ || !stack_) throw std::bad_alloc();
      pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
    }
    bool find(std::string_view text, size_t from, Range& found) override {
      const int count = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                    PCRE2_NO_UTF_CHECK, match_.get(), context_.get());
      if (count == PCRE2_ERROR_NOMATCH) return false;
      if (count < 0) {
        throw_bad_input("the pre-tokenization pattern fails at byte {} of a text: {}", from,
                        pcre2_words(count));
      }
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match_.get());
      found = {range[0], range[1]};
      return true;
    }

   private:
    const pcre2_code* code_;
    MatchData match_;
    MatchContext context_;
    JitStack stack_;
  };

  std::unique_ptr<pcre2_code, FreeWith<pcre2_code_free>> code_;
};

class Pattern::OnigurumaEngine final : public Pattern::Engine {
 public:
  explicit OnigurumaEngine(const std::string& source) {
    const OnigurumaLibrary& onig = OnigurumaLibrary::get();
    const auto* begin = reinterpret_cast<const OnigUChar*>(source.data());
    OnigErrorInfo info;
    OnigRegex regex = nullptr;
    const int error =
        onig.make(&regex, begin, begin + source.size(), ONIG_OPTION_NONE, onig.utf8, onig.syntax, &info);
    if (error != ONIG_NORMAL) {
      throw_bad_input("the pre-tokenization pattern '{}' is no regular expression of Oniguruma's: {}", source,
                      oniguruma_words(error, &info));
    }
    regex_.reset(regex);
  }

  std::unique_ptr<Search> search() const override { return std::make_unique<OnigurumaSearch>(*this); }
  bool is_compiled() const override { return false; }

 private:
  class OnigurumaSearch final : public Search {
   public:
    explicit OnigurumaSearch(const OnigurumaEngine& engine)
        : regex_(engine.regex_.get()), region_(onig_.region_new()) {
      if (!region_) throw std::bad_alloc();
    }
    bool find(std::string_view text, size_t from, Range& found) override {
      const auto* begin = reinterpret_cast<const OnigUChar*>(text.data());
      const auto* end = begin + text.size();
      const int place = onig_.search(regex_, begin, end, begin + from, end, region_.get(), ONIG_OPTION_NONE);
      if (place == ONIG_MISMATCH) return false;
      if (place < 0) {
        throw_bad_input("the pre-tokenization pattern fails at byte {} of a text: {}", from,
                        oniguruma_words(place, nullptr));
      }
      found = {static_cast<size_t>(region_->beg[0]), static_cast<size_t>(region_->end[0])};
      return true;
    }

   private:
    const OnigurumaLibrary& onig_ = OnigurumaLibrary::get();
    OnigRegex regex_;
    std::unique_ptr<OnigRegion, FreeWith<free_region>> region_;
  };

  std::unique_ptr<re_pattern_buffer, FreeWith<free_regex>> regex_;
};

Pattern::Pattern(const std::string& source) {
  try {
    engine_ = std::make_unique<Pcre2Engine>(source);
  } catch (const UserError&) {  // Oniguruma's own words are the better ones where it cannot either
    engine_ = std::make_unique<OnigurumaEngine>(source);
  }
}
Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;

bool Pattern::is_compiled() const { return engine_->is_compiled(); }

void Pattern::for_each_match(std::string_view text, const std::function<void(size_t, size_t)>& match) const {
  auto search = engine_->borrow();
  size_t from = 0, done = 0;
  bool has_matched = false;
  Range found{};
  while (from <= text.size() && search->find(text, from, found)) {
    if (found.begin < from || found.end < found.begin)
      throw_bad_input("the pre-tokenization pattern matches {} to {} after {}", found.begin, found.end, from);
    if (found.end == found.begin && has_matched && found.end == done) {
      for (++from; from < text.size() && is_utf8_continuation(text[from]);) ++from;
      continue;
    }
    match(found.begin, found.end);
    from = done = found.end;
    has_matched = true;
  }
  engine_->give_back(std::move(search));
}

}  // namespace trireme
