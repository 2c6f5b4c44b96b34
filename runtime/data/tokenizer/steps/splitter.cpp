#include "runtime/data/tokenizer/steps/splitter.h"

#include <memory>
#include <optional>

#include "runtime/data/tokenizer/pattern/pretokenizer.h"
#include "runtime/data/tokenizer/unicode/unicode.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

// Matches and the stretches between them arrive from left to right; pieces leave by the behavior. Where
// several make one piece it is kept back until the next begins.
class Cutter {
 public:
  Cutter(WordView word, SplitBehavior behavior, bool invert, const WordSink& sink)
      : word_(word), behavior_(behavior), invert_(invert), sink_(sink) {}

  void match(size_t begin, size_t end) {
    if (begin > done_) event(done_, begin, invert_);
    event(begin, end, !invert_);
    done_ = end;
  }
  void finish() {
    if (done_ < word_.text.size()) event(done_, word_.text.size(), invert_);
    flush();
  }

 private:
  void event(size_t begin, size_t end, bool is_match) {
    switch (behavior_) {
      case SplitBehavior::isolated:
        return send(begin, end);
      case SplitBehavior::removed:
        if (!is_match) send(begin, end);
        return;
      case SplitBehavior::contiguous:
        add(begin, end, is_match == was_match_);
        break;
      case SplitBehavior::merged_with_previous:
        add(begin, end, is_match && !was_match_);
        break;
      case SplitBehavior::merged_with_next:
        // Seen from the right: a match goes to what follows it, unless that is a match.
        add(begin, end, was_match_ && !is_match);
        break;
    }
    was_match_ = is_match;
  }
  void add(size_t begin, size_t end, bool joins) {
    if (joins && kept_) {
      kept_->second = end;
      return;
    }
    flush();
    kept_ = {begin, end};
  }
  void flush() {
    if (kept_) send(kept_->first, kept_->second);
    kept_.reset();
  }
  void send(size_t begin, size_t end) {
    if (end > begin) sink_({word_.text.substr(begin, end - begin), word_.is_first && begin == 0});
  }

  WordView word_;
  SplitBehavior behavior_;
  bool invert_;
  const WordSink& sink_;
  size_t done_ = 0;
  bool was_match_ = false;
  std::optional<std::pair<size_t, size_t>> kept_;
};

// Every character of a kind is a match.
template <class IsMatch>
Splitter split_at(IsMatch is_match, SplitBehavior behavior) {
  return [is_match, behavior](WordView word, const WordSink& sink) {
    Cutter cutter(word, behavior, false, sink);
    for (size_t i = 0; i < word.text.size();) {
      const size_t begin = i;
      if (is_match(next_code_point(word.text, i))) cutter.match(begin, i);
    }
    cutter.finish();
  };
}

}  // namespace

Splitter make_split(Pattern pattern, SplitBehavior behavior, bool invert) {
  auto shared = std::make_shared<const Pattern>(std::move(pattern));
  return [shared, behavior, invert](WordView word, const WordSink& sink) {
    Cutter cutter(word, behavior, invert, sink);
    shared->for_each_match(word.text, [&](size_t begin, size_t end) { cutter.match(begin, end); });
    cutter.finish();
  };
}

Splitter make_digits(bool individually) {
  return split_at(unicode::is_number, individually ? SplitBehavior::isolated : SplitBehavior::contiguous);
}
Splitter make_punctuation(SplitBehavior behavior) { return split_at(unicode::is_punctuation, behavior); }
Splitter make_whitespace_split() { return split_at(unicode::is_space, SplitBehavior::removed); }
Splitter make_char_delimiter_split(char32_t delimiter) {
  return split_at([delimiter](char32_t c) { return c == delimiter; }, SplitBehavior::removed);
}

Splitter make_whitespace() {
  return [](WordView word, const WordSink& sink) {
    enum class Kind { blank, letters, others };
    const auto kind_of = [](char32_t c) {
      if (unicode::is_word(c)) return Kind::letters;
      return unicode::is_space(c) ? Kind::blank : Kind::others;
    };
    size_t begin = 0;
    Kind kind = Kind::blank;
    const auto send = [&](size_t end) {
      if (kind != Kind::blank && end > begin)
        sink({word.text.substr(begin, end - begin), word.is_first && begin == 0});
      begin = end;
    };
    for (size_t i = 0; i < word.text.size();) {
      const size_t at = i;
      const Kind now = kind_of(next_code_point(word.text, i));
      if (now != kind) send(at);
      kind = now;
    }
    send(word.text.size());
  };
}

Splitter make_bert_splitter() {
  return make_sequence({make_whitespace_split(), make_punctuation(SplitBehavior::isolated)});
}

Splitter make_byte_level(bool add_prefix_space, bool use_regex) {
  const Splitter words =
      use_regex ? make_split(Pattern(std::string(kGpt2Pattern)), SplitBehavior::isolated, false) : nullptr;
  return [add_prefix_space, words](WordView word, const WordSink& sink) {
    std::string prefixed;
    if (add_prefix_space && !word.text.starts_with(' ')) {
      prefixed.append(" ").append(word.text);
      word.text = prefixed;
    }
    words ? words(word, sink) : sink(word);
  };
}

Splitter make_metaspace(const MetaspaceOptions& options) {
  return [options](WordView word, const WordSink& sink) {
    std::string text;
    text.reserve(word.text.size() + 16);
    for (const char c : word.text) c == ' ' ? text.append(options.replacement) : text.append(1, c);
    const bool may_prepend = options.prepend == PrependScheme::always ||
                             (options.prepend == PrependScheme::first && word.is_first);
    if (may_prepend && !text.starts_with(options.replacement)) text.insert(0, options.replacement);
    if (!options.split) return sink({text, word.is_first});
    const std::string_view whole = text;
    Cutter cutter({whole, word.is_first}, SplitBehavior::merged_with_next, false, sink);
    const size_t size = options.replacement.size();
    for (size_t at = whole.find(options.replacement); at != std::string_view::npos;
         at = whole.find(options.replacement, at + size)) {
      cutter.match(at, at + size);
    }
    cutter.finish();
  };
}

bool has_mark_inside(std::string_view token) {
  for (size_t at = token.find(kSpaceMark, 1); at != std::string_view::npos;
       at = token.find(kSpaceMark, at + 1)) {
    if (!token.substr(0, at).ends_with(kSpaceMark)) return true;
  }
  return false;
}

Splitter make_marked_words() {
  return [](WordView word, const WordSink& sink) {
    size_t begin = 0;
    for (size_t at = word.text.find(kSpaceMark, 1); at != std::string_view::npos;
         at = word.text.find(kSpaceMark, at + kSpaceMark.size())) {
      if (word.text.substr(0, at).ends_with(kSpaceMark)) continue;
      sink({word.text.substr(begin, at - begin), word.is_first && begin == 0});
      begin = at;
    }
    sink({word.text.substr(begin), word.is_first && begin == 0});
  };
}

Splitter make_sequence(std::vector<Splitter> steps) {
  if (steps.empty()) return nullptr;
  Splitter all = std::move(steps.back());
  for (size_t i = steps.size() - 1; i-- > 0;) {
    all = [first = std::move(steps[i]), rest = std::move(all)](WordView word, const WordSink& sink) {
      first(word, [&](WordView piece) { rest(piece, sink); });
    };
  }
  return all;
}

}  // namespace trireme
