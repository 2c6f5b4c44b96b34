// A regular expression of a published tokenizer, and where it matches.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace trireme {

/// In Oniguruma's syntax and meaning. PCRE2, whose compiled patterns are several times as fast, runs what
/// can be translated for it (oniguruma_pattern.h); Oniguruma itself runs the rest. Safe from several threads.
class Pattern {
 public:
  /// UserError(bad_input) with Oniguruma's words when it is no pattern.
  explicit Pattern(const std::string& source);
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern(const Pattern&) = delete;

  /// Calls match(begin, end) for each match of valid UTF-8 from left to right. An empty match right after
  /// another is none. UserError(bad_input) when an engine gives up (its limits on backtracking).
  void for_each_match(std::string_view text, const std::function<void(size_t, size_t)>& match) const;
  bool is_compiled() const;  ///< by PCRE2

 private:
  class Engine;
  class Pcre2Engine;
  class OnigurumaEngine;
  std::unique_ptr<const Engine> engine_;
};

}  // namespace trireme
