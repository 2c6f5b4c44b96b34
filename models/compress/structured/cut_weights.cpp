#include "models/compress/structured/cut_weights.h"

#include <algorithm>
#include <utility>

#include "models/spec/describe.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

using Units = std::vector<int64_t>;

/// Units of `size` neighbours each, element by element.
Units elements_of(const Units& units, int64_t size) {
  Units elements;
  for (const int64_t unit : units) {
    for (int64_t i = 0; i < size; ++i) elements.push_back(unit * size + i);
  }
  return elements;
}

/// A tensor of the smaller model: of which one it is a part.
struct CutTensor {
  Parameter was;
  Shape shape;
  Units rows, columns;  ///< that stay; of a dim that stays whole none
};

/// A parameter's place in the model as it was.
using CutTensors = std::map<std::string, CutTensor, std::less<>>;

class TensorCutter {
 public:
  TensorCutter(const ModelConfig& config, const ModelConfig& left, const KeptUnits& kept)
      : was_(spec_of(config)), is_(spec_of(left)), kept_(kept) {}

  CutTensors cut() {
    add_embedding_and_head();
    for (int64_t i = 0; i < is_.num_blocks(); ++i) {
      const KeptLayer& kept = kept_[static_cast<size_t>(i)];
      if (is_.weights_of(i) == i) add_block(i, kept);
      if (is_.blocks[static_cast<size_t>(i)].mixture) add_router_bias(i, kept);
    }
    return std::move(tensors_);
  }

 private:
  void add(const Parameter& was, const Parameter& is, Units rows, Units columns) {
    const auto of_dim = [&](int dim, Units& units) {
      if (std::ssize(units) == was.global_shape[dim]) units.clear();
      TRIREME_CHECK(is.global_shape[dim] == (units.empty() ? was.global_shape[dim] : std::ssize(units)),
                    "{} is {}, of {}", is.name, to_string(is.global_shape), to_string(was.global_shape));
    };
    of_dim(0, rows);
    if (was.global_shape.rank() == 2) of_dim(1, columns);
    tensors_[is.name] = {was, is.global_shape, std::move(rows), std::move(columns)};
  }

  static Units all(int64_t count) { return elements_of({0}, count); }

  void add_same(const ParameterBlock& was, const ParameterBlock& is) {
    for (size_t m = 0; m < is.members.size(); ++m)
      add(was.members[m], is.members[m], all(was.members[m].global_shape[0]), {});
  }
  void add_same(const NormParameters& was, const NormParameters& is) {
    add_same(was.gain, is.gain);
    add_same(was.bias, is.bias);
  }

  void add_embedding_and_head() {
    const ParameterDescription was(was_), is(is_);
    const EmbeddingParameters embedding = was.embedding(), embedding_left = is.embedding();
    add_same(embedding.tokens, embedding_left.tokens);
    add_same(embedding.positions, embedding_left.positions);
    const HeadParameters head = was.head(true), head_left = is.head(true);
    add_same(head.norm, head_left.norm);
    add_same(head.weight, head_left.weight);
  }

  void add_block(int64_t index, const KeptLayer& kept) {
    const BlockParameters was = ParameterDescription(was_).block(kept.layer),
                          is = ParameterDescription(is_).block(index);
    add_same(was.attention_norm, is.attention_norm);
    add_same(was.attention_post_norm, is.attention_post_norm);
    add_same(was.ffn_norm, is.ffn_norm);
    add_same(was.ffn_post_norm, is.ffn_post_norm);
    const int64_t head_dim = was_.blocks[static_cast<size_t>(kept.layer)].attention.head_dim;
    add_attention(was.attention, is.attention, elements_of(kept.heads, head_dim),
                  elements_of(kept.kv_heads, head_dim));
    if (is.feed_forward) add_feed_forward(*was.feed_forward, *is.feed_forward, kept.neurons.front());
    if (!is.mixture) return;
    add(was.mixture->router.members.front(), is.mixture->router.members.front(), kept.experts, {});
    add_experts(was.mixture->up, is.mixture->up, kept, true);
    add_experts(was.mixture->down, is.mixture->down, kept, false);
    if (is.mixture->shared) add_feed_forward(*was.mixture->shared, *is.mixture->shared, kept.shared_neurons);
  }

  void add_attention(const AttentionParameters& was, const AttentionParameters& is, const Units& queries,
                     const Units& keys) {
    for (const auto& [from, to] :
         {std::pair(&was.qkv.weight, &is.qkv.weight), {&was.qkv.bias, &is.qkv.bias}}) {
      for (size_t m = 0; m < to->members.size(); ++m)
        add(from->members[m], to->members[m], m == 0 ? queries : keys, all(was_.hidden_size));
    }
    add_same(was.query_norm, is.query_norm);
    add_same(was.key_norm, is.key_norm);
    add_columns(was.output, is.output, queries);
  }

  void add_feed_forward(const FeedForwardParameters& was, const FeedForwardParameters& is,
                        const Units& neurons) {
    for (const auto& [from, to] : {std::pair(&was.up.weight, &is.up.weight), {&was.up.bias, &is.up.bias}}) {
      for (size_t m = 0; m < to->members.size(); ++m)
        add(from->members[m], to->members[m], neurons, all(was_.hidden_size));
    }
    add_columns(was.down, is.down, neurons);
  }

  void add_columns(const LinearParameters& was, const LinearParameters& is, const Units& columns) {
    add(was.weight.members.front(), is.weight.members.front(), all(was_.hidden_size), columns);
    add_same(was.bias, is.bias);
  }

  void add_experts(const ParameterBlock& was, const ParameterBlock& is, const KeptLayer& kept, bool up) {
    const size_t per_expert = is.members.size() / kept.experts.size();
    for (size_t m = 0; m < is.members.size(); ++m) {
      const size_t e = m / per_expert, from = static_cast<size_t>(kept.experts[e]);
      const Units hidden = all(was_.hidden_size);
      const Units& neurons = kept.neurons[e];
      add(was.members[from * per_expert + m % per_expert], is.members[m], up ? neurons : hidden,
          up ? hidden : neurons);
    }
  }

  // State beside the parameters, of each router its own.
  void add_router_bias(int64_t index, const KeptLayer& kept) {
    const int64_t experts = was_.blocks[static_cast<size_t>(kept.layer)].mixture->routing.num_experts;
    const auto bias = [](int64_t layer, int64_t count) {
      return Parameter::whole(router_name(layer) + ".bias", {count}, 0, 0);
    };
    add(bias(kept.layer, experts), bias(index, std::ssize(kept.experts)), kept.experts, {});
  }

  ModelSpec was_, is_;
  const KeptUnits& kept_;
  CutTensors tensors_;
};

class CutWeights final : public WeightSource {
 public:
  CutWeights(std::shared_ptr<const WeightSource> source, CutTensors tensors)
      : source_(std::move(source)), tensors_(std::move(tensors)) {
    const auto there = source_->kinds();
    for (const auto& [name, tensor] : tensors_) {
      if (const auto found = there.find(tensor.was.name); found != there.end())
        kinds_[name] = {tensor.shape, found->second.dtype};
    }
  }

  const std::string& path() const override { return source_->path(); }
  std::map<std::string, StoredKind, std::less<>> kinds() const override { return kinds_; }

  void read(std::string_view name, const Parameter& p, std::span<float> values) const override {
    const CutTensor& tensor = at(name);
    if (is_whole(tensor)) return source_->read(tensor.was.name, as_it_was(tensor, p), values);
    const bool is_matrix = p.shape.rank() == 2;
    const Units rows = part_of_dim(tensor.rows, p, 0),
                columns = is_matrix ? part_of_dim(tensor.columns, p, 1) : Units{0};
    if (rows.empty() || columns.empty()) return;
    const int64_t first_column = columns.front(), width = columns.back() + 1 - first_column;
    std::vector<float> buffer;
    for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
      // Rows that went are read along, which is cheaper than one read a row; as many as this at once.
      constexpr int64_t kMostNumbers = int64_t{1} << 22;
      for (end = begin + 1; end < rows.size() && (rows[end] + 1 - rows[begin]) * width <= kMostNumbers;)
        ++end;
      const int64_t first_row = rows[begin], height = rows[end - 1] + 1 - first_row;
      Parameter block = as_it_was(tensor, p);
      block.offset = is_matrix ? Shape{first_row, first_column} : Shape{first_row};
      block.shape = is_matrix ? Shape{height, width} : Shape{height};
      buffer.resize(static_cast<size_t>(height * width));
      source_->read(tensor.was.name, block, buffer);
      auto to = values.begin() + static_cast<int64_t>(begin) * std::ssize(columns);
      for (size_t r = begin; r < end; ++r) {
        const float* row = buffer.data() + (rows[r] - first_row) * width;
        for (const int64_t c : columns) *to++ = row[c - first_column];
      }
    }
  }

  // What stays whole is as the source has it.
  std::optional<StoredMatrix> stored(std::string_view name, const Parameter& p) const override {
    const CutTensor& tensor = at(name);
    if (!is_whole(tensor)) return std::nullopt;
    return source_->stored(tensor.was.name, as_it_was(tensor, p));
  }
  std::optional<ops::CodedMatrix> coded(std::string_view name, const Parameter& p) const override {
    const CutTensor& tensor = at(name);
    if (!is_whole(tensor)) return std::nullopt;
    return source_->coded(tensor.was.name, as_it_was(tensor, p));
  }
  std::optional<ops::PackedSpec> coded_spec(std::string_view name, const Parameter& p) const override {
    const CutTensor& tensor = at(name);
    if (!is_whole(tensor)) return std::nullopt;
    return source_->coded_spec(tensor.was.name, as_it_was(tensor, p));
  }

 private:
  const CutTensor& at(std::string_view name) const {
    const auto found = tensors_.find(name);
    TRIREME_CHECK(found != tensors_.end(), "{} is no parameter of the model that was cut", name);
    return found->second;
  }
  static bool is_whole(const CutTensor& tensor) { return tensor.rows.empty() && tensor.columns.empty(); }
  static Parameter as_it_was(const CutTensor& tensor, const Parameter& p) {
    Parameter was = p;
    was.name = tensor.was.name;
    was.global_shape = tensor.was.global_shape;
    was.expert = tensor.was.expert;
    return was;
  }
  static Units part_of_dim(const Units& units, const Parameter& p, int dim) {
    const int64_t begin = p.offset[dim], end = begin + p.shape[dim];
    if (!units.empty()) return {units.begin() + begin, units.begin() + end};
    Units part;
    for (int64_t i = begin; i < end; ++i) part.push_back(i);
    return part;
  }

  std::shared_ptr<const WeightSource> source_;
  CutTensors tensors_;
  std::map<std::string, StoredKind, std::less<>> kinds_;
};

}  // namespace

std::shared_ptr<const WeightSource> cut_weights(std::shared_ptr<const WeightSource> source,
                                                const ModelConfig& config, const StructuredCut& cut,
                                                const KeptUnits& kept) {
  const ModelConfig left = cut_config(config, cut, kept);
  check_weights_fit(source->kinds(), source->path(), parameters_by_layer(spec_of(config)), false);
  return std::make_shared<CutWeights>(std::move(source), TensorCutter(config, left, kept).cut());
}

}  // namespace trireme
