#include "runtime/data/tokenizer/files/tokenizer_json.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/bpe_tokenizer.h"
#include "runtime/data/tokenizer/byte_alphabet.h"
#include "runtime/data/tokenizer/files/json_steps.h"
#include "runtime/data/tokenizer/files/token_lists.h"
#include "runtime/data/tokenizer/files/vocabulary_builder.h"
#include "runtime/data/tokenizer/huggingface_json.h"
#include "runtime/data/tokenizer/models/bpe_words.h"
#include "runtime/data/tokenizer/models/unigram_words.h"
#include "runtime/data/tokenizer/models/wordpiece_words.h"
#include "runtime/io/json/json_file.h"

namespace trireme {
namespace {

using nlohmann::json;

std::string kind_of(const json& model, const std::string& file) {
  if (!is_absent(model, "type")) {
    const std::string& type = type_of(model, "model", file);
    for (const std::string_view known : {"BPE", "Unigram", "WordPiece", "WordLevel"}) {
      if (type == known) return type;
    }
    throw_bad_input("{}: the model {} is not supported; BPE, Unigram, WordPiece and WordLevel are", file,
                    type);
  }
  if (model.contains("merges")) return "BPE";  // files of old versions do not say it
  throw_bad_input("{}: the model has no \"type\"", file);
}

void add_vocabulary(const json& vocab, VocabularyBuilder& builder) {
  if (!vocab.is_object())
    throw_bad_input("{}: the vocabulary must be an object, found {}", builder.file(), vocab.type_name());
  for (const auto& [token, id] : vocab.items()) {
    builder.add(token, json_index(id, VocabularyBuilder::kMostTokens, fmt::format("the id of \"{}\"", token),
                                  builder.file()));
  }
}

std::optional<int32_t> unknown_of(const json& model, const VocabularyBuilder& builder) {
  if (is_absent(model, "unk_token")) return std::nullopt;
  return builder.id_of(json_string(model["unk_token"], "\"unk_token\"", builder.file()), "\"unk_token\"");
}
int32_t known_unknown_of(const json& model, const VocabularyBuilder& builder) {
  json_member(model, "unk_token", builder.file());
  const auto unknown = unknown_of(model, builder);
  if (!unknown) throw_bad_input("{}: the model has no \"unk_token\"", builder.file());
  return *unknown;
}

/// The file must name a token for the unknown, which need not be there: an unknown word is then an error.
std::shared_ptr<const WordModel> read_wordlevel(const json& model, const VocabularyBuilder& builder) {
  const std::string& name =
      json_string(json_member(model, "unk_token", builder.file()), "\"unk_token\"", builder.file());
  return std::make_shared<WholeWords>(builder.vocabulary(),
                                      builder.has(name) ? unknown_of(model, builder) : std::nullopt);
}

std::string option_of(const json& model, const char* key, const std::string& file) {
  return is_absent(model, key) ? "" : json_string(model[key], fmt::format("\"{}\"", key), file);
}

void check_dropout(const json& model, const std::string& file) {
  const auto dropout = model.find("dropout");
  if (dropout != model.end() && !dropout->is_null() && !(dropout->is_number() && dropout->get<double>() == 0))
    throw_bad_input("{}: the model sets \"dropout\", which would make ids random", file);
}

// Tokens of a vocabulary over bytes by their bytes; one that does not spell bytes is never met.
Vocabulary over_bytes(const Vocabulary& spelled) {
  Vocabulary vocabulary;
  for (const auto& [token, id] : spelled) {
    if (auto bytes = unspell_bytes(token)) vocabulary.emplace(std::move(*bytes), id);
  }
  return vocabulary;
}

std::shared_ptr<const WordModel> read_bpe(const json& model, bool is_over_bytes, VocabularyBuilder& builder,
                                          Splitter& splitter) {
  const std::string& file = builder.file();
  check_dropout(model, file);
  BpeOptions options;
  options.over_bytes = is_over_bytes;
  options.ignore_merges = json_flag(model, "ignore_merges", false, file);
  options.byte_fallback = json_flag(model, "byte_fallback", false, file);
  options.fuse_unknown = json_flag(model, "fuse_unk", false, file);
  options.unknown = unknown_of(model, builder);
  options.continuing_prefix = option_of(model, "continuing_subword_prefix", file);
  options.word_suffix = option_of(model, "end_of_word_suffix", file);
  if (is_over_bytes && !(options.continuing_prefix + options.word_suffix).empty())
    throw_bad_input("{}: a prefix or suffix of symbols together with ByteLevel is not supported", file);
  const json& list = json_member(model, "merges", file);
  PairTable merges(list.size());
  int32_t rank = 0;
  bool crosses_words = !builder.has(kSpaceMark);
  for_each_merge(
      {}, list, file, [&](std::string_view left, std::string_view right, const std::string& where) {
        const auto left_id = builder.id_of(left, where), right_id = builder.id_of(right, where);
        if (!right.starts_with(options.continuing_prefix))
          throw_bad_input("{}: {} is \"{} {}\", whose second part does not begin with \"{}\"", file, where,
                          left, right, options.continuing_prefix);
        const auto whole = fmt::format("{}{}", left, right.substr(options.continuing_prefix.size()));
        if (!merges.insert(left_id, right_id, {rank++, builder.id_of(whole, where)}))
          throw_bad_input("{}: {} is \"{} {}\", which an earlier merge is already", file, where, left, right);
        crosses_words |= has_mark_inside(whole);
      });
  const bool has_affixes = !options.continuing_prefix.empty() || !options.word_suffix.empty();
  if (!is_over_bytes && !crosses_words && !has_affixes && !options.ignore_merges) {
    std::vector<Splitter> steps;
    if (splitter) steps.push_back(std::move(splitter));
    steps.push_back(make_marked_words());
    splitter = make_sequence(std::move(steps));
  }
  return std::make_shared<BpeWords>(is_over_bytes ? over_bytes(builder.vocabulary()) : builder.vocabulary(),
                                    std::move(merges), options);
}

std::vector<UnigramPiece> read_unigram_pieces(const json& model, const std::string& file) {
  const json& list = json_member(model, "vocab", file);
  if (!list.is_array())
    throw_bad_input("{}: the vocabulary of Unigram must be a list, found {}", file, list.type_name());
  std::vector<UnigramPiece> pieces;
  for (const json& entry : list) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      throw_bad_input("{}: entry {} of the vocabulary is not a token and its score", file, pieces.size());
    }
    pieces.push_back({entry[0].get<std::string>(), entry[1].get<double>(), true});
  }
  return pieces;
}

std::shared_ptr<const WordModel> read_unigram(const json& model, VocabularyBuilder& builder) {
  const std::string& file = builder.file();
  const auto pieces = read_unigram_pieces(model, file);
  if (pieces.empty()) throw_bad_input("{}: the vocabulary is empty", file);
  UnigramOptions options;
  options.byte_fallback = json_flag(model, "byte_fallback", false, file);
  options.looks_up_runs = true;
  options.least_score = std::ranges::min(pieces, {}, &UnigramPiece::score).score;
  if (!is_absent(model, "unk_id")) {
    options.unknown = static_cast<int32_t>(
        json_index(model["unk_id"], static_cast<int64_t>(pieces.size()), "\"unk_id\"", file));
  }
  for (size_t id = 0; id < pieces.size(); ++id) builder.add(pieces[id].text, static_cast<int64_t>(id));
  return std::make_shared<UnigramWords>(pieces, options);
}

std::shared_ptr<const WordModel> read_wordpiece(const json& model, const VocabularyBuilder& builder) {
  WordPieceOptions options;
  options.unknown = known_unknown_of(model, builder);
  if (model.contains("continuing_subword_prefix"))
    options.continuing_prefix = option_of(model, "continuing_subword_prefix", builder.file());
  if (!is_absent(model, "max_input_chars_per_word")) {
    options.most_characters = static_cast<size_t>(json_index(model["max_input_chars_per_word"], INT32_MAX,
                                                             "\"max_input_chars_per_word\"", builder.file()));
  }
  return std::make_shared<WordPieceWords>(builder.vocabulary(), options);
}

std::vector<AddedToken> read_added(const json& root, VocabularyBuilder& builder) {
  std::vector<AddedToken> added;
  if (is_absent(root, "added_tokens")) return added;
  const std::string& file = builder.file();
  const json& list = root["added_tokens"];
  if (!list.is_array())
    throw_bad_input("{}: \"added_tokens\" must be a list, found {}", file, list.type_name());
  for (const json& entry : list) {
    added.push_back(read_added_token(entry, file));
    builder.add_added(added.back());
  }
  return added;
}

std::unique_ptr<Tokenizer> read_pipeline(const json& root, const std::string& file,
                                         const std::string& end_of_text) {
  const json& model = json_member(root, "model", file);
  const std::string kind = kind_of(model, file);
  TokenizerParts parts;
  if (!is_absent(root, "normalizer")) parts.normalizer = read_normalizer(root["normalizer"], file);
  SplitterSteps steps;
  if (!is_absent(root, "pre_tokenizer")) steps = read_splitter(root["pre_tokenizer"], file);
  parts.splitter = std::move(steps.splitter);
  if (steps.ends_with_bytes && kind != "BPE")
    throw_bad_input("{}: the pre_tokenizer ByteLevel with the model {} is not supported; with BPE it is",
                    file, kind);

  VocabularyBuilder builder(file);
  if (kind != "Unigram") add_vocabulary(json_member(model, "vocab", file), builder);
  if (kind == "BPE") parts.model = read_bpe(model, steps.ends_with_bytes, builder, parts.splitter);
  if (kind == "Unigram") parts.model = read_unigram(model, builder);
  if (kind == "WordPiece") parts.model = read_wordpiece(model, builder);
  if (kind == "WordLevel") parts.model = read_wordlevel(model, builder);
  parts.kind = kind;
  std::ranges::transform(parts.kind, parts.kind.begin(),
                         [](char c) { return c < 'a' ? static_cast<char>(c + 32) : c; });
  parts.added = read_added(root, builder);
  parts.tokens = builder.tokens();

  parts.has_decoder = !is_absent(root, "decoder");
  parts.decodes_in_order = parts.has_decoder;
  if (parts.has_decoder) {
    auto decoder = read_decoder(root["decoder"], file);
    parts.decodes_bytes = decoder.is_byte_level;
    parts.decodes_in_order = decoder.is_in_order;
    parts.decode_steps = std::move(decoder.steps);
  }
  if (!is_absent(root, "post_processor")) {
    auto ids = read_post_processor(root["post_processor"], static_cast<int64_t>(parts.tokens.size()), file);
    parts.begin_ids = std::move(ids.before);
    parts.end_ids = std::move(ids.after);
  }
  std::vector<std::pair<std::string, int32_t>> marks;
  for (const auto& token : parts.added) marks.emplace_back(token.content, token.id);
  json own = root;
  if (!end_of_text.empty()) own["trireme_end_of_text"] = end_of_text;
  parts.end_of_text =
      find_end_of_text(marks, is_absent(own, "trireme_end_of_text")
                                  ? ""
                                  : json_string(own["trireme_end_of_text"], "\"trireme_end_of_text\"", file));
  return std::make_unique<PipelineTokenizer>(std::move(parts), own.dump() + "\n");
}

}  // namespace

std::unique_ptr<Tokenizer> read_tokenizer_json(const json& root, const std::string& file,
                                               const std::string& end_of_text) {
  if (!is_plain_bpe(root)) return read_pipeline(root, file, end_of_text);
  return read_plain_bpe(root, {}, file, end_of_text);
}

std::unique_ptr<Tokenizer> read_plain_bpe(const json& root, const TokenLists& lists, const std::string& file,
                                          const std::string& end_of_text) {
  BpeModel model = read_huggingface_json(root, file, lists);
  if (!end_of_text.empty()) model.end_of_text = end_of_text;
  return std::make_unique<BpeTokenizer>(std::move(model));
}

}  // namespace trireme
