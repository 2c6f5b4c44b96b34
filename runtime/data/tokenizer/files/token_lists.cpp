#include "runtime/data/tokenizer/files/token_lists.h"

#include <utility>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/vocabulary_builder.h"
#include "runtime/io/json/json_file.h"

namespace trireme {
namespace {

using nlohmann::json;

/// Builds the value from the parser's events: as the library does (of names that stand twice the last
/// counts), but for the lists.
class ListsBuilder final : public nlohmann::json_sax<json> {
 public:
  ListsBuilder(TokenLists& lists, size_t size, const std::string& name)
      : lists_(lists), size_(size), name_(name) {}

  json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override {
    if (is_in(List::vocab) && value < static_cast<uint64_t>(VocabularyBuilder::kMostTokens)) {
      lists_.tokens.push_back(token_);
      lists_.ids.push_back(static_cast<int32_t>(value));
      return true;
    }
    return add(value);
  }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override {
    if (is_in(List::merges) && takes_merges(false)) {
      lists_.merges.push_back(value);
      return true;
    }
    return add(std::move(value));
  }
  bool binary(binary_t&) override { return false; }  // JSON text has none
  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override {
    const bool is_merge = open_.size() == kListDepth + 1 && list_ == List::merges;
    json& closed = *open_.back();
    close();
    if (!is_merge || !is_in(List::merges)) return true;
    const bool is_pair = closed.size() == 2 && closed[0].is_string() && closed[1].is_string();
    if (!is_pair || !takes_merges(true)) return leave_merges();
    for (const json& text : closed) lists_.merges.push_back(text.get_ref<const std::string&>());
    open_.back()->get_ref<json::array_t&>().pop_back();
    return true;
  }

  bool key(string_t& name) override {
    if (is_in(List::vocab)) {
      token_ = std::move(name);
      return true;
    }
    if (open_.size() == 1) {
      is_in_model_ = name == "model";
      list_ = List::none;
      if (is_in_model_) forget(List::vocab), forget(List::merges);  // of a model that stood before
    } else if (open_.size() == 2 && is_in_model_) {
      list_ = name == "vocab" ? List::vocab : name == "merges" ? List::merges : List::none;
      forget(list_);
    }
    member_ = &(*open_.back())[std::move(name)];
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    refuse_json(error, size_, name_);
  }

 private:
  enum class List { none, vocab, merges };
  static constexpr size_t kListDepth = 3;  ///< values that are open: the file's, the model's, the list

  /// Whether an entry of the list comes next.
  bool is_in(List list) const {
    return open_.size() == kListDepth && list_ == list &&
           (list == List::vocab ? open_.back()->is_object() : open_.back()->is_array());
  }
  /// All have the form of the first; from the first on that has not, the list is plain JSON.
  bool takes_merges(bool are_pairs) {
    if (lists_.merges.empty() && !leaves_merges_) lists_.are_pairs = are_pairs;
    return !leaves_merges_ && lists_.are_pairs == are_pairs;
  }
  bool leave_merges() { return leaves_merges_ = true; }
  void forget(List list) {
    if (list == List::vocab) {
      lists_.tokens.clear();
      lists_.ids.clear();
    } else if (list == List::merges) {
      lists_.merges.clear();
      leaves_merges_ = false;
    }
  }

  json* place(json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (is_in(List::vocab)) member_ = &(*open_.back())[token_];
    if (is_in(List::merges) && !value.is_array()) leave_merges();
    if (open_.back()->is_object()) return &(*member_ = std::move(value));
    auto& list = open_.back()->get_ref<json::array_t&>();
    list.push_back(std::move(value));
    return &list.back();
  }
  bool add(json value) {
    place(std::move(value));
    return true;
  }
  // Open values stay where they are: only the innermost grows.
  bool open(json value) {
    json* const opened = place(std::move(value));
    open_.push_back(opened);
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  TokenLists& lists_;
  const size_t size_;
  const std::string& name_;
  json root_;
  std::vector<json*> open_;
  json* member_ = nullptr;
  std::string token_;  ///< the name of the next value, in the vocabulary
  List list_ = List::none;
  bool is_in_model_ = false, leaves_merges_ = false;
};

}  // namespace

json parse_tokenizer_json(std::string_view text, const std::string& name, TokenLists& lists) {
  refuse_zero_bytes(text, name);
  lists = {};
  ListsBuilder builder(lists, text.size(), name);
  json::sax_parse(text, &builder);
  return builder.take();
}

void put_back(const TokenLists& lists, json& root) {
  if (lists.tokens.empty() && lists.merges.empty()) return;
  json& model = root["model"];
  for (size_t i = 0; i < lists.tokens.size(); ++i)
    model["vocab"][std::string(lists.tokens[i])] = static_cast<uint32_t>(lists.ids[i]);
  if (lists.merges.empty()) return;
  json::array_t merges;
  for (size_t i = 0; i < lists.num_merges(); ++i) {
    if (lists.are_pairs) {
      merges.push_back(json::array({lists.merges[2 * i], lists.merges[2 * i + 1]}));
    } else {
      merges.emplace_back(lists.merges[i]);
    }
  }
  auto& rest = model["merges"].get_ref<json::array_t&>();
  merges.insert(merges.end(), std::move_iterator(rest.begin()), std::move_iterator(rest.end()));
  rest = std::move(merges);
}

void for_each_merge(
    const TokenLists& lists, const json& rest, const std::string& file,
    const std::function<void(std::string_view, std::string_view, const std::string&)>& merge) {
  const auto cut = [&](std::string_view text, const std::string& where) {
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos)
      throw_bad_input("{}: {} is \"{}\"; two tokens with a space between are needed", file, where, text);
    merge(text.substr(0, space), text.substr(space + 1), where);
  };
  const auto where = [](size_t i) { return fmt::format("merge {}", i); };
  const size_t first = lists.num_merges();
  for (size_t i = 0; i < first; ++i) {
    if (lists.are_pairs) {
      merge(lists.merges[2 * i], lists.merges[2 * i + 1], where(i));
    } else {
      cut(lists.merges[i], where(i));
    }
  }
  if (!rest.is_array()) throw_bad_input("{}: \"merges\" must be a list, found {}", file, rest.type_name());
  for (size_t i = 0; i < rest.size(); ++i) {
    const json& entry = rest[i];
    const std::string at = where(first + i);
    if (entry.is_array() && entry.size() == 2) {
      merge(json_string(entry[0], at, file), json_string(entry[1], at, file), at);
    } else {
      cut(json_string(entry, at, file), at);
    }
  }
}

}  // namespace trireme
