#include "runtime/data/tokenizer/tokenizer_factory.h"

#include <array>
#include <filesystem>
#include <fstream>

#include <fmt/ranges.h>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/bpe_trainer.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"
#include "runtime/data/tokenizer/char_tokenizer.h"
#include "runtime/data/tokenizer/files/gguf_tokenizer.h"
#include "runtime/data/tokenizer/files/rank_files.h"
#include "runtime/data/tokenizer/files/sentencepiece_file.h"
#include "runtime/data/tokenizer/files/sentencepiece_model.h"
#include "runtime/data/tokenizer/files/token_lists.h"
#include "runtime/data/tokenizer/files/tokenizer_json.h"
#include "runtime/data/tokenizer/huggingface_json.h"
#include "runtime/data/tokenizer/tokenizer_folder.h"
#include "runtime/data/tokenizer_kind.h"
#include "runtime/io/digest/file_signs.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/json_file.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

[[noreturn]] void refuse_end_of_text(const std::string& spec, const std::string& name) {
  throw_usage(
      "the end-of-text token \"{}\" has no effect with the tokenizer {}: it is for BPE tokenizer files", name,
      spec);
}

std::unique_ptr<Tokenizer> load_typed(const nlohmann::json& json, const std::string& path,
                                      const std::string& end_of_text) {
  const std::string& type = json_string(json["type"], "\"type\"", path);
  if (type == "trireme-sentencepiece") return read_saved_sentencepiece(json, path, end_of_text);
  if (type == "trireme-tiktoken") return read_saved_tiktoken(json, path, end_of_text);
  if (!end_of_text.empty()) refuse_end_of_text(path, end_of_text);
  if (type == "trireme-byte") return std::make_unique<ByteTokenizer>();
  if (type == "trireme-char") return CharTokenizer::from_json(json, path);
  throw_bad_input(
      "{}: the type \"{}\" is none of trireme-byte, trireme-char, trireme-sentencepiece and trireme-tiktoken",
      path, type);
}

std::unique_ptr<Tokenizer> load_json(const std::string& text, const std::string& path,
                                     const std::string& end_of_text) {
  if (const auto name = signature_of(text); !name.empty())
    throw_bad_input("{} is not a tokenizer: it is {}", path, name);
  TokenLists lists;
  nlohmann::json json = parse_tokenizer_json(text, path, lists);
  const bool is_hugging_face = json.is_object() && !json.contains("type") && json.contains("model") &&
                               !(json.contains("config") && json.contains("vocab"));
  if (is_hugging_face && is_plain_bpe(json)) return read_plain_bpe(json, lists, path, end_of_text);
  put_back(lists, json);
  lists = {};
  if (json.is_object() && json.contains("type")) return load_typed(json, path, end_of_text);
  if (json.is_object() && json.contains("config") && json.contains("vocab"))
    return read_tekken(json, path, end_of_text);
  if (!json.is_object() || !json.contains("model")) {
    throw_bad_input(
        "{} is not a tokenizer: it has neither \"model\" (Hugging Face) nor \"type\" (trireme) nor "
        "\"config\" and \"vocab\" (tekken). For GPT-2's encoder.json with vocab.bpe give their directory",
        path);
  }
  return read_tokenizer_json(json, path, end_of_text);
}

bool begins_like_gguf(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return false;
  std::array<char, 4> magic{};
  std::ifstream file(path, std::ios::binary);
  return file.read(magic.data(), magic.size()) && std::string_view(magic.data(), magic.size()) == "GGUF";
}

std::unique_ptr<Tokenizer> load_file(const std::string& path, const std::string& end_of_text) {
  if (begins_like_gguf(path)) return read_gguf_tokenizer(GgufReader(path), end_of_text);
  return read_tokenizer(read_text_file(path), path, end_of_text);
}

template <class Trainer>
void show_text(const TextInput& input, Trainer& trainer) {
  bool is_empty = true;
  for_each_document(input, [&](const Document& document) {
    trainer.add(document.text, document.origin);
    is_empty = false;
  });
  if (is_empty) throw_bad_input("{} holds no text to train a tokenizer on", fmt::join(input.files, ", "));
}

}  // namespace

std::unique_ptr<Tokenizer> read_tokenizer(const std::string& bytes, const std::string& name,
                                          const std::string& end_of_text) {
  if (begins_like_ranks(bytes)) return read_tiktoken(bytes, name, end_of_text);
  if (begins_like_sentencepiece(bytes)) return read_sentencepiece(bytes, name, end_of_text);
  return load_json(bytes, name, end_of_text);
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& spec, const std::string& end_of_text) {
  const TokenizerKind kind = tokenizer_kind(spec);
  if (kind == TokenizerKind::byte && !end_of_text.empty()) refuse_end_of_text(spec, end_of_text);
  if (kind == TokenizerKind::byte) return std::make_unique<ByteTokenizer>();
  if (is_made_from_text(kind)) {
    throw_usage("the tokenizer '{}' must be trained on text; give its file, or a text", spec);
  }
  return is_folder(spec) ? load_tokenizer_folder(spec, end_of_text) : load_file(spec, end_of_text);
}

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& spec, const TextInput& input,
                                          int64_t bpe_vocab_size, const std::string& end_of_text) {
  const TokenizerKind kind = tokenizer_kind(spec);
  if (is_made_from_text(kind) && !end_of_text.empty()) refuse_end_of_text(spec, end_of_text);
  if (kind == TokenizerKind::chars) {
    CharTrainer trainer;
    show_text(input, trainer);
    return trainer.train();
  }
  if (kind == TokenizerKind::bpe) {
    BpeTrainer trainer;
    show_text(input, trainer);
    return trainer.train(bpe_vocab_size);
  }
  return load_tokenizer(spec, end_of_text);
}

}  // namespace trireme
