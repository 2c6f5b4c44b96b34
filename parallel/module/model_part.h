// ModelPart: the model chunks that one pipeline rank holds.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "parallel/module/parameter_storage.h"
#include "parallel/module/router_balance.h"
#include "parallel/module/stage.h"

namespace trireme {

/// The tensors sent between virtual stages: an activation [rows, width], and its gradient back.
struct StageBoundary {
  int64_t width = 0;
  DType dtype = DType::f32;
  /// Rows of a micro-batch that this rank holds between layers.
  std::function<int64_t(const TokenBatch&)> rows;
  /// By virtual stage of the whole pipeline: what it hands on in training has so many times these rows.
  /// Empty: once, all of them.
  std::vector<int64_t> streams = {};

  int64_t rows_behind(int stage, const TokenBatch& batch) const {
    const bool has_more = batch.training && !streams.empty();
    return rows(batch) * (has_more ? streams[static_cast<size_t>(stage)] : 1);
  }
};

/// The virtual stages (model chunks) of a rank; the whole model without pipeline parallelism.
struct ModelPart {
  std::vector<Stage> chunks;  ///< chunk c of pipeline rank s is virtual stage c * num_ranks + s
  std::unique_ptr<ParameterStorage> storage;  ///< of all chunks; null where a model is for inference alone
  StageBoundary boundary;
  /// Sets of pipeline ranks (two or more, ascending) that hold copies of the same blocks, which have its
  /// number, counted from 1 (ParameterBlock::holders). Alike on all ranks of the pipeline.
  std::vector<std::vector<int>> holders;

  /// The chunks' blocks, each once, one chunk after the other, each in the order of the forward pass.
  std::vector<ParameterBlock*> blocks() const;
  /// The statistics of their layers, in the same order.
  std::vector<LayerStatistics*> statistics() const;
  /// The routers among these.
  std::vector<RouterBalance*> routers() const;
  /// The storage's parameters of one chunk: those of blocks that no earlier one of the rank uses.
  std::span<const ParameterView> parameters(size_t chunk) const;
};

}  // namespace trireme
