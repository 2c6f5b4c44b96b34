#include "models/formats/hf/weight_files.h"

#include <algorithm>
#include <filesystem>

#include "models/formats/hf_tensors.h"
#include "runtime/base/error.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/strict_json.h"

namespace trireme::hf {

namespace fs = std::filesystem;

namespace {

constexpr const char* kOneFile = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

[[noreturn]] void refuse_directory(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory, error)) names.push_back(entry.path().filename());
  std::ranges::sort(names);
  for (const std::string& name : names) {
    if (name == "adapter_model.safetensors")
      throw_bad_input(
          "{}/{} is an adapter, and not a model: merge it into its model first (merge_and_unload() of "
          "peft)",
          directory, name);
  }
  for (const std::string& name : names) {
    if (is_pickled(name)) refuse_pickled(directory + "/" + name);
  }
  throw_bad_input("{} has neither {} nor {}", directory, kOneFile, kIndex);
}

}  // namespace

std::map<std::string, std::set<std::string>> indexed_files(const std::string& index) {
  constexpr int kMostDeep = 4;
  const nlohmann::json root = parse_strict_json(read_text_file(index), kMostDeep, index);
  const auto weights = root.is_object() ? root.find("weight_map") : root.end();
  if (!root.is_object() || weights == root.end() || !weights->is_object() || weights->empty())
    throw_bad_input("{} has no weight_map, an object of tensors and the files that hold them", index);
  std::map<std::string, std::set<std::string>> files;
  for (const auto& [tensor, value] : weights->items()) {
    const std::string file = value.is_string() ? value.get<std::string>() : "";
    const bool is_name = !file.empty() && file.find('/') == std::string::npos &&
                         file.find('\0') == std::string::npos && file != "." && file != "..";
    if (!is_name) {
      throw_bad_input("{}: tensor \"{}\" is in {}; the name of a file in the same directory was expected",
                      index, tensor,
                      value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(0, 200));
    }
    if (!file.ends_with(".safetensors"))
      throw_bad_input("{}: tensor \"{}\" is in {}; a .safetensors file was expected", index, tensor, file);
    files[file].insert(tensor);
  }
  return files;
}

bool is_pickled(std::string_view file) {
  for (const std::string_view end : {".bin", ".bin.index.json", ".pt", ".pth", ".ckpt"}) {
    if (file.ends_with(end)) return true;
  }
  return false;
}

void refuse_pickled(const std::string& file) {
  const std::string folder = fs::path(file).parent_path().string();
  const std::string directory = folder.empty() ? "." : folder;
  throw_bad_input(
      "{} holds pickled weights, which can run any code when they are read. Where you trust them, convert "
      "them:\n"
      "  python3 -c 'import sys, transformers as t; "
      "t.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=\"auto\").save_pretrained(sys.argv[2]); "
      "t.AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])' {} {}-safetensors",
      file, directory, directory == "." ? "model" : directory);
}

WeightFiles::WeightFiles(const std::string& directory) {
  std::error_code error;
  const fs::path folder = directory;
  if (fs::exists(folder / kOneFile, error)) {
    add((folder / kOneFile).string());
  } else if (fs::exists(folder / kIndex, error)) {
    add_indexed(directory, (folder / kIndex).string());
  } else {
    refuse_directory(directory);
  }
}

WeightFiles WeightFiles::of_file(const std::string& file) {
  WeightFiles files;
  files.add(file);
  return files;
}

void WeightFiles::add(const std::string& path) {
  files_.push_back(std::make_unique<SafetensorsReader>(path, is_hf_buffer));
  for (const auto& [name, tensor] : files_.back()->tensors()) {
    if (!tensors_.insert({name, tensor}).second)
      throw_bad_input("{}: tensor \"{}\" is in another file too", path, name);
  }
}

void WeightFiles::add_indexed(const std::string& directory, const std::string& index) {
  const auto files = indexed_files(index);
  for (const auto& [file, unused] : files) {
    std::error_code error;
    if (!fs::exists(fs::path(directory) / file, error))
      throw_bad_input("{} names {}, which is not there", index, file);
  }
  for (const auto& [file, expected] : files) {
    const std::string path = (fs::path(directory) / file).string();
    add(path);
    const auto& found = files_.back()->tensors();
    for (const std::string& name : expected) {
      if (!found.contains(name) && !is_hf_buffer(name))
        throw_bad_input("{}: tensor \"{}\" should be in {}, and is not", index, name, file);
    }
    for (const auto& [name, unused] : found) {
      if (!expected.contains(name))
        throw_bad_input("{} has tensor \"{}\", which {} does not have in this file", path, name, index);
    }
  }
}

}  // namespace trireme::hf
