#include "runtime/data/tokenizer/files/json_steps.h"

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/base64.h"
#include "runtime/io/json/json_file.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

using nlohmann::json;

const json& list_of(const json& object, const char* key, const std::string& file) {
  const json& list = json_member(object, key, file);
  if (!list.is_array()) throw_bad_input("{}: \"{}\" must be a list, found {}", file, key, list.type_name());
  return list;
}

std::string text_of(const json& object, const char* key, const std::string& file) {
  return json_string(json_member(object, key, file), fmt::format("\"{}\"", key), file);
}

char32_t character_of(const json& object, const char* key, const std::string& file) {
  const std::string text = text_of(object, key, file);
  size_t at = 0;
  const char32_t c = text.empty() ? 0 : next_code_point(text, at);
  if (text.empty() || at != text.size())
    throw_bad_input("{}: \"{}\" is \"{}\"; one character is needed", file, key, text);
  return c;
}

[[noreturn]] void refuse_type(const std::string& what, const std::string& type, const std::string& file,
                              std::string_view known) {
  throw_bad_input("{}: the {} {} is not supported; {} are", file, what, type, known);
}

/// {"String": text} or {"Regex": pattern}.
struct Wanted {
  std::string text;
  bool is_regex;
};
Wanted wanted_of(const json& object, const std::string& file) {
  const json& pattern = json_member(object, "pattern", file);
  if (pattern.is_object() && pattern.contains("String")) return {text_of(pattern, "String", file), false};
  return {text_of(pattern, "Regex", file), true};
}

// A string as the pattern that matches it alone.
std::string literal_pattern(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();)
    out += fmt::format("\\x{{{:x}}}", static_cast<uint32_t>(next_code_point(text, i)));
  return out;
}

SplitBehavior behavior_of(const json& object, const std::string& file) {
  constexpr std::pair<std::string_view, SplitBehavior> kNames[] = {
      {"Isolated", SplitBehavior::isolated},
      {"Removed", SplitBehavior::removed},
      {"Contiguous", SplitBehavior::contiguous},
      {"MergedWithPrevious", SplitBehavior::merged_with_previous},
      {"MergedWithNext", SplitBehavior::merged_with_next}};
  const std::string name = text_of(object, "behavior", file);
  for (const auto& [known, behavior] : kNames) {
    if (known == name) return behavior;
  }
  throw_bad_input("{}: the behavior {} is not known", file, name);
}

MetaspaceOptions metaspace_of(const json& object, const std::string& file) {
  MetaspaceOptions options;
  if (!is_absent(object, "replacement")) {
    options.replacement.clear();
    append_utf8(options.replacement, character_of(object, "replacement", file));
  }
  options.split = json_flag(object, "split", true, file);
  // Files from before "prepend_scheme" say it with a flag.
  const bool adds_prefix = json_flag(object, "add_prefix_space", true, file);
  if (is_absent(object, "prepend_scheme")) {
    options.prepend = adds_prefix ? PrependScheme::always : PrependScheme::never;
    return options;
  }
  const std::string scheme = text_of(object, "prepend_scheme", file);
  if (scheme != "always" && scheme != "first" && scheme != "never")
    throw_bad_input("{}: the prepend_scheme {} is none of always, first and never", file, scheme);
  if (!adds_prefix && scheme != "never")
    throw_bad_input("{}: a Metaspace has add_prefix_space false and prepend_scheme {}", file, scheme);
  options.prepend = scheme == "always"  ? PrependScheme::always
                    : scheme == "first" ? PrependScheme::first
                                        : PrependScheme::never;
  return options;
}

BertNormalizerOptions bert_of(const json& object, const std::string& file) {
  BertNormalizerOptions options;
  options.clean_text = json_flag(object, "clean_text", true, file);
  options.handle_chinese_chars = json_flag(object, "handle_chinese_chars", true, file);
  options.lowercase = json_flag(object, "lowercase", true, file);
  options.strip_accents = json_flag(object, "strip_accents", options.lowercase, file);
  return options;
}

Normalizer read_replace(const json& object, const std::string& file) {
  const Wanted wanted = wanted_of(object, file);
  const std::string content = text_of(object, "content", file);
  if (wanted.is_regex) return make_replace(Pattern(wanted.text), content);
  if (wanted.text.empty()) throw_bad_input("{}: a Replace has an empty \"String\"", file);
  return make_replace(wanted.text, content);
}

Normalizer read_one_normalizer(const std::string& type, const json& object, const std::string& file) {
  using unicode::Form;
  if (type == "NFC") return make_normal_form(Form::nfc);
  if (type == "NFD") return make_normal_form(Form::nfd);
  if (type == "NFKC") return make_normal_form(Form::nfkc);
  if (type == "NFKD") return make_normal_form(Form::nfkd);
  if (type == "Lowercase") return make_lowercase();
  if (type == "StripAccents") return make_strip_accents();
  if (type == "Nmt") return make_nmt();
  if (type == "Strip") {
    return make_strip(json_flag(object, "strip_left", true, file),
                      json_flag(object, "strip_right", true, file));
  }
  if (type == "Prepend") return make_prepend(text_of(object, "prepend", file));
  if (type == "Replace") return read_replace(object, file);
  if (type == "BertNormalizer") return make_bert_normalizer(bert_of(object, file));
  if (type == "Precompiled") {
    const auto blob = decode_base64(text_of(object, "precompiled_charsmap", file));
    if (!blob) throw_bad_input("{}: the \"precompiled_charsmap\" is not base64", file);
    return make_precompiled(Charsmap(*blob, file));
  }
  refuse_type("normalizer", type, file,
              "NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace, BertNormalizer, Nmt, "
              "Precompiled and a Sequence of these");
}

constexpr int kMostNested = 16;

void collect_normalizers(const json& object, const std::string& file, int depth,
                         std::vector<Normalizer>& steps) {
  const std::string& type = type_of(object, "normalizer", file);
  if (type != "Sequence") return steps.push_back(read_one_normalizer(type, object, file));
  if (depth == kMostNested)
    throw_bad_input("{}: normalizers are nested more than {} times", file, kMostNested);
  for (const json& step : list_of(object, "normalizers", file))
    collect_normalizers(step, file, depth + 1, steps);
}

Splitter read_one_splitter(const std::string& type, const json& object, const std::string& file) {
  if (type == "Split") {
    const Wanted wanted = wanted_of(object, file);
    return make_split(Pattern(wanted.is_regex ? wanted.text : literal_pattern(wanted.text)),
                      behavior_of(object, file), json_flag(object, "invert", false, file));
  }
  if (type == "Digits") return make_digits(json_flag(object, "individual_digits", false, file));
  if (type == "Punctuation") {
    return make_punctuation(is_absent(object, "behavior") ? SplitBehavior::isolated
                                                          : behavior_of(object, file));
  }
  if (type == "Whitespace") return make_whitespace();
  if (type == "WhitespaceSplit") return make_whitespace_split();
  if (type == "BertPreTokenizer") return make_bert_splitter();
  if (type == "CharDelimiterSplit") return make_char_delimiter_split(character_of(object, "delimiter", file));
  if (type == "Metaspace") return make_metaspace(metaspace_of(object, file));
  if (type == "ByteLevel") {
    return make_byte_level(json_flag(object, "add_prefix_space", true, file),
                           json_flag(object, "use_regex", true, file));
  }
  refuse_type("pre_tokenizer", type, file,
              "ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, BertPreTokenizer, "
              "CharDelimiterSplit, Metaspace and a Sequence of these");
}

struct SplitterList {
  std::vector<Splitter> steps;
  bool ends_with_bytes = false;
};

void collect_splitters(const json& object, const std::string& file, int depth, SplitterList& list) {
  const std::string& type = type_of(object, "pre_tokenizer", file);
  if (type == "Sequence") {
    if (depth == kMostNested)
      throw_bad_input("{}: pre_tokenizers are nested more than {} times", file, kMostNested);
    for (const json& step : list_of(object, "pretokenizers", file))
      collect_splitters(step, file, depth + 1, list);
    return;
  }
  if (list.ends_with_bytes)
    throw_bad_input("{}: the pre_tokenizer {} after ByteLevel, which must be the last, is not supported",
                    file, type);
  list.ends_with_bytes = type == "ByteLevel";
  list.steps.push_back(read_one_splitter(type, object, file));
}

size_t count_of(const json& object, const char* key, const std::string& file) {
  return static_cast<size_t>(
      json_index(json_member(object, key, file), INT32_MAX, fmt::format("\"{}\"", key), file));
}

DecodeStep read_one_decoder(const std::string& type, const json& object, const std::string& file) {
  if (type == "ByteLevel") return make_byte_level_decoder();
  if (type == "Metaspace") return make_metaspace_decoder(metaspace_of(object, file));
  if (type == "ByteFallback") return make_byte_fallback_decoder();
  if (type == "Fuse") return make_fuse_decoder();
  if (type == "Strip") {
    return make_strip_decoder(character_of(object, "content", file), count_of(object, "start", file),
                              count_of(object, "stop", file));
  }
  if (type == "Replace") {
    const Wanted wanted = wanted_of(object, file);
    const std::string content = text_of(object, "content", file);
    if (wanted.is_regex) return make_replace_decoder(Pattern(wanted.text), content);
    if (wanted.text.empty()) throw_bad_input("{}: a Replace has an empty \"String\"", file);
    return make_replace_decoder(wanted.text, content);
  }
  if (type == "WordPiece") {
    return make_wordpiece_decoder(object.contains("prefix") ? text_of(object, "prefix", file) : "##",
                                  json_flag(object, "cleanup", true, file));
  }
  if (type == "BPEDecoder")
    return make_bpe_decoder(object.contains("suffix") ? text_of(object, "suffix", file) : "</w>");
  refuse_type(
      "decoder", type, file,
      "ByteLevel, Metaspace, ByteFallback, Fuse, Strip, Replace, WordPiece, BPEDecoder and a Sequence of "
      "these");
}

struct DecoderList {
  DecoderSteps result;
  bool has_joined = false;
};

void collect_decoders(const json& object, const std::string& file, int depth, DecoderList& list) {
  const std::string& type = type_of(object, "decoder", file);
  if (type == "Sequence") {
    if (depth == kMostNested)
      throw_bad_input("{}: decoders are nested more than {} times", file, kMostNested);
    for (const json& step : list_of(object, "decoders", file)) collect_decoders(step, file, depth + 1, list);
    return;
  }
  list.result.steps.push_back(read_one_decoder(type, object, file));
  list.result.is_byte_level = type == "ByteLevel" && list.result.steps.size() == 1;
  // What comes after a join sees several tokens at once; only what strips the beginning knows when it is
  // done.
  const bool strips_end = type == "Strip" && count_of(object, "stop", file) > 0;
  if (strips_end || (list.has_joined && type != "Strip" && type != "Fuse")) list.result.is_in_order = false;
  list.has_joined |= type == "Fuse" || type == "ByteLevel";
}

void add_template(const json& object, int64_t vocab_size, const std::string& file, WholeTextIds& ids) {
  bool is_behind = false;
  for (const json& piece : list_of(object, "single", file)) {
    if (piece.is_object() && piece.contains("Sequence")) {
      const std::string which = text_of(piece["Sequence"], "id", file);
      if (which != "A" || is_behind)
        throw_bad_input("{}: a template of the post_processor must hold the text ($A) once", file);
      is_behind = true;
      continue;
    }
    const std::string name = text_of(json_member(piece, "SpecialToken", file), "id", file);
    const json& token = json_member(json_member(object, "special_tokens", file), name.c_str(), file);
    for (const json& id : list_of(token, "ids", file)) {
      const auto value = json_index(id, vocab_size, fmt::format("an id of \"{}\"", name), file);
      (is_behind ? ids.after : ids.before).push_back(static_cast<int32_t>(value));
    }
  }
  if (!is_behind) throw_bad_input("{}: a template of the post_processor does not hold the text ($A)", file);
}

int32_t id_of_pair(const json& object, const char* key, int64_t vocab_size, const std::string& file) {
  const json& pair = list_of(object, key, file);
  if (pair.size() != 2) throw_bad_input("{}: \"{}\" must be a token and its id", file, key);
  return static_cast<int32_t>(json_index(pair[1], vocab_size, fmt::format("the id of \"{}\"", key), file));
}

void collect_post_processors(const json& object, int64_t vocab_size, const std::string& file, int depth,
                             WholeTextIds& ids) {
  const std::string& type = type_of(object, "post_processor", file);
  if (type == "ByteLevel") return;  // it moves offsets alone
  if (type == "Sequence") {
    if (depth == kMostNested)
      throw_bad_input("{}: post_processors are nested more than {} times", file, kMostNested);
    for (const json& step : list_of(object, "processors", file))
      collect_post_processors(step, vocab_size, file, depth + 1, ids);
    return;
  }
  WholeTextIds own;
  if (type == "TemplateProcessing") {
    add_template(object, vocab_size, file, own);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    own.before = {id_of_pair(object, "cls", vocab_size, file)};
    own.after = {id_of_pair(object, "sep", vocab_size, file)};
  } else {
    refuse_type("post_processor", type, file,
                "TemplateProcessing, ByteLevel, BertProcessing, RobertaProcessing and a Sequence of these");
  }
  ids.before.insert(ids.before.begin(), own.before.begin(), own.before.end());
  ids.after.insert(ids.after.end(), own.after.begin(), own.after.end());
}

}  // namespace

bool is_absent(const json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ||
         (it->is_string() && it->get_ref<const std::string&>().empty());
}

const std::string& type_of(const json& object, const std::string& what, const std::string& file) {
  return json_string(json_member(object, "type", file), what + " type", file);
}

Normalizer read_normalizer(const json& object, const std::string& file) {
  std::vector<Normalizer> steps;
  collect_normalizers(object, file, 0, steps);
  return make_sequence(std::move(steps));
}

SplitterSteps read_splitter(const json& object, const std::string& file) {
  SplitterList list;
  collect_splitters(object, file, 0, list);
  return {make_sequence(std::move(list.steps)), list.ends_with_bytes};
}

DecoderSteps read_decoder(const json& object, const std::string& file) {
  DecoderList list;
  collect_decoders(object, file, 0, list);
  return std::move(list.result);
}

WholeTextIds read_post_processor(const json& object, int64_t vocab_size, const std::string& file) {
  WholeTextIds ids;
  collect_post_processors(object, vocab_size, file, 0, ids);
  return ids;
}

}  // namespace trireme
