#include "runtime/data/tokenizer/files/rank_files.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include <fmt/ranges.h>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/byte_alphabet.h"
#include "runtime/data/tokenizer/files/base64.h"
#include "runtime/data/tokenizer/files/encodings.h"
#include "runtime/data/tokenizer/files/json_steps.h"
#include "runtime/data/tokenizer/files/vocabulary_builder.h"
#include "runtime/data/tokenizer/models/bpe_words.h"
#include "runtime/data/tokenizer/pipeline_tokenizer.h"
#include "runtime/io/json/json_file.h"

namespace trireme {
namespace {

using nlohmann::json;

struct Ranks {
  Vocabulary ids;   ///< by bytes
  int32_t end = 0;  ///< one more than the largest id
};

void add_rank(Ranks& ranks, const std::string& bytes, int64_t id, const std::string& where) {
  if (bytes.empty()) throw_bad_input("{} is an empty token", where);
  if (id < 0 || id >= VocabularyBuilder::kMostTokens) throw_bad_input("{} has the rank {}", where, id);
  if (!ranks.ids.emplace(bytes, static_cast<int32_t>(id)).second)
    throw_bad_input("{} is a token that stands before already", where);
  ranks.end = std::max(ranks.end, static_cast<int32_t>(id) + 1);
}

Ranks read_ranks(std::string_view bytes, const std::string& file) {
  Ranks ranks;
  size_t line_number = 0;
  for (size_t begin = 0; begin < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    const std::string_view line = bytes.substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.empty()) continue;
    const std::string where = fmt::format("{}:{}", file, line_number);
    const size_t space = line.find(' ');
    const auto token = space == std::string_view::npos ? std::nullopt : decode_base64(line.substr(0, space));
    int64_t rank = -1;
    const char* last = line.data() + line.size();
    if (token) {
      const auto [rest, error] = std::from_chars(line.data() + space + 1, last, rank);
      if (error != std::errc() || rest != last) rank = -1;
    }
    if (!token || rank < 0) throw_bad_input("{} is not a token in base64 and its rank", where);
    add_rank(ranks, *token, rank, where);
  }
  return ranks;
}

/// The parts of an encoding whose token of rank r has the id r.
TokenizerParts parts_of(const Ranks& ranks, const std::string& pattern, size_t vocab_size,
                        const std::string& file) {
  TokenizerParts parts;
  parts.kind = "bpe";
  parts.tokens.resize(vocab_size);
  std::vector<std::pair<std::string_view, RankedMerge>> tokens;
  for (const auto& [bytes, id] : ranks.ids) {
    std::string& slot = parts.tokens.at(static_cast<size_t>(id));
    if (!slot.empty()) throw_bad_input("{}: two tokens have the rank {}", file, id);
    slot = spell_bytes(bytes);
    tokens.emplace_back(bytes, RankedMerge{id, id});
  }
  BpeOptions options;
  options.over_bytes = true;
  options.ignore_merges = true;
  parts.model = std::make_shared<BpeWords>(ranks.ids, merges_of_ranks(ranks.ids, tokens), options);
  parts.splitter = make_split(Pattern(pattern), SplitBehavior::isolated, false);
  parts.decodes_bytes = true;
  return parts;
}

std::unique_ptr<Tokenizer> make_tiktoken(std::string_view bytes, const std::string& file,
                                         const std::string& name, const std::string& end_of_text) {
  const Encoding* encoding = find_encoding(name);
  if (encoding == nullptr) {
    throw_bad_input(
        "{}: a rank file holds neither pattern nor special tokens, and \"{}\" is no encoding that is known: "
        "name it as one of {}, or use its tokenizer.json",
        file, name, fmt::join(encoding_names(), ", "));
  }
  const Ranks ranks = read_ranks(bytes, file);
  if (ranks.ids.size() != encoding->num_ranks)
    throw_bad_input("{}: {} has {} ranks, found {}", file, name, encoding->num_ranks, ranks.ids.size());
  if (static_cast<size_t>(ranks.end) > encoding->vocab_size)
    throw_bad_input("{}: the rank {} is too large for {}", file, ranks.end - 1, name);
  TokenizerParts parts = parts_of(ranks, encoding->pattern, encoding->vocab_size, file);
  for (const auto& [content, id] : encoding->special) {
    std::string& slot = parts.tokens[static_cast<size_t>(id)];
    if (!slot.empty()) throw_bad_input("{}: the rank {} is that of {}", file, id, content);
    slot = content;
    parts.added.push_back({id, content});
  }
  if (encoding->nfc) parts.normalizer = make_normal_form(unicode::Form::nfc);
  if (encoding->begin_id >= 0) parts.begin_ids = {encoding->begin_id};
  parts.end_of_text = find_end_of_text(encoding->special, end_of_text);
  json saved{
      {"type", "trireme-tiktoken"}, {"version", 1}, {"encoding", name}, {"ranks", encode_base64(bytes)}};
  if (!end_of_text.empty()) saved["trireme_end_of_text"] = end_of_text;
  return std::make_unique<PipelineTokenizer>(std::move(parts), saved.dump() + "\n");
}

std::string named_end(const json& root, const std::string& file, const std::string& end_of_text) {
  if (!end_of_text.empty() || is_absent(root, "trireme_end_of_text")) return end_of_text;
  return json_string(root["trireme_end_of_text"], "\"trireme_end_of_text\"", file);
}

struct TekkenSpecial {
  std::vector<std::string> tokens;
};

TekkenSpecial tekken_special(const json& root, size_t count, const std::string& file) {
  TekkenSpecial special;
  special.tokens.resize(count);
  const auto put = [&](int64_t id, const std::string& token) {
    std::string& slot = special.tokens[static_cast<size_t>(id)];
    if (!slot.empty()) throw_bad_input("{}: two special tokens have the rank {}", file, id);
    slot = token;
  };
  if (is_absent(root, "special_tokens")) {
    const auto& known = tekken_special_tokens();
    if (known.size() > count) throw_bad_input("{}: {} special tokens are too few", file, count);
    for (size_t id = 0; id < known.size(); ++id) put(static_cast<int64_t>(id), known[id]);
  } else {
    if (!root["special_tokens"].is_array()) throw_bad_input("{}: \"special_tokens\" must be a list", file);
    for (const json& entry : root["special_tokens"]) {
      put(json_index(json_member(entry, "rank", file), static_cast<int64_t>(count),
                     "the rank of a special token", file),
          json_string(json_member(entry, "token_str", file), "a special token", file));
    }
  }
  for (size_t id = 0; id < count; ++id) {
    if (special.tokens[id].empty()) special.tokens[id] = fmt::format("<SPECIAL_{}>", id);
  }
  return special;
}

}  // namespace

bool begins_like_ranks(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, std::min(bytes.find('\n'), bytes.size()));
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == line.size()) return false;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return decode_base64(line.substr(0, space)) && std::ranges::all_of(line.substr(space + 1), is_digit);
}

std::unique_ptr<Tokenizer> read_tiktoken(std::string_view bytes, const std::string& file,
                                         const std::string& end_of_text) {
  const std::filesystem::path path(file);
  const bool is_llama = path.filename() == "tokenizer.model";
  return make_tiktoken(bytes, file, is_llama ? "llama3" : path.stem().string(), end_of_text);
}

std::unique_ptr<Tokenizer> read_saved_tiktoken(const json& root, const std::string& file,
                                               const std::string& end_of_text) {
  json_index(json_member(root, "version", file), 2, "\"version\"", file);
  const auto bytes = decode_base64(json_string(json_member(root, "ranks", file), "\"ranks\"", file));
  if (!bytes) throw_bad_input("{}: \"ranks\" is not base64", file);
  return make_tiktoken(*bytes, file, json_string(json_member(root, "encoding", file), "\"encoding\"", file),
                       named_end(root, file, end_of_text));
}

std::unique_ptr<Tokenizer> read_tekken(const json& root, const std::string& file,
                                       const std::string& end_of_text) {
  const json& config = json_member(root, "config", file);
  const auto count = [&](const char* key) {
    return json_index(json_member(config, key, file), VocabularyBuilder::kMostTokens,
                      fmt::format("\"{}\"", key), file);
  };
  const int64_t vocab_size = count("default_vocab_size"), num_special = count("default_num_special_tokens");
  const json& vocab = json_member(root, "vocab", file);
  if (!vocab.is_array()) throw_bad_input("{}: \"vocab\" must be a list, found {}", file, vocab.type_name());
  if (vocab_size <= num_special || static_cast<size_t>(vocab_size - num_special) > vocab.size()) {
    throw_bad_input("{}: {} tokens, {} of them special, need more than the {} of \"vocab\"", file, vocab_size,
                    num_special, vocab.size());
  }
  Ranks ranks;
  for (int64_t i = 0; i < vocab_size - num_special; ++i) {
    const json& entry = vocab[static_cast<size_t>(i)];
    const std::string where = fmt::format("{}: entry {} of \"vocab\"", file, i);
    const auto bytes =
        decode_base64(json_string(json_member(entry, "token_bytes", file), "\"token_bytes\"", file));
    if (!bytes) throw_bad_input("{} is not base64", where);
    if (json_index(json_member(entry, "rank", file), vocab_size, "\"rank\"", file) != i)
      throw_bad_input("{} does not have the rank {}", where, i);
    add_rank(ranks, *bytes, i + num_special, where);
  }
  const std::string& pattern = json_string(json_member(config, "pattern", file), "\"pattern\"", file);
  TokenizerParts parts = parts_of(ranks, pattern, static_cast<size_t>(vocab_size), file);
  const auto special = tekken_special(root, static_cast<size_t>(num_special), file);
  std::vector<std::pair<std::string, int32_t>> marks;
  for (int32_t id = 0; id < num_special; ++id) {
    const std::string& token = special.tokens[static_cast<size_t>(id)];
    parts.tokens[static_cast<size_t>(id)] = token;
    parts.control.push_back(id);
    marks.emplace_back(token, id);
    if (token == "<s>") parts.begin_ids = {id};
  }
  json own = root;
  if (!end_of_text.empty()) own["trireme_end_of_text"] = end_of_text;
  parts.end_of_text = find_end_of_text(marks, named_end(root, file, end_of_text));
  return std::make_unique<PipelineTokenizer>(std::move(parts), own.dump() + "\n");
}

}  // namespace trireme
