#include "runtime/data/tokenizer/files/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/json_steps.h"
#include "runtime/data/tokenizer/huggingface_json.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/json_file.h"

namespace trireme {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kRoles[] = {"bos", "eos", "unk", "pad", "sep", "cls", "mask"};

// A token is its content, or an object that has it.
std::string content_of(const json& token, const std::string& what, const std::string& file) {
  return token.is_object() ? json_string(json_member(token, "content", file), what, file)
                           : json_string(token, what, file);
}

void read_roles(const json& root, const std::string& file, TokenizerConfig& config) {
  for (const char* role : kRoles) {
    const std::string key = std::string(role) + "_token";
    if (is_absent(root, key.c_str())) continue;
    config.roles.emplace(role, content_of(root[key], fmt::format("\"{}\"", key), file));
  }
}

void add_token(AddedToken token, const std::string& file, TokenizerConfig& config) {
  for (const auto& other : config.added) {
    if (other.id == token.id && other.content == token.content) return;
    if (other.id == token.id || other.content == token.content) {
      throw_bad_input("{}: \"{}\" has the id {}, but elsewhere \"{}\" has {}", file, token.content, token.id,
                      other.content, other.id);
    }
  }
  config.added.push_back(std::move(token));
}

void read_added_decoder(const json& root, const std::string& file, TokenizerConfig& config) {
  if (is_absent(root, "added_tokens_decoder")) return;
  const json& list = root["added_tokens_decoder"];
  if (!list.is_object()) throw_bad_input("{}: \"added_tokens_decoder\" must be an object", file);
  for (const auto& [key, entry] : list.items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0)
      throw_bad_input("{}: \"{}\" in added_tokens_decoder is no id", file, key);
    json with_id = entry;
    if (!with_id.is_object()) throw_bad_input("{}: the added token {} must be an object", file, id);
    with_id["id"] = id;
    add_token(read_added_token(with_id, file), file, config);
  }
}

// added_tokens.json: contents and ids alone.
void read_added_list(const std::string& file, TokenizerConfig& config) {
  const json root = read_json_file(file);
  if (!root.is_object()) throw_bad_input("{} must be an object, found {}", file, root.type_name());
  for (const auto& [content, id] : root.items()) {
    AddedToken token;
    token.id =
        static_cast<int32_t>(json_index(id, INT32_MAX, fmt::format("the id of \"{}\"", content), file));
    token.content = content;
    token.special =
        std::ranges::any_of(config.roles, [&](const auto& role) { return role.second == token.content; });
    add_token(std::move(token), file, config);
  }
}

void read_templates(const json& root, const std::string& file, TokenizerConfig& config) {
  if (is_absent(root, "chat_template")) return;
  const json& value = root["chat_template"];
  if (value.is_string()) {
    config.chat_template = value.get<std::string>();
    return;
  }
  if (!value.is_array()) throw_bad_input("{}: \"chat_template\" must be a string or a list", file);
  for (const json& entry : value) {
    const auto name = json_string(json_member(entry, "name", file), "the name of a chat template", file);
    const auto text = json_string(json_member(entry, "template", file), "\"template\"", file);
    if (name == "default") {
      config.chat_template = text;
    } else {
      config.templates.emplace_back(name, text);
    }
  }
}

std::optional<bool> flag_of(const json& root, const char* key, const std::string& file) {
  if (is_absent(root, key)) return std::nullopt;
  return json_flag(root, key, false, file);
}

void read_generation(const std::string& file, TokenizerConfig& config) {
  const json root = read_json_file(file);
  const auto id_of = [&](const json& value, const char* key) {
    return static_cast<int32_t>(json_index(value, INT32_MAX, fmt::format("\"{}\"", key), file));
  };
  if (!root.is_object()) throw_bad_input("{} must be an object, found {}", file, root.type_name());
  if (!is_absent(root, "bos_token_id")) config.begin_id = id_of(root["bos_token_id"], "bos_token_id");
  if (is_absent(root, "eos_token_id")) return;
  const json& ends = root["eos_token_id"];
  if (!ends.is_array()) {
    config.stop_ids = {id_of(ends, "eos_token_id")};
    return;
  }
  for (const json& id : ends) config.stop_ids.push_back(id_of(id, "eos_token_id"));
}

}  // namespace

std::string TokenizerConfig::role(const std::string& name) const {
  const auto it = roles.find(name);
  return it == roles.end() ? "" : it->second;
}

TokenizerConfig read_tokenizer_config(const std::string& directory) {
  const fs::path folder(directory);
  TokenizerConfig config;
  const auto path_of = [&](const char* name) {
    std::error_code ignored;
    return fs::exists(folder / name, ignored) ? (folder / name).string() : std::string();
  };
  if (const auto file = path_of("tokenizer_config.json"); !file.empty()) {
    const json root = read_json_file(file);
    if (!root.is_object()) throw_bad_input("{} must be an object, found {}", file, root.type_name());
    if (!is_absent(root, "tokenizer_class"))
      config.tokenizer_class = json_string(root["tokenizer_class"], "\"tokenizer_class\"", file);
    read_roles(root, file, config);
    config.add_bos = flag_of(root, "add_bos_token", file);
    config.add_eos = flag_of(root, "add_eos_token", file);
    read_added_decoder(root, file, config);
    read_templates(root, file, config);
  }
  if (const auto file = path_of("special_tokens_map.json"); !file.empty()) {
    const json root = read_json_file(file);
    if (!root.is_object()) throw_bad_input("{} must be an object, found {}", file, root.type_name());
    read_roles(root, file, config);
  }
  if (const auto file = path_of("added_tokens.json"); !file.empty()) read_added_list(file, config);
  if (const auto file = path_of("generation_config.json"); !file.empty()) read_generation(file, config);
  if (const auto file = path_of("chat_template.jinja"); !file.empty())
    config.chat_template = read_text_file(file);
  std::ranges::sort(config.added, {}, &AddedToken::id);
  return config;
}

}  // namespace trireme
