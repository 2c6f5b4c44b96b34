// What a model that is only read is refused for, by name.
#include <filesystem>

#include "models/formats/gguf_config.h"
#include "models/formats/gguf_model_file.h"
#include "tests/models/formats/gguf_cases.h"
#include "tests/models/inference/loading.h"
#include "tests/support/expect_error.h"

namespace trireme::test {
namespace {

class LoadingErrors : public testing::Test {
 protected:
  void expect(ExitCode code, std::initializer_list<std::string_view> parts, const std::string& path,
              const ModelConfig& config, const InferenceOptions& options = {}) {
    const auto self = make_self_communicator();
    Context ctx;
    expect_error(code, parts, [&] { InferenceModel(ctx, *self, path, config, options); });
  }
  std::string gguf(GgufFileType type) const {
    const GgufModel model = write_gguf_config(config_);
    const std::string file = folder_.path("model.gguf");
    write_gguf_model(file, config_, model, gguf_metadata(model, type, {}, {}), type,
                     {drawn_weights(config_)});
    return file;
  }

  TemporaryFolder folder_;
  ModelConfig config_ = small_of(ModelFamily::llama);
};

TEST_F(LoadingErrors, FilesThatAreNotThereOrCutOff) {
  expect(ExitCode::bad_input, {folder_.path("none.gguf")}, folder_.path("none.gguf"), {});
  expect(ExitCode::bad_input, {folder_.path(), "model.safetensors"}, folder_.path(), {});
  const std::string file = gguf(GgufFileType::q8_0);
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 100);
  expect(ExitCode::bad_input, {file, "truncated"}, file, {});
  const TemporaryFolder own;
  const ModelConfig config = tiny_model(ModelFamily::llama);
  const std::string saved = saved_file(own, config);
  std::filesystem::resize_file(saved, std::filesystem::file_size(saved) - 4);
  expect(ExitCode::bad_input, {saved}, saved, config);
}

TEST_F(LoadingErrors, OtherModels) {
  const TemporaryFolder folder;
  ModelConfig config = tiny_model(ModelFamily::llama);
  const std::string file = saved_file(folder, config);
  config.ffn_size = 44;
  expect(ExitCode::bad_input, {file, "layers.0.ffn.gate.weight is [40, 24], in the model [44, 24]"}, file,
         config);
  config = tiny_model(ModelFamily::llama);
  config.num_layers = 4;
  expect(ExitCode::bad_input, {file, "layers.3", "is missing"}, file, config);
}

TEST_F(LoadingErrors, LayoutsThatDoNotFit) {
  const std::string file = gguf(GgufFileType::f32);
  expect(ExitCode::usage, {"tensor 2", "start 2"}, file, {}, {.plan = {.data = 1, .tensor = 2}});
  expect(ExitCode::usage, {"parallel.zero-stage 1"}, file, {}, {.plan = {.zero_stage = 1}});
  run_thread_ranks(3, [&](Communicator& world) {
    Context ctx;
    expect_error(ExitCode::usage, {"model.heads 4 does not divide by parallel.tensor 3"},
                 [&] { InferenceModel(ctx, world, file, {}, {.plan = {.tensor = 3}}); });
  });
  run_thread_ranks(2, [&](Communicator& world) {
    Context ctx;
    expect_error(ExitCode::usage, {"parallel.context 2"},
                 [&] { InferenceModel(ctx, world, file, {}, {.plan = {.context = 2}}); });
  });
  expect(ExitCode::usage, {"sequences of 200 tokens", "128 positions"}, file, {}, {.max_seq_len = 200});
}

TEST_F(LoadingErrors, FormatsThatAreNotThere) {
  using ops::PackedFormat;
  const std::string file = gguf(GgufFileType::q8_0);
  const auto in = [](const ops::PackedSpec& spec) {
    InferenceOptions options;
    options.weights = spec;
    return options;
  };
  expect(ExitCode::usage, {"q4_k", file, "embedding.tokens.weight in q8_0", "int4"}, file, {},
         in({PackedFormat::q4_k}));
  expect(ExitCode::usage, {"int4", "48", "32, 64 or 128"}, file, {}, in({PackedFormat::int4, 48}));
  expect(ExitCode::usage, {"bf16", "32"}, file, {}, in({PackedFormat::bf16, 32}));
  run_thread_ranks(4, [&](Communicator& world) {
    Context ctx;
    InferenceOptions options = in({PackedFormat::q8_0});
    options.plan = {.tensor = 4};
    expect_error(ExitCode::usage,
                 {"q8_0", "layers.0.attention.output.weight", "blocks of 32", "tensor-parallel degree"},
                 [&] { InferenceModel(ctx, world, file, {}, options); });
  });
}

TEST_F(LoadingErrors, ValuesThatAreNotFinite) {
  const TemporaryFolder folder;
  const ModelConfig config = tiny_model(ModelFamily::llama);
  const auto self = make_self_communicator();
  Context ctx;
  const std::string file = saved_file(folder, config);
  const auto place = [&] {  // of an element in the file, which ends with a tensor
    const SafetensorsReader reader(file);
    const std::byte* end = nullptr;
    for (const auto& [name, tensor] : reader.tensors())
      end = std::max(end, tensor.bytes.data() + tensor.bytes.size());
    return static_cast<int64_t>(std::filesystem::file_size(file)) -
           (end - reader.at("layers.1.ffn.down.weight").bytes.data()) + 28;
  }();
  std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
  const float infinity = std::numeric_limits<float>::infinity();
  f.seekp(place);
  f.write(reinterpret_cast<const char*>(&infinity), sizeof infinity);
  f.close();
  InferenceOptions options;
  options.weights = ops::PackedSpec{ops::PackedFormat::int8, 32};
  expect(ExitCode::bad_input, {file, "layers.1.ffn.down.weight"}, file, config, options);
  InferenceModel(ctx, *self, file, config, {});  // floats are what they are
}

TEST_F(LoadingErrors, DamagedCheckpoints) {
  const TemporaryFolder folder;
  const ModelConfig config = tiny_model(ModelFamily::llama);
  const std::string checkpoint = saved_checkpoint(folder.path(), config, {.data = 2, .zero_stage = 1});
  const Manifest manifest = read_manifest(checkpoint);
  for (size_t i = 0; i < manifest.stored.slices.size(); i += 3) {
    const StoredSlice& slice = manifest.stored.slices[i];
    const std::string file = checkpoint + "/" + manifest.stored.files[slice.file].name;
    const auto flip = [&] {
      std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
      f.seekg(slice.begin);
      const auto byte = static_cast<char>(f.get() ^ 1);
      f.seekp(slice.begin);
      f.put(byte);
    };
    flip();
    if (slice.slice.name.starts_with("optimizer.")) {
      const auto self = make_self_communicator();
      Context ctx;
      InferenceModel(ctx, *self, checkpoint, config, {});
    } else {
      expect(ExitCode::checkpoint, {file, slice.slice.name, "damaged"}, checkpoint, config);
    }
    flip();
  }
  std::filesystem::resize_file(checkpoint + "/" + manifest.stored.files[0].name, 100);
  expect(ExitCode::checkpoint, {"incomplete"}, checkpoint, config);
}

}  // namespace
}  // namespace trireme::test
