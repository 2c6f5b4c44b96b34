#include "runtime/data/tokenizer/tokenizer_folder.h"

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/bpe_tokenizer.h"
#include "runtime/data/tokenizer/files/json_steps.h"
#include "runtime/data/tokenizer/files/sentencepiece_file.h"
#include "runtime/data/tokenizer/files/sentencepiece_model.h"
#include "runtime/data/tokenizer/files/tokenizer_config.h"
#include "runtime/data/tokenizer/files/tokenizer_json.h"
#include "runtime/data/tokenizer/huggingface_json.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/json_file.h"

namespace trireme {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

bool has_token(const std::vector<AddedToken>& added, const std::string& content) {
  return std::ranges::any_of(added, [&](const auto& token) { return token.content == content; });
}

// tokenizer.json with the added tokens of the other files; where one is in both, its own flags count.
std::unique_ptr<Tokenizer> load_json_with(const TokenizerConfig& config, const std::string& path,
                                          std::string end_of_text) {
  json root = read_json_file(path);
  std::vector<AddedToken> added;
  if (root.is_object() && !is_absent(root, "added_tokens") && root["added_tokens"].is_array()) {
    for (const json& entry : root["added_tokens"]) added.push_back(read_added_token(entry, path));
  }
  if (root.is_object()) {
    for (const auto& token : config.added) {
      if (has_token(added, token.content)) continue;
      root["added_tokens"].push_back(json_of_added_token(token));
      added.push_back(token);
    }
  }
  const bool is_free = root.is_object() && is_absent(root, "trireme_end_of_text");
  if (end_of_text.empty() && is_free && has_token(added, config.role("eos")))
    end_of_text = config.role("eos");
  return read_tokenizer(root.dump(), path, end_of_text);
}

std::unique_ptr<Tokenizer> load_pieces_with(const TokenizerConfig& config, const std::string& path,
                                            std::string end_of_text) {
  const std::string bytes = read_text_file(path);
  if (!begins_like_sentencepiece(bytes)) return read_tokenizer(bytes, path, end_of_text);
  const SentencePieceModel model = read_sentencepiece_model(bytes, path);
  SentencePieceExtras extras;
  extras.added = config.added;
  for (auto& token : extras.added) token.normalized = false;
  const auto id_of = [&](const std::string& content) -> std::optional<int32_t> {
    for (const auto& token : config.added) {
      if (token.content == content) return token.id;
    }
    const auto it = std::ranges::find(model.pieces, content, &SentencePiece::text);
    if (it == model.pieces.end()) return std::nullopt;
    return static_cast<int32_t>(it - model.pieces.begin());
  };
  const auto around = [&](const char* role, std::optional<bool> adds, std::vector<int32_t>& ids) {
    if (!adds.value_or(false)) return;
    const auto id = id_of(config.role(role));
    if (!id)
      throw_bad_input("{}: add_{}_token is set in tokenizer_config.json, but \"{}\" is no token", path, role,
                      config.role(role));
    ids = {*id};
  };
  around("bos", config.add_bos, extras.begin_ids);
  around("eos", config.add_eos, extras.end_ids);
  if (end_of_text.empty() && id_of(config.role("eos"))) {
    const auto id = static_cast<size_t>(*id_of(config.role("eos")));
    const bool is_mark = id >= model.pieces.size() || model.pieces[id].type == PieceType::control ||
                         model.pieces[id].type == PieceType::user_defined;
    if (is_mark || has_token(config.added, config.role("eos"))) end_of_text = config.role("eos");
  }
  return read_sentencepiece(bytes, path, end_of_text, extras);
}

// Vocabulary and merges do not say how text is cut before them: classes with GPT-2's pattern are known.
void check_cut_as_gpt2(const TokenizerConfig& config, const std::string& vocab, const std::string& merges) {
  std::string name = config.tokenizer_class;
  if (name.ends_with("Fast")) name.erase(name.size() - 4);
  constexpr std::string_view kKnown[] = {"",
                                         "GPT2Tokenizer",
                                         "GPTNeoXTokenizer",
                                         "RobertaTokenizer",
                                         "BartTokenizer",
                                         "LongformerTokenizer",
                                         "LEDTokenizer"};
  if (std::ranges::find(kKnown, name) != std::end(kKnown)) return;
  throw_bad_input(
      "{} with {}: tokenizer_config.json says {}, which may cut text in another way than GPT-2, and neither "
      "file has its pattern; make tokenizer.json: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
      vocab, merges, config.tokenizer_class);
}

std::unique_ptr<Tokenizer> load_pair_with(const TokenizerConfig& config, const std::string& vocab,
                                          const std::string& merges, const std::string& end_of_text) {
  check_cut_as_gpt2(config, vocab, merges);
  BpeModel model = read_gpt2_files(vocab, merges, config.added);
  if (!end_of_text.empty()) {
    model.end_of_text = end_of_text;
  } else if (has_token(model.added, config.role("eos"))) {
    model.end_of_text = config.role("eos");
  }
  return std::make_unique<BpeTokenizer>(std::move(model));
}

// The only file of the folder with that ending; empty for none. UserError when there are several.
std::string only_file(const fs::path& folder, const std::string& ending) {
  std::string found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() != ending) continue;
    if (!found.empty())
      throw_bad_input("the directory {} has no tokenizer.json, but {} and {}: name the file that is meant",
                      folder.string(), fs::path(found).filename().string(), entry.path().filename().string());
    found = entry.path().string();
  }
  return found;
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer_folder(const std::string& folder, const std::string& end_of_text) {
  const fs::path in(folder);
  const TokenizerConfig config = read_tokenizer_config(folder);
  const auto has = [&](const char* name) {
    std::error_code ignored;
    return fs::exists(in / name, ignored);
  };
  if (has("tokenizer.json")) return load_json_with(config, in / "tokenizer.json", end_of_text);
  if (has("tekken.json")) return load_tokenizer(in / "tekken.json", end_of_text);
  for (const char* name : {"tokenizer.model", "spiece.model"}) {
    if (has(name)) return load_pieces_with(config, in / name, end_of_text);
  }
  for (const auto& [vocab, merges] :
       {std::pair("encoder.json", "vocab.bpe"), std::pair("vocab.json", "merges.txt")}) {
    if (has(vocab) && has(merges)) return load_pair_with(config, in / vocab, in / merges, end_of_text);
  }
  if (const auto file = only_file(in, ".tiktoken"); !file.empty()) return load_tokenizer(file, end_of_text);
  if (has("metadata.gguf")) return load_tokenizer(in / "metadata.gguf", end_of_text);
  if (const auto file = only_file(in, ".gguf"); !file.empty()) return load_tokenizer(file, end_of_text);
  throw_bad_input(
      "the directory {} has no tokenizer: neither tokenizer.json, tekken.json, tokenizer.model, "
      "spiece.model, "
      "a .tiktoken or .gguf file, nor encoder.json with vocab.bpe, nor vocab.json with merges.txt",
      folder);
}

}  // namespace trireme
