#include "launch/compress/block_files.h"

#include <filesystem>
#include <set>
#include <utility>

#include "models/formats/mapped_weights.h"
#include "models/formats/open_weights.h"
#include "models/formats/quantized/quantized_files.h"
#include "runtime/base/error.h"
#include "runtime/base/half.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/files/durable_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

std::string file_of_block(const std::string& directory, int64_t index) {
  return fmt::format("{}/{}.safetensors", directory,
                     index < 0 ? "embeddings" : fmt::format("block-{:05}", index));
}

constexpr const char* kNothing = ".nothing";

bool is_block_finished(const std::string& directory, int64_t index) {
  const std::string file = file_of_block(directory, index);
  std::error_code ignored;
  return fs::exists(file, ignored) || fs::exists(file + kNothing, ignored);
}

class RoundedSource final : public WeightSource {
 public:
  RoundedSource(std::shared_ptr<const WeightSource> source, std::function<bool(std::string_view)> keeps)
      : source_(std::move(source)), keeps_(std::move(keeps)) {}

  const std::string& path() const override { return source_->path(); }
  std::map<std::string, StoredKind, std::less<>> kinds() const override { return source_->kinds(); }
  void read(std::string_view name, const Parameter& p, std::span<float> values) const override {
    source_->read(name, p, values);
    if (!is_rounded(name, p)) return;
    for (float& value : values) value = static_cast<float>(bf16(value));
  }
  std::optional<StoredMatrix> stored(std::string_view name, const Parameter& p) const override {
    if (is_rounded(name, p)) return std::nullopt;
    return source_->stored(name, p);
  }
  std::optional<ops::CodedMatrix> coded(std::string_view name, const Parameter& p) const override {
    return source_->coded(name, p);
  }
  std::optional<ops::PackedSpec> coded_spec(std::string_view name, const Parameter& p) const override {
    return source_->coded_spec(name, p);
  }

 private:
  bool is_rounded(std::string_view name, const Parameter& p) const {
    return p.global_shape.rank() == 2 && !keeps_(name) && !source_->coded_spec(name, p);
  }

  std::shared_ptr<const WeightSource> source_;
  std::function<bool(std::string_view)> keeps_;
};

/// What is read of a source, and not how it is stored.
class ValueSource final : public WeightSource {
 public:
  explicit ValueSource(std::shared_ptr<const WeightSource> source) : source_(std::move(source)) {}

  const std::string& path() const override { return source_->path(); }
  std::map<std::string, StoredKind, std::less<>> kinds() const override { return source_->kinds(); }
  void read(std::string_view name, const Parameter& p, std::span<float> values) const override {
    source_->read(name, p, values);
  }

 private:
  std::shared_ptr<const WeightSource> source_;
};

/// A source without some of its tensors, for one that lies over another.
class PartialSource final : public WeightSource {
 public:
  PartialSource(std::shared_ptr<const WeightSource> source, std::set<std::string, std::less<>> without)
      : source_(std::move(source)), without_(std::move(without)) {}

  const std::string& path() const override { return source_->path(); }
  std::map<std::string, StoredKind, std::less<>> kinds() const override {
    auto kinds = source_->kinds();
    std::erase_if(kinds, [this](const auto& entry) { return without_.contains(entry.first); });
    return kinds;
  }
  void read(std::string_view name, const Parameter& p, std::span<float> values) const override {
    source_->read(name, p, values);
  }
  std::optional<StoredMatrix> stored(std::string_view name, const Parameter& p) const override {
    return source_->stored(name, p);
  }
  std::optional<ops::CodedMatrix> coded(std::string_view name, const Parameter& p) const override {
    return source_->coded(name, p);
  }
  std::optional<ops::PackedSpec> coded_spec(std::string_view name, const Parameter& p) const override {
    return source_->coded_spec(name, p);
  }

 private:
  std::shared_ptr<const WeightSource> source_;
  std::set<std::string, std::less<>> without_;
};

}  // namespace

BlockWriter::BlockWriter(std::string directory, const ModelConfig& config, OnBlock on_block)
    : directory_(std::move(directory)), config_(config), on_block_(std::move(on_block)) {}

void BlockWriter::matrix(const std::string& name, const ops::CodedMatrix& whole) {
  matrices_.insert_or_assign(name, whole);
}

void BlockWriter::values(const std::string& name, const Shape& shape, std::span<const float> whole) {
  values_.insert_or_assign(name, Values{shape, {whole.begin(), whole.end()}});
}

void BlockWriter::block_done(int64_t index) {
  std::vector<QuantizedTensor> tensors;
  for (const auto& [name, matrix] : matrices_)
    tensors.push_back({name, {matrix.outputs, matrix.inputs}, matrix.spec});
  for (const auto& [name, values] : values_) tensors.push_back({name, values.shape, std::nullopt});
  const std::string file = file_of_block(directory_, index);
  if (tensors.empty()) {  // a block that uses another's weights
    write_file_atomically(file + kNothing, "");
  } else {
    const QuantizedContent content{[this](const std::string& name) { return matrices_.at(name); },
                                   [this](const std::string& name) { return values_.at(name).numbers; }};
    FileCalls calls;
    remove_file(calls, file + ".unfinished");  // of an attempt that was killed
    write_quantized(file + ".unfinished", config_, tensors, content, {.values_type = DType::f32});
    rename_path(calls, file + ".unfinished", file);
    sync_directory(calls, directory_);
  }
  matrices_.clear();
  values_.clear();
  on_block_(index);
}

LayeredSource::LayeredSource(std::string path, std::vector<std::shared_ptr<const WeightSource>> layers)
    : path_(std::move(path)), layers_(std::move(layers)) {
  for (const auto& layer : layers_) {
    for (const auto& [name, kind] : layer->kinds()) places_.insert({name, layer.get()});
  }
}

const WeightSource& LayeredSource::of(std::string_view name) const {
  const auto found = places_.find(name);
  if (found == places_.end()) throw_bad_input("{}: there is no tensor {}", path_, name);
  return *found->second;
}

std::map<std::string, StoredKind, std::less<>> LayeredSource::kinds() const {
  std::map<std::string, StoredKind, std::less<>> all;
  for (const auto& layer : layers_) all.merge(layer->kinds());
  return all;
}

void LayeredSource::read(std::string_view name, const Parameter& p, std::span<float> values) const {
  of(name).read(name, p, values);
}

std::optional<StoredMatrix> LayeredSource::stored(std::string_view name, const Parameter& p) const {
  return of(name).stored(name, p);
}

std::optional<ops::CodedMatrix> LayeredSource::coded(std::string_view name, const Parameter& p) const {
  return of(name).coded(name, p);
}

std::optional<ops::PackedSpec> LayeredSource::coded_spec(std::string_view name, const Parameter& p) const {
  return of(name).coded_spec(name, p);
}

std::shared_ptr<const WeightSource> rounded_source(std::shared_ptr<const WeightSource> source,
                                                   std::function<bool(std::string_view)> keeps) {
  return std::make_shared<RoundedSource>(std::move(source), std::move(keeps));
}

std::shared_ptr<const WeightSource> values_of(std::shared_ptr<const WeightSource> source) {
  return std::make_shared<ValueSource>(std::move(source));
}

std::shared_ptr<const WeightSource> without_coded(std::shared_ptr<const WeightSource> source,
                                                  const std::shared_ptr<const WeightSource>& coded,
                                                  const ModelConfig& config) {
  std::set<std::string, std::less<>> names;
  for (const Parameter& p : parameters_of(config)) {
    if (coded->coded_spec(p.name, p)) names.insert(p.name);
  }
  return std::make_shared<PartialSource>(std::move(source), std::move(names));
}

FinishedBlocks finished_blocks(const std::string& directory, const ModelConfig& config, int64_t num_blocks) {
  std::vector<std::shared_ptr<const WeightSource>> files;
  std::error_code ignored;
  const auto add = [&](int64_t index) {
    const std::string file = file_of_block(directory, index);
    if (fs::exists(file, ignored)) files.push_back(open_weights({ModelFormat::own_file, file}, config));
  };
  FinishedBlocks finished;
  for (int64_t i = -1; i <= num_blocks && is_block_finished(directory, i); ++i, ++finished.count) add(i);
  if (!files.empty()) finished.source = std::make_shared<LayeredSource>(directory, std::move(files));
  return finished;
}

}  // namespace trireme::launch
