// One id a character (Unicode code point): the smallest vocabulary that spells its training text.
#pragma once

#include <memory>
#include <set>
#include <unordered_map>

#include <nlohmann/json_fwd.hpp>

#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme {

class CharTokenizer final : public Tokenizer {
 public:
  /// `alphabet`: distinct code points; the id of each is its place.
  explicit CharTokenizer(std::vector<char32_t> alphabet);
  /// Reads what to_json() wrote. UserError(bad_input) naming `name` when it is something else.
  static std::unique_ptr<Tokenizer> from_json(const nlohmann::json& json, const std::string& name);

  using Tokenizer::encode;
  std::string_view kind() const override { return "char"; }
  int64_t vocab_size() const override { return static_cast<int64_t>(alphabet_.size()); }
  std::vector<int32_t> encode(std::string_view text, const TextOrigin& origin) const override;
  std::optional<int32_t> end_of_text() const override { return std::nullopt; }
  size_t find_cut(std::string_view text, size_t limit) const override;
  std::string to_json() const override;

 private:
  void append_token(std::string& out, int32_t id) const override;

  std::vector<char32_t> alphabet_;
  std::unordered_map<char32_t, int32_t> ids_;
};

/// Collects the characters of a text given piece by piece; ids follow the order of the code points.
class CharTrainer {
 public:
  /// UserError(bad_input) when `text` is not UTF-8.
  void add(std::string_view text, const TextOrigin& origin);
  std::unique_ptr<Tokenizer> train() const;

 private:
  std::set<char32_t> seen_;
};

/// UserError(bad_input) when `text` is empty or not UTF-8.
std::unique_ptr<Tokenizer> train_char(std::string_view text);

}  // namespace trireme
