#include "launch/commands/run_facts.h"

#include <algorithm>
#include <filesystem>

#include "launch/process/build_info.h"
#include "runtime/base/error.h"
#include "runtime/comm/mpi/mpi_environment.h"
#include "runtime/data/tokenizer_kind.h"
#include "runtime/io/digest/file_digest.h"

namespace trireme::launch {

namespace {

Fact unread(const std::string& key, const std::string& path) { return {key, "", path}; }

/// A file that every rank reads: one that cannot be read is a difference, or befalls all. Of a directory its
/// manifest, where it is a checkpoint.
Fact fact_of_file(const std::string& key, const std::string& path) {
  std::error_code unreadable;
  if (std::filesystem::is_directory(path, unreadable)) {
    const std::string manifest = (std::filesystem::path(path) / "manifest.json").string();
    return std::filesystem::exists(manifest, unreadable) ? fact_of_file(key, manifest) : Fact{key, path, ""};
  }
  try {
    const std::string digest = to_string(digest_file(path));
    return {key, digest, fmt::format("{} ({})", path, digest)};
  } catch (const UserError& error) {
    return {key, error.what(), ""};
  }
}

Fact fact_of_file_of_rank_0(const std::string& key, const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return unread(key, path);
  Fact fact = fact_of_file(key, path);
  if (fact.shown.empty()) fact.value.clear();
  return fact;
}

Fact fact_of(const Option& option, const RunConfig& config) {
  const std::string key = option.key(), text = option.value.get(config);
  if (text.empty()) return {key, "(none)", ""};
  if (key == "data.text" || (key == "data.tokenizer" && tokenizer_kind(text) == TokenizerKind::file))
    return fact_of_file_of_rank_0(key, text);
  const bool is_file = key == "data.tokens" || key == "data.valid-tokens" || key == "model.init-from" ||
                       (key == "parallel.schedule" && config.parallel.schedule.is_file());
  return is_file ? fact_of_file(key, text) : Fact{key, text, ""};
}

/// What Megatron keeps beside its .bin.
void add_index(std::vector<Fact>& facts, const std::string& key, const std::string& path) {
  std::filesystem::path index = path;
  if (index.extension() != ".bin") return;
  index.replace_extension(".idx");
  std::error_code error;
  if (std::filesystem::exists(index, error)) facts.push_back(fact_of_file(key, index.string()));
}

}  // namespace

std::vector<Fact> build_facts(const RankPlace& place) {
  const BuildInfo info = build_info();
  std::vector<Fact> facts = {{"version", info.version, ""}, {"compiler", info.compiler, ""}};
  for (const auto& [name, version] : info.libraries) facts.push_back({name, version, ""});
  if (place.mpi != nullptr) facts.push_back({"MPI at run time", place.mpi->version(), ""});
  std::error_code error;
  const std::string path = std::filesystem::read_symlink("/proc/self/exe", error).string();
  facts.push_back(error ? unread("program", "") : fact_of_file_of_rank_0("program", path));
  return facts;
}

std::vector<Fact> config_facts(const RunConfig& config, std::span<const Option> options) {
  std::vector<Fact> facts;
  for (const Option& option : options) {
    const std::string key = option.key();  // what may differ from host to host
    if (key != "run.dir" && key != "run.threads" && key != "run.watch-interface")
      facts.push_back(fact_of(option, config));
  }
  add_index(facts, "index of data.tokens", config.data.tokens);
  add_index(facts, "index of data.valid-tokens", config.data.valid_tokens);
  return facts;
}

}  // namespace trireme::launch
