#include "runtime/data/tokenizer/steps/normalizer.h"

#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

// Keeps, replaces or drops each character: change(out, c). What drops the first one moves the beginning.
template <class Change>
void change_characters(TextPiece& piece, const Change& change) {
  std::string out;
  out.reserve(piece.text.size());
  bool drops_first = false;
  for (size_t i = 0; i < piece.text.size();) {
    const bool is_begin = i == 0;
    change(out, next_code_point(piece.text, i));
    if (is_begin) drops_first = out.empty();
  }
  if (drops_first) piece.is_first = false;
  piece.text = std::move(out);
}

bool is_chinese(char32_t c) {
  constexpr char32_t kRanges[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF},
                                     {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF},
                                     {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  for (const auto& [first, last] : kRanges) {
    if (c >= first && c <= last) return true;
  }
  return false;
}

void clean(TextPiece& piece) {
  change_characters(piece, [](std::string& out, char32_t c) {
    const bool is_blank = c == '\t' || c == '\n' || c == '\r';
    if (c == 0 || c == 0xFFFD || (!is_blank && unicode::is_other(c))) return;
    is_blank || unicode::is_space(c) ? out.push_back(' ') : append_utf8(out, c);
  });
}

void part_chinese(TextPiece& piece) {
  change_characters(piece, [](std::string& out, char32_t c) {
    const bool parts = is_chinese(c);
    if (parts) out += ' ';
    append_utf8(out, c);
    if (parts) out += ' ';
  });
}

void lower(TextPiece& piece) {
  change_characters(piece, [](std::string& out, char32_t c) { unicode::append_lower(out, c); });
}

}  // namespace

Normalizer make_normal_form(unicode::Form form) {
  return [form](TextPiece& piece) { piece.text = unicode::normalize(piece.text, form); };
}

Normalizer make_lowercase() { return lower; }

Normalizer make_strip_accents() {
  return [](TextPiece& piece) {
    change_characters(piece, [](std::string& out, char32_t c) {
      if (!unicode::is_mark(c)) append_utf8(out, c);
    });
  };
}

Normalizer make_strip(bool left, bool right) {
  return [left, right](TextPiece& piece) {
    size_t begin = piece.text.size(), end = 0;
    for (size_t i = 0; i < piece.text.size();) {
      const size_t at = i;
      if (unicode::is_space(next_code_point(piece.text, i))) continue;
      begin = std::min(begin, at);
      end = i;
    }
    if (!left) begin = 0;
    if (!right) end = piece.text.size();
    if (begin > 0) piece.is_first = false;
    piece.text = begin < end ? piece.text.substr(begin, end - begin) : "";
  };
}

Normalizer make_prepend(std::string prefix) {
  return [prefix = std::move(prefix)](TextPiece& piece) {
    if (!piece.text.empty()) piece.text.insert(0, prefix);
  };
}

std::string replace_all(std::string_view text, std::string_view wanted, std::string_view content) {
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(wanted); at != std::string_view::npos; at = text.find(wanted, done)) {
    out.append(text.substr(done, at - done)).append(content);
    done = at + wanted.size();
  }
  return out.append(text.substr(done));
}

std::string replace_matches(std::string_view text, const Pattern& wanted, std::string_view content) {
  std::string out;
  size_t done = 0;
  wanted.for_each_match(text, [&](size_t begin, size_t end) {
    out.append(text.substr(done, begin - done)).append(content);
    done = end;
  });
  return out.append(text.substr(done));
}

Normalizer make_replace(std::string wanted, std::string content) {
  return [wanted = std::move(wanted), content = std::move(content)](TextPiece& piece) {
    if (content.empty() && piece.text.starts_with(wanted)) piece.is_first = false;
    piece.text = replace_all(piece.text, wanted, content);
  };
}

Normalizer make_replace(Pattern wanted, std::string content) {
  auto shared = std::make_shared<const Pattern>(std::move(wanted));  // copies of a std::function share it
  return [shared, content = std::move(content)](TextPiece& piece) {
    if (piece.text.empty()) return;
    if (content.empty() && piece.is_first) {
      shared->for_each_match(piece.text, [&](size_t begin, size_t end) {
        if (begin == 0 && end > 0) piece.is_first = false;
      });
    }
    piece.text = replace_matches(piece.text, *shared, content);
  };
}

Normalizer make_bert_normalizer(const BertNormalizerOptions& options) {
  return [options](TextPiece& piece) {
    if (options.clean_text) clean(piece);
    if (options.handle_chinese_chars) part_chinese(piece);
    if (options.strip_accents) {
      piece.text = unicode::normalize(piece.text, unicode::Form::nfd);
      change_characters(piece, [](std::string& out, char32_t c) {
        if (!unicode::is_nonspacing_mark(c)) append_utf8(out, c);
      });
    }
    if (options.lowercase) lower(piece);
  };
}

Normalizer make_nmt() {
  return [](TextPiece& piece) {
    change_characters(piece, [](std::string& out, char32_t c) {
      const bool is_dropped =
          (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
      if (is_dropped) return;
      const bool is_space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                            (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                            c == 0xFEFF || c == 0xFFFD;
      is_space ? out.push_back(' ') : append_utf8(out, c);
    });
  };
}

Normalizer make_precompiled(Charsmap map) {
  auto shared = std::make_shared<const Charsmap>(std::move(map));
  return [shared](TextPiece& piece) {
    constexpr size_t kLongestCluster = 5;
    const std::string_view text = piece.text;
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const size_t end = unicode::next_grapheme(text, at);
      const auto cluster = text.substr(at, end - at);
      const auto whole = cluster.size() <= kLongestCluster ? shared->shortest(cluster) : std::nullopt;
      if (whole) out += *whole;
      for (size_t i = at; !whole && i < end;) {
        const size_t begin = i;
        next_code_point(text, i);
        const auto one = text.substr(begin, i - begin);
        out += shared->shortest(one).value_or(one);
      }
      if (at == 0 && out.empty()) piece.is_first = false;
      at = end;
    }
    piece.text = std::move(out);
  };
}

Normalizer make_sequence(std::vector<Normalizer> steps) {
  if (steps.empty()) return nullptr;
  if (steps.size() == 1) return std::move(steps[0]);
  return [steps = std::move(steps)](TextPiece& piece) {
    for (const auto& step : steps) step(piece);
  };
}

}  // namespace trireme
