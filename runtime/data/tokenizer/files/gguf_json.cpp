#include "runtime/data/tokenizer/files/gguf_json.h"

#include <algorithm>
#include <set>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/gguf_pretokenizers.h"
#include "runtime/data/tokenizer/huggingface_json.h"
#include "runtime/data/tokenizer/pattern/pretokenizer.h"
#include "runtime/data/tokenizer/steps/splitter.h"

namespace trireme {
namespace {

using nlohmann::json;

json gguf_added_json(const std::vector<AddedToken>& added) {
  json list = json::array();
  for (const auto& token : added) list.push_back(json_of_added_token(token));
  return list;
}

// tokenizer.json's TemplateProcessing of one text.
json template_of(const GgufVocabulary& vocabulary, const std::vector<std::optional<int32_t>>& before,
                 const std::vector<std::optional<int32_t>>& after) {
  json single = json::array(), specials = json::object();
  const auto add = [&](const std::vector<std::optional<int32_t>>& ids) {
    for (const auto& id : ids) {
      if (!id) continue;
      const auto& content = vocabulary.tokens()[static_cast<size_t>(*id)].text;
      single.push_back({{"SpecialToken", {{"id", content}, {"type_id", 0}}}});
      specials[content] = {{"id", content}, {"ids", {*id}}, {"tokens", {content}}};
    }
  };
  add(before);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(after);
  if (specials.empty()) return nullptr;
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", json::array()},
          {"special_tokens", specials}};
}

json pretokenizer_of(const GgufPretokenizer& pretokenizer) {
  const auto bytes = [](bool use_regex) {
    return json{
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
  };
  if (pretokenizer.patterns == std::vector<std::string_view>{kGpt2Pattern}) return bytes(true);
  json steps = json::array();
  for (const auto pattern : pretokenizer.patterns)
    steps.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  steps.push_back(bytes(false));
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

const std::vector<std::string>& merges_of(const GgufReader& gguf) {
  constexpr std::string_view kKey = "tokenizer.ggml.merges";
  const GgufValue* value = gguf.find(kKey);
  if (value == nullptr) throw_bad_input("{} has no \"{}\" in its metadata", gguf.path(), kKey);
  const auto* list = std::get_if<std::vector<std::string>>(value);
  if (list == nullptr)
    throw_bad_input("{}: \"{}\" is a {}, not a list of strings", gguf.path(), kKey, type_text(*value));
  return *list;
}

const GgufPretokenizer& pretokenizer_of(const GgufReader& gguf) {
  constexpr std::string_view kKey = "tokenizer.ggml.pre";
  const std::string name = gguf.find(kKey) == nullptr ? "default" : gguf.text(kKey);
  if (const auto* known = find_gguf_pretokenizer(name)) return *known;
  throw_bad_input("{}: \"{}\" is \"{}\", which is not supported; known are {}", gguf.path(), kKey, name,
                  gguf_pretokenizer_names());
}

// Tokens of merges stay in the vocabulary where they are added tokens too.
json bpe_vocabulary_of(const GgufVocabulary& vocabulary, const std::vector<AddedToken>& added,
                       const std::vector<std::string>& merges) {
  std::set<std::string> merged;
  for (const auto& merge : merges) {
    if (const size_t space = merge.find(' ', 1); space != std::string::npos) {
      merged.insert(merge.substr(0, space));
      merged.insert(merge.substr(space + 1));
      merged.insert(merge.substr(0, space) + merge.substr(space + 1));
    }
  }
  std::set<int32_t> apart;
  for (const auto& token : added) {
    if (!merged.contains(token.content)) apart.insert(token.id);
  }
  json vocab = json::object();
  for (size_t id = 0; id < vocabulary.tokens().size(); ++id) {
    const auto& token = vocabulary.tokens()[id];
    if (token.type == PieceType::unused || apart.contains(static_cast<int32_t>(id))) continue;
    if (const auto [it, is_new] = vocab.emplace(token.text, id); !is_new)
      throw_bad_input("{}: the token \"{}\" stands twice, with the ids {} and {}", vocabulary.file(),
                      token.text, it.value().get<size_t>(), id);
  }
  return vocab;
}

json common_json(const GgufVocabulary& vocabulary, const std::vector<AddedToken>& added,
                 const GgufAround& around) {
  json root{{"version", "1.0"},
            {"truncation", nullptr},
            {"padding", nullptr},
            {"added_tokens", gguf_added_json(added)}};
  if (around.last) root["trireme_end_of_text"] = vocabulary.tokens()[static_cast<size_t>(*around.last)].text;
  return root;
}

}  // namespace

GgufAround gguf_around(const GgufVocabulary& vocabulary, bool adds_bos, bool adds_eos) {
  const auto bos = vocabulary.role("bos"), eos = vocabulary.role("eos");
  const bool begins = vocabulary.flag("add_bos_token", adds_bos && bos);
  const bool ends = vocabulary.flag("add_eos_token", adds_eos && eos);
  if ((begins && !bos) || (ends && !eos))
    throw_bad_input(
        "{}: \"tokenizer.ggml.add_{}_token\" is set, but \"tokenizer.ggml.{}_token_id\" is not there",
        vocabulary.file(), begins && !bos ? "bos" : "eos", begins && !bos ? "bos" : "eos");
  return {begins ? bos : std::nullopt, ends ? eos : std::nullopt, eos};
}

std::vector<AddedToken> gguf_added_tokens(const GgufVocabulary& vocabulary) {
  std::set<int32_t> roles;
  for (const char* role : {"bos", "eos", "eot", "eom"}) {
    if (const auto id = vocabulary.role(role)) roles.insert(*id);
  }
  std::vector<AddedToken> added;
  for (size_t i = 0; i < vocabulary.tokens().size(); ++i) {
    const auto& token = vocabulary.tokens()[i];
    const auto id = static_cast<int32_t>(i);
    const bool is_control =
        token.type == PieceType::control || token.type == PieceType::unknown || roles.contains(id);
    if (!is_control && token.type != PieceType::user_defined) continue;
    if (token.text.empty()) throw_bad_input("{}: the added token {} is empty", vocabulary.file(), id);
    added.push_back({id, token.text, is_control, false});
  }
  return added;
}

json gguf_bpe_json(const GgufVocabulary& vocabulary) {
  const GgufReader& gguf = vocabulary.gguf();
  const auto& pretokenizer = pretokenizer_of(gguf);
  const GgufAround around = gguf_around(vocabulary, pretokenizer.adds_bos, false);
  const auto added = gguf_added_tokens(vocabulary);
  const auto& merges = merges_of(gguf);
  json root = common_json(vocabulary, added, around);
  root["normalizer"] = pretokenizer.nfc ? json{{"type", "NFC"}} : json();
  root["pre_tokenizer"] = pretokenizer_of(pretokenizer);
  root["post_processor"] = template_of(vocabulary, {around.begin}, {around.end});
  root["decoder"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  root["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", pretokenizer.ignore_merges},
                   {"vocab", bpe_vocabulary_of(vocabulary, added, merges)},
                   {"merges", merges}};
  return root;
}

// Words begin with a mark in GGUF where they go on with ## in BERT's own files.
json gguf_wordpiece_json(const GgufVocabulary& vocabulary) {
  const auto need = [&](std::string_view role, std::string_view other, std::string_view content) {
    for (const auto& name : {role, other}) {
      if (const auto id = vocabulary.role(name)) return *id;
    }
    for (size_t id = 0; id < vocabulary.tokens().size(); ++id) {
      if (vocabulary.tokens()[id].text == content) return static_cast<int32_t>(id);
    }
    throw_bad_input("{} has no \"tokenizer.ggml.{}_token_id\", and no token {}", vocabulary.file(), role,
                    content);
  };
  const int32_t unknown = need("unknown", "unknown", "[UNK]"), first = need("cls", "bos", "[CLS]"),
                last = need("seperator", "eos", "[SEP]");
  GgufAround around;
  around.last = last;
  const bool lowers = vocabulary.flag("normalizer.lowercase", true);
  const auto added = gguf_added_tokens(vocabulary);
  std::set<int32_t> controls;
  for (const auto& token : added) controls.insert(token.id);
  json vocab = json::object();
  for (size_t id = 0; id < vocabulary.tokens().size(); ++id) {
    const auto& token = vocabulary.tokens()[id];
    if (token.type == PieceType::unused) continue;
    std::string text = token.text;
    if (text.starts_with(kSpaceMark)) {
      text.erase(0, kSpaceMark.size());
    } else if (!controls.contains(static_cast<int32_t>(id)) && static_cast<int32_t>(id) != unknown) {
      text.insert(0, "##");
    }
    if (!vocab.emplace(text, id).second)
      throw_bad_input("{}: the token \"{}\" stands twice", vocabulary.file(), token.text);
  }
  json root = common_json(vocabulary, added, around);
  root["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", true},
                        {"handle_chinese_chars", true},
                        {"strip_accents", vocabulary.flag("normalizer.strip_accents", lowers)},
                        {"lowercase", lowers}};
  root["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  root["post_processor"] = template_of(vocabulary, {first}, {last});
  root["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  root["model"] = {{"type", "WordPiece"},
                   {"unk_token", vocabulary.tokens()[static_cast<size_t>(unknown)].text},
                   {"continuing_subword_prefix", "##"},
                   {"max_input_chars_per_word", 100},
                   {"vocab", vocab}};
  return root;
}

}  // namespace trireme
