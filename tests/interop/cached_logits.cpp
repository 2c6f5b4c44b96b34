#include "tests/interop/cached_logits.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include "models/inference/cached_model.h"
#include "models/inference/inference_model.h"
#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/io/safetensors/safetensors.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

struct Rows {
  int64_t count = 0, length = 0;
  std::vector<int32_t> tokens, forbidden;
};

std::vector<int32_t> read_ids(const SafetensorsReader& file, const std::string& name) {
  const auto& tensor = file.at(name);
  std::vector<int32_t> ids(static_cast<size_t>(tensor.shape.numel()));
  std::memcpy(ids.data(), tensor.bytes.data(), ids.size() * sizeof(int32_t));
  return ids;
}

Rows read_rows(const std::string& path) {
  const SafetensorsReader file(path);
  const Shape& shape = file.at("tokens").shape;
  Rows rows{shape[0], shape[1], read_ids(file, "tokens"), {}};
  if (file.tensors().contains("forbidden")) rows.forbidden = read_ids(file, "forbidden");
  return rows;
}

class Pieces {
 public:
  Pieces(const std::string& model, int64_t length, bool exact)
      : ctx_(Device{}, 2),
        world_(make_self_communicator()),
        model_(ctx_, *world_, model, {}, options_for(length, exact)),
        cached_(ctx_, model_.parallel(), model_.model(),
                {.num_blocks = (length + kBlock - 1) / kBlock, .block_tokens = kBlock}) {
    blocks_.resize(static_cast<size_t>(cached_.options().num_blocks));
    std::iota(blocks_.rbegin(), blocks_.rend(), 0);
  }

  /// Calls visit(place, logits of it) for all tokens.
  template <class Visit>
  void run(std::span<const int32_t> tokens, const Visit& visit) {
    constexpr int64_t kPiece = 100;
    for (int64_t at = 0; at < std::ssize(tokens); at += kPiece) {
      const int64_t count = std::min(kPiece, std::ssize(tokens) - at);
      const SequenceChunk chunk{
          tokens.subspan(static_cast<size_t>(at), static_cast<size_t>(count)), at,
          std::span(blocks_).first(static_cast<size_t>((at + count + kBlock - 1) / kBlock)), count};
      const std::vector<float> logits = ops::to_host<float>(ctx_, cached_.logits(ctx_, std::span(&chunk, 1)));
      const auto vocab = static_cast<size_t>(vocab_size());
      for (int64_t i = 0; i < count; ++i)
        visit(at + i, std::span(logits).subspan(static_cast<size_t>(i) * vocab, vocab));
    }
  }

  int64_t vocab_size() const { return model_.config().vocab_size; }

 private:
  static constexpr int64_t kBlock = 32;

  static InferenceOptions options_for(int64_t length, bool exact) {
    InferenceOptions options;
    options.activations = exact ? ops::Activations::exact : ops::Activations::int8;
    options.max_seq_len = length;
    return options;
  }

  Context ctx_;
  std::unique_ptr<Communicator> world_;
  InferenceModel model_;
  CachedModel cached_;
  std::vector<int32_t> blocks_;
};

std::pair<float, float> top_and_margin(std::vector<float> logits, const std::vector<int32_t>& forbidden) {
  for (const int32_t token : forbidden)
    logits[static_cast<size_t>(token)] = -std::numeric_limits<float>::infinity();
  const auto top = std::ranges::max_element(logits);
  float next = -std::numeric_limits<float>::infinity();
  for (auto at = logits.begin(); at != logits.end(); ++at) {
    if (at != top) next = std::max(next, *at);
  }
  return {static_cast<float>(top - logits.begin()), *top - next};
}

void write_all(const std::string& out,
               const std::map<std::string, std::pair<Shape, std::vector<float>>>& all) {
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : all) specs.push_back({name, DType::f32, tensor.first});
  SafetensorsWriter writer(out, specs);
  for (const auto& [name, tensor] : all) writer.write(name, std::as_bytes(std::span(tensor.second)));
  writer.commit();
}

}  // namespace

void write_cached_logits(const std::string& model, const std::string& in, const std::string& out, bool exact,
                         bool top_only) {
  const Rows rows = read_rows(in);
  Pieces pieces(model, rows.length, exact);
  std::vector<float> logits, top, margin;
  for (int64_t row = 0; row < rows.count; ++row) {
    const auto tokens =
        std::span(rows.tokens)
            .subspan(static_cast<size_t>(row * rows.length), static_cast<size_t>(rows.length));
    pieces.run(tokens, [&](int64_t, std::span<const float> of_place) {
      if (!top_only) {
        logits.insert(logits.end(), of_place.begin(), of_place.end());
        return;
      }
      const auto [best, by] = top_and_margin({of_place.begin(), of_place.end()}, rows.forbidden);
      top.push_back(best);
      margin.push_back(by);
    });
  }
  if (top_only) {
    write_all(out,
              {{"top", {{rows.count, rows.length}, top}}, {"margin", {{rows.count, rows.length}, margin}}});
  } else {
    write_all(out, {{"logits", {{rows.count, rows.length, pieces.vocab_size()}, logits}}});
  }
}

}  // namespace trireme
