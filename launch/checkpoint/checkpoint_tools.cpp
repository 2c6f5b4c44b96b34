#include "launch/checkpoint/checkpoint_tools.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <set>

#include <fmt/ranges.h>

#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/weights/whole_tensors.h"
#include "runtime/base/error.h"
#include "runtime/base/half.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

int64_t bytes_of(const Manifest& manifest) {
  int64_t bytes = 0;
  for (const StoredFile& file : manifest.stored.files) bytes += file.bytes;
  return bytes;
}

/// The state as lines of a name and a value, in an order of its own.
std::vector<std::pair<std::string, std::string>> state_lines(const TrainingState& state) {
  std::vector<std::pair<std::string, std::string>> lines = {
      {"step", fmt::to_string(state.step)},
      {"updates", fmt::to_string(state.updates)},
      {"tokens", fmt::to_string(state.tokens)},
      {"data", fmt::format("epoch {}, sample {}", state.data.epoch, state.data.sample)},
      {"seed", fmt::to_string(state.seed)}};
  if (state.loss_scaler) {
    const LossScalerState& scaler = *state.loss_scaler;
    lines.emplace_back("loss scale", fmt::format("{}, {} clean steps, {} skips", scaler.scale,
                                                 scaler.clean_steps, scaler.skips));
  }
  if (state.best)
    lines.emplace_back("best",
                       fmt::format("validation loss {} of step {}", state.best->loss, state.best->step));
  for (const auto& [name, series] : state.z_scores)
    lines.emplace_back("mean of " + name, fmt::format("{}, variance {}", series.mean, series.variance));
  for (const auto& [name, values] : state.router_biases)
    lines.emplace_back(name + " biases", fmt::format("{}", fmt::join(values, " ")));
  for (const auto& [name, values] : state.router_loads)
    lines.emplace_back(name + " loads", fmt::format("{}", fmt::join(values, " ")));
  return lines;
}

std::vector<double> values_of(const std::vector<std::byte>& bytes, DType type) {
  const auto all = [&]<class T>(T element) {
    std::vector<double> values(bytes.size() / sizeof element);
    for (size_t i = 0; i < values.size(); ++i) {
      std::memcpy(&element, bytes.data() + i * sizeof element, sizeof element);
      values[i] = static_cast<double>(static_cast<float>(element));
    }
    return values;
  };
  if (type == DType::bf16) return all(bf16(0));
  if (type == DType::f16) return all(fp16(0));
  if (type == DType::f32) return all(0.0f);
  if (type == DType::u8) return all(uint8_t{0});  // masks
  return {};
}

/// How far apart two tensors are; empty: they are equal bit for bit.
std::string difference(const WholeTensors& one, const WholeTensors& other, const std::string& name) {
  const auto a = one.tensors().find(name), b = other.tensors().find(name);
  if (a == one.tensors().end()) return "only in the second";
  if (b == other.tensors().end()) return "only in the first";
  if (a->second != b->second)
    return fmt::format("{} of {} and {} of {}", to_string(a->second.shape), to_string(a->second.dtype),
                       to_string(b->second.shape), to_string(b->second.dtype));
  const std::vector<std::byte> x = one.read(name), y = other.read(name);
  if (x == y) return "";
  const auto u = values_of(x, a->second.dtype), v = values_of(y, a->second.dtype);
  double most = 0;
  size_t place = 0, count = 0;
  for (size_t i = 0; i < u.size(); ++i) {
    if (u[i] == v[i]) continue;
    ++count;
    if (const double apart = std::abs(u[i] - v[i]); !(apart <= most)) most = apart, place = i;
  }
  if (count == 0) return "bits differ";
  return fmt::format("{} of {} elements, at most {:.3g} apart: element {} is {:.9g} and {:.9g}", count,
                     u.size(), most, place, u[place], v[place]);
}

}  // namespace

std::vector<std::string> find_checkpoints(const std::string& path) {
  std::error_code error;
  if (fs::exists(fs::path(path) / kManifestName, error)) return {path};
  for (const fs::path& folder : {fs::path(path) / "checkpoints", fs::path(path)}) {
    std::vector<std::string> found;
    for (const int64_t step : checkpoint_steps(folder.string()))
      found.push_back((folder / checkpoint_name(step)).string());
    if (!found.empty()) return found;
  }
  throw_user(ExitCode::checkpoint, "{} is neither a checkpoint nor a run or directory with checkpoints",
             path);
}

void list_checkpoints(const std::string& path, std::FILE* out) {
  fmt::print(out, "{:>10} {:>16} {:>14} {:>6} {:32}  {}\n", "step", "tokens", "bytes", "files", "proof",
             "path");
  for (const std::string& found : find_checkpoints(path)) {
    try {
      const Manifest manifest = read_manifest(found);
      fmt::print(out, "{:>10} {:>16} {:>14} {:>6} {:32}  {}\n", manifest.state.step, manifest.state.tokens,
                 bytes_of(manifest), manifest.stored.files.size(), to_string(manifest.proof), found);
    } catch (const UserError& error) {
      fmt::print(out, "{:>10} {}\n", "damaged", error.what());
    }
  }
}

void verify_checkpoints(const std::string& path, std::FILE* out) {
  std::vector<std::string> damage;
  for (const std::string& found : find_checkpoints(path)) {
    const std::vector<std::string> errors = find_damage(found, true);
    if (errors.empty())
      fmt::print(out, "{} is intact: every hash matches, proof {}\n", found,
                 to_string(read_manifest(found).proof));
    damage.insert(damage.end(), errors.begin(), errors.end());
  }
  if (!damage.empty()) throw_user(ExitCode::checkpoint, "{}", fmt::join(damage, "\n  "));
}

void show_checkpoint(const std::string& path, std::FILE* out) {
  const WholeTensors checkpoint(find_checkpoints(path).front());
  const Manifest& manifest = checkpoint.manifest();
  fmt::print(out, "{}\n  proof {}\n  {} bytes in {} files, {} slices of {} tensors\n", checkpoint.path(),
             to_string(manifest.proof), bytes_of(manifest), manifest.stored.files.size(),
             manifest.stored.slices.size(), checkpoint.tensors().size());
  for (const auto& [name, value] : state_lines(manifest.state)) fmt::print(out, "  {}: {}\n", name, value);
  fmt::print(out, "options of the run\n");
  for (const auto& [key, value] : manifest.state.config) {
    if (!value.empty()) fmt::print(out, "  {} = {}\n", key, value);
  }
  fmt::print(out, "tensors\n");
  for (const auto& [name, tensor] : checkpoint.tensors())
    fmt::print(out, "  {} {} {}\n", name, to_string(tensor.dtype), to_string(tensor.shape));
}

bool diff_checkpoints(const std::string& one, const std::string& other, std::FILE* out) {
  const WholeTensors a(find_checkpoints(one).front()), b(find_checkpoints(other).front());
  bool is_same = true;
  const auto tell = [&](const std::string& name, const std::string& words) {
    fmt::print(out, "{}: {}\n", name, words);
    is_same = false;
  };
  const auto x = state_lines(a.manifest().state), y = state_lines(b.manifest().state);
  const TextMap p(x.begin(), x.end()), q(y.begin(), y.end());
  const auto compare = [&](const TextMap& first, const TextMap& second, auto&& say) {
    std::set<std::string> keys;
    for (const TextMap* map : {&first, &second}) {
      for (const auto& [key, value] : *map) keys.insert(key);
    }
    for (const std::string& key : keys) {
      const auto u = first.find(key), v = second.find(key);
      const std::string before = u == first.end() ? "none" : u->second,
                        after = v == second.end() ? "none" : v->second;
      if (before != after) say(key, fmt::format("{} and {}", before, after));
    }
  };
  compare(p, q, tell);
  std::set<std::string> names;
  for (const WholeTensors* tensors : {&a, &b}) {
    for (const auto& [name, tensor] : tensors->tensors()) names.insert(name);
  }
  for (const std::string& name : names) {
    if (const std::string words = difference(a, b, name); !words.empty()) tell(name, words);
  }
  compare(a.manifest().state.config, b.manifest().state.config,
          [&](const std::string& key, const std::string& words) {
            fmt::print(out, "option {}: {}\n", key, words);
          });
  fmt::print(out, "{}\n",
             is_same ? fmt::format("the state is the same, proof {}", to_string(a.manifest().proof))
                     : "the states differ");
  return is_same;
}

}  // namespace trireme::launch
