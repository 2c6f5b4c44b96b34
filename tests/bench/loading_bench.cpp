// How long a model that is only read takes to load, by the clock: best of several, so that the file is in the
// page cache; and how long its file takes to be read once.
//   loading_bench PATH [THREADS [WEIGHTS [TIMES]]]
// PATH: a GGUF file, a directory of transformers, or a .safetensors file with config.json beside it. WEIGHTS:
// file, f32, bf16, f16, int8, int4 (in groups of 32), or int8-channel.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "models/inference/inference_model.h"
#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/io/files/mapped_file.h"

namespace trireme {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kMega = 1e6;

std::optional<ops::PackedSpec> spec_of(std::string_view name) {
  using enum ops::PackedFormat;
  if (name == "file") return std::nullopt;
  if (name == "int8-channel") return ops::PackedSpec{int8};
  for (const auto format : {f32, bf16, f16, int8, int4}) {
    const bool has_groups = format == int8 || format == int4;
    const ops::PackedSpec spec{format, has_groups ? 32 : 0};
    if (ops::to_string(ops::PackedSpec{format}).starts_with(name)) return spec;
  }
  throw_usage("weights {}: file, f32, bf16, f16, int8, int4 or int8-channel", name);
}

double seconds_to_read(const std::string& path) {
  std::vector<std::string> files;
  if (std::filesystem::is_directory(path)) {
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
    }
  } else {
    files.push_back(path);
  }
  const auto begin = Clock::now();
  uint64_t sum = 0;
  for (const std::string& file : files) {
    const MappedFile mapped(file);
    for (size_t at = 0; at + sizeof(uint64_t) <= mapped.size(); at += sizeof(uint64_t)) {
      uint64_t word;
      std::memcpy(&word, mapped.bytes().data() + at, sizeof word);
      sum += word;
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return sum == 1 ? 0 : seconds;
}

int run(int argc, char** argv) {
  if (argc < 2) throw_usage("loading_bench PATH [THREADS [WEIGHTS [TIMES]]]");
  const std::string path = argv[1];
  const int num_threads = argc > 2 ? std::atoi(argv[2]) : 1, times = argc > 4 ? std::atoi(argv[4]) : 3;
  InferenceOptions options;
  if (argc > 3) options.weights = spec_of(argv[3]);
  const auto self = make_self_communicator();
  LoadReport best;
  double read = 0;
  for (int i = 0; i < times; ++i) {
    Context ctx(Device{}, num_threads);
    const InferenceModel model(ctx, *self, path, {}, options);
    if (i == 0 || model.loaded().seconds < best.seconds) best = model.loaded();
    const double seconds = seconds_to_read(path);
    read = i == 0 ? seconds : std::min(read, seconds);
  }
  fmt::print(
      "{:.3f} s: {:.1f} MB of the file as {:.1f} MB of {}, {:.2f} GB/s; one thread reads it in {:.3f} s\n",
      best.seconds, static_cast<double>(best.file_bytes) / kMega,
      static_cast<double>(best.weight_bytes) / kMega, best.formats,
      static_cast<double>(best.file_bytes) / best.seconds / 1e9, read);
  return 0;
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  try {
    return trireme::run(argc, argv);
  } catch (const trireme::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return static_cast<int>(error.code());
  }
}
