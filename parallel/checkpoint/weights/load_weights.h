// Loads initial weights from a file, in any layout.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "parallel/checkpoint/checkpointed_model.h"
#include "runtime/tensor/dtype.h"
#include "runtime/tensor/shape.h"

namespace trireme {

/// Where a parameter comes from in stored weights: the name of a tensor of its shape. With `upcycle`, in
/// those of a dense model: an expert's from the feed-forward part; empty for routers, which keep their
/// weights.
std::string stored_name(const Parameter& p, bool upcycle);

struct StoredKind {
  Shape shape;
  DType dtype;
};
/// UserError (bad_input) with the tensors of `path` that are missing, of another shape or type, or without a
/// place in the model whose `layers` these are.
void check_weights_fit(const std::map<std::string, StoredKind, std::less<>>& stored, const std::string& path,
                       const std::vector<std::vector<Parameter>>& layers, bool upcycle);

class WeightSource;

/// Gives the model the weights, and the routers the balancing biases, of a source, each rank its part.
/// Routers of which it has no biases begin with zeros, if they have any.
///
/// `upcycle`: the source is of the dense model (arXiv 2212.05055). Every expert becomes a copy of the
/// feed-forward part in its place; routers keep the weights that they have.
///
/// Errors of the source and of check_weights_fit().
void load_weights(Context& ctx, const CheckpointedModel& model, const WeightSource& source, bool upcycle);

/// From a file that save_weights() wrote (open_own_weights()).
void load_weights(Context& ctx, const CheckpointedModel& model, const std::string& path, bool upcycle);

}  // namespace trireme
