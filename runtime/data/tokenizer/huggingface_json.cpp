#include "runtime/data/tokenizer/huggingface_json.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/bpe_model_builder.h"
#include "runtime/data/tokenizer/byte_alphabet.h"
#include "runtime/data/tokenizer/files/json_steps.h"
#include "runtime/data/tokenizer/pattern/pretokenizer.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/json_file.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

using nlohmann::json;

void read_byte_level(const json& step, bool is_alone, BpeModel& model, const std::string& name) {
  // Hugging Face's defaults where the fields are missing.
  if (json_flag(step, "use_regex", true, name)) model.patterns.emplace_back(kGpt2Pattern);
  model.add_prefix_space = json_flag(step, "add_prefix_space", true, name);
  if (model.add_prefix_space && !is_alone) {
    throw_bad_input("{}: ByteLevel with add_prefix_space inside a Sequence is not supported", name);
  }
}

void read_split(const json& step, BpeModel& model, const std::string& name) {
  const json& pattern = json_member(step, "pattern", name);
  const json& regex = json_member(pattern, "Regex", name);
  const std::string& behavior = json_string(json_member(step, "behavior", name), "Split behavior", name);
  // Inverted, what does not match is what gets removed: the matches are the pieces.
  const bool invert = json_flag(step, "invert", false, name), keeps_matches = behavior == "Removed" && invert;
  if (behavior != "Isolated" && !keeps_matches) {
    throw_bad_input(
        "{}: a Split with behavior {} and invert {} is not supported; Isolated, and Removed with invert, are",
        name, behavior, invert);
  }
  if (keeps_matches) model.drop_gaps.insert(model.patterns.size());
  model.patterns.push_back(json_string(regex, "Split pattern", name));
}

void read_pretokenizer(const json& pretokenizer, BpeModel& model, const std::string& name) {
  const std::string type = type_of(pretokenizer, "pre_tokenizer", name);
  if (type == "ByteLevel") return read_byte_level(pretokenizer, true, model, name);
  if (type != "Sequence") {
    throw_bad_input(
        "{}: the pre_tokenizer {} is not supported; ByteLevel, or a Sequence of Split and ByteLevel, is",
        name, type);
  }
  const json& steps = json_member(pretokenizer, "pretokenizers", name);
  bool done = false;
  if (!steps.is_array()) throw_bad_input("{}: \"pretokenizers\" must be a list", name);
  for (const json& step : steps) {
    const std::string step_type = type_of(step, "pre_tokenizer", name);
    if (step_type == "Split" && !done) {
      read_split(step, model, name);
    } else if (step_type == "ByteLevel" && !done) {
      read_byte_level(step, steps.size() == 1, model, name);
      done = true;
    } else {
      throw_bad_input(
          "{}: the pre_tokenizer {} is not supported at its place in a Sequence; Split steps and a "
          "ByteLevel at the end are",
          name, step_type);
    }
  }
  if (!done)
    throw_bad_input("{}: the pre_tokenizer does not end with ByteLevel; only byte-level BPE is supported",
                    name);
}

void read_added_tokens(const json& list, BpeModelBuilder& builder, const std::string& name) {
  if (!list.is_array())
    throw_bad_input("{}: \"added_tokens\" must be a list, found {}", name, list.type_name());
  for (const json& entry : list) builder.add_token(read_added_token(entry, name));
}

// A sequence of nothing does nothing; everything else changes the text.
void check_normalizer(const json& normalizer, const std::string& name) {
  const std::string type = type_of(normalizer, "normalizer", name);
  if (type != "Sequence") throw_bad_input("{}: the normalizer {} is not supported", name, type);
  const json& steps = json_member(normalizer, "normalizers", name);
  if (!steps.is_array()) throw_bad_input("{}: \"normalizers\" must be a list", name);
  for (const json& step : steps)
    throw_bad_input("{}: the normalizer {} is not supported", name, type_of(step, "normalizer", name));
}

void check_model_options(const json& model, const std::string& name) {
  const std::string type = is_absent(model, "type") ? "BPE" : type_of(model, "model", name);
  if (type != "BPE") throw_bad_input("{}: the model {} is not supported; BPE over bytes is", name, type);
  for (const char* key : {"unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!is_absent(model, key))
      throw_bad_input("{}: the model sets \"{}\", which byte-level BPE has no use for", name, key);
  }
  if (json_flag(model, "byte_fallback", false, name)) {
    throw_bad_input("{}: the model sets \"byte_fallback\"; only byte-level BPE is supported", name);
  }
  const auto dropout = model.find("dropout");
  if (dropout != model.end() && !dropout->is_null() &&
      !(dropout->is_number() && dropout->get<double>() == 0)) {
    throw_bad_input("{}: the model sets \"dropout\", which would make ids random", name);
  }
}

json pretokenizer_json(const BpeModel& model) {
  const auto byte_level = [&](bool use_regex) {
    return json{{"type", "ByteLevel"},
                {"add_prefix_space", model.add_prefix_space},
                {"trim_offsets", true},
                {"use_regex", use_regex}};
  };
  const bool is_gpt2 = model.patterns == std::vector<std::string>{std::string(kGpt2Pattern)};
  if (is_gpt2 && model.drop_gaps.empty()) return byte_level(true);
  if (model.patterns.empty()) return byte_level(false);
  json steps = json::array();
  for (size_t i = 0; i < model.patterns.size(); ++i) {
    const bool drops = model.drop_gaps.contains(i);
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", model.patterns[i]}}},
                     {"behavior", drops ? "Removed" : "Isolated"},
                     {"invert", drops}});
  }
  steps.push_back(byte_level(false));
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

// A Sequence of steps that all are splits which read_split knows, with ByteLevel at the end; or that alone.
bool splits_plainly(const json& splitter) {
  if (!splitter.is_object() || !splitter.contains("type")) return true;  // its error is the reader's
  if (splitter["type"] != "Sequence") return splitter["type"] == "ByteLevel";
  const json steps = splitter.value("pretokenizers", json::array());
  if (!steps.is_array() || steps.empty()) return false;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (!steps[i].is_object() || !steps[i].contains("type")) return true;
    if (i + 1 == steps.size()) {
      return steps[i]["type"] == "ByteLevel" &&
             (i == 0 || steps[i].value("add_prefix_space", json(true)) == false);
    }
    const bool is_inverted = steps[i].value("invert", json(false)) == true;
    const bool is_known = steps[i].value("behavior", json()) == (is_inverted ? "Removed" : "Isolated");
    const bool has_regex = steps[i].value("pattern", json::object()).contains("Regex");
    if (steps[i]["type"] != "Split" || !is_known || !has_regex) return false;
  }
  return true;
}

bool does_nothing(const json& normalizer) {
  return normalizer.is_object() && normalizer.value("type", json()) == "Sequence" &&
         normalizer.value("normalizers", json()) == json::array();
}

}  // namespace

AddedToken read_added_token(const json& entry, const std::string& name) {
  AddedToken token;
  token.content = json_string(json_member(entry, "content", name), "the content of an added token", name);
  token.id =
      static_cast<int32_t>(json_index(json_member(entry, "id", name), INT32_MAX,
                                      fmt::format("the id of the added token \"{}\"", token.content), name));
  token.special = json_flag(entry, "special", false, name);
  token.normalized = json_flag(entry, "normalized", !token.special, name);
  token.single_word = json_flag(entry, "single_word", false, name);
  token.lstrip = json_flag(entry, "lstrip", false, name);
  token.rstrip = json_flag(entry, "rstrip", false, name);
  return token;
}

json json_of_added_token(const AddedToken& token) {
  return {{"id", token.id},          {"content", token.content}, {"single_word", token.single_word},
          {"lstrip", token.lstrip},  {"rstrip", token.rstrip},   {"normalized", token.normalized},
          {"special", token.special}};
}

bool is_plain_bpe(const json& root) {
  if (!root.is_object() || !root.contains("model") || !root["model"].is_object()) return true;
  const json& model = root["model"];
  if (!is_absent(model, "type") && model["type"] != "BPE") return false;
  for (const char* key : {"unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!is_absent(model, key)) return false;
  }
  if (model.value("byte_fallback", json(false)) == true) return false;
  if (!is_absent(root, "normalizer") && !does_nothing(root["normalizer"])) return false;
  const json decoder = root.value("decoder", json());
  if (decoder.is_object() && decoder.value("type", json()) != "ByteLevel") return false;
  return !is_absent(root, "pre_tokenizer") && splits_plainly(root["pre_tokenizer"]);
}

BpeModel read_huggingface_json(const json& root, const std::string& name, const TokenLists& lists) {
  const json& model = json_member(root, "model", name);
  const json& vocab = json_member(model, "vocab", name);
  check_model_options(model, name);
  if (!is_absent(root, "normalizer")) check_normalizer(root["normalizer"], name);
  BpeModelBuilder builder(name);
  builder.model.ignore_merges = json_flag(model, "ignore_merges", false, name);
  read_pretokenizer(json_member(root, "pre_tokenizer", name), builder.model, name);
  builder.set_vocab(vocab, lists);
  if (!is_absent(root, "added_tokens")) read_added_tokens(root["added_tokens"], builder, name);
  builder.finish_tokens();
  if (builder.model.add_prefix_space &&
      std::ranges::find(builder.model.tokens, " ") == builder.model.tokens.end()) {
    throw_bad_input("{}: add_prefix_space needs a token for the space, which is not in the vocabulary", name);
  }
  if (!is_absent(root, "trireme_end_of_text")) {
    builder.model.end_of_text = json_string(root["trireme_end_of_text"], "\"trireme_end_of_text\"", name);
  }
  for_each_merge(lists, json_member(model, "merges", name), name,
                 [&](std::string_view left, std::string_view right, const std::string& where) {
                   builder.add_merge(left, right, where);
                 });
  if (!is_absent(root, "post_processor")) {
    BpeModel& read = builder.model;
    auto ids = read_post_processor(root["post_processor"], static_cast<int64_t>(read.tokens.size()), name);
    read.begin_ids = std::move(ids.before);
    read.end_ids = std::move(ids.after);
    if (!read.begin_ids.empty() || !read.end_ids.empty()) read.post_processor = root["post_processor"].dump();
  }
  return std::move(builder.model);
}

std::string write_huggingface_json(const BpeModel& model) {
  std::vector<bool> is_added(model.tokens.size());
  json added = json::array();
  for (const auto& token : model.added) {
    is_added[static_cast<size_t>(token.id)] = true;
    added.push_back(json_of_added_token(token));
  }
  json vocab = json::object(), merges = json::array();
  for (size_t id = 0; id < model.tokens.size(); ++id) {
    if (!is_added[id] && !model.tokens[id].empty()) vocab[spell_bytes(model.tokens[id])] = id;
  }
  for (const auto& merge : model.merges) {
    merges.push_back(spell_bytes(model.tokens[static_cast<size_t>(merge.left)]) + " " +
                     spell_bytes(model.tokens[static_cast<size_t>(merge.right)]));
  }
  const json bpe{{"type", "BPE"},          {"dropout", nullptr},
                 {"unk_token", nullptr},   {"continuing_subword_prefix", nullptr},
                 {"fuse_unk", false},      {"end_of_word_suffix", nullptr},
                 {"byte_fallback", false}, {"ignore_merges", model.ignore_merges},
                 {"vocab", vocab},         {"merges", merges}};
  json root{
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer", pretokenizer_json(model)},
      {"post_processor", model.post_processor.empty() ? json() : json::parse(model.post_processor)},
      {"decoder",
       {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
      {"model", bpe}};
  // A key of ours, so that the file gives the same tokenizer again.
  if (!model.end_of_text.empty()) root["trireme_end_of_text"] = model.end_of_text;
  return root.dump() + "\n";
}

BpeModel read_gpt2_files(const std::string& vocab_path, const std::string& merges_path,
                         const std::vector<AddedToken>& added) {
  const json vocab = read_json_file(vocab_path);
  BpeModelBuilder builder(vocab_path);
  builder.model.patterns.emplace_back(kGpt2Pattern);
  builder.set_vocab(vocab);
  for (const auto& token : added) builder.add_token(token);
  const bool has_end = std::ranges::find(added, "<|endoftext|>", &AddedToken::content) != added.end();
  if (const auto it = vocab.find("<|endoftext|>"); it != vocab.end() && !has_end) {
    builder.add_token({it->get<int32_t>(), "<|endoftext|>", true});
  }
  builder.finish_tokens();

  const std::string merges = read_text_file(merges_path);
  check_utf8(merges, {merges_path, 0});
  size_t line_number = 0;
  for (size_t begin = 0; begin < merges.size();) {
    const size_t end = std::min(merges.find('\n', begin), merges.size());
    std::string_view line = std::string_view(merges).substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    begin = end + 1;
    ++line_number;
    if (line.empty() || (line_number == 1 && line.starts_with("#version"))) continue;
    const std::string where = fmt::format("the merge at {}:{}", merges_path, line_number);
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
      throw_bad_input("{} is \"{}\"; two tokens with a space between are needed", where, line);
    }
    builder.add_merge(line.substr(0, space), line.substr(space + 1), where);
  }
  return std::move(builder.model);
}

}  // namespace trireme
