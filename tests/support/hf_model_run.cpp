#include "tests/support/hf_model_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "models/formats/hf_config.h"
#include "models/formats/hf_tensors.h"
#include "models/formats/hf_weights.h"
#include "models/formats/mapped_weights.h"
#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "tests/support/tensors.h"

namespace trireme::test {

namespace {

template <class T>
std::vector<T> stored_values(const SafetensorsReader& file, const std::string& name) {
  const StoredTensor& stored = file.at(name);
  TRIREME_CHECK(stored.dtype == DTypeOf<T>::value, "{}: {} is of another type", file.path(), name);
  std::vector<T> values(stored.bytes.size() / sizeof(T));
  std::memcpy(values.data(), stored.bytes.data(), stored.bytes.size());
  return values;
}

void read_weights(TrainingSession& session, const WeightSource& source) {
  for (const ParameterView& view : session.storage().parameters()) {
    std::vector<float> values(static_cast<size_t>(view.parameter->shape.numel()));
    source.read(view.parameter->name, *view.parameter, values);
    write(view.master, values);
  }
}

// As they lie in files: where a parameter is what is stored plus a number, their derivatives are the same.
std::map<std::string, std::vector<float>> stored_gradients(TrainingSession& session, TensorMap map,
                                                           double weight) {
  for (auto& [name, place] : map.places) place.added = 0;
  std::map<std::string, std::vector<float>> gradients, stored;
  for (const ParameterView& view : session.storage().parameters()) {
    std::vector<float> values = to_vector(view.gradient);
    for (float& v : values) v = static_cast<float>(v / weight);
    gradients[view.parameter->name] = std::move(values);
  }
  for (const StoredTensorShape& tensor : map.tensors) {
    stored[tensor.name] = assemble(map, tensor, [&](const std::string& name) { return gradients.at(name); });
  }
  return stored;
}

}  // namespace

HfModelRun run_hf_model(Context& ctx, Communicator& world, const ParallelPlan& plan,
                        const std::string& directory, const SafetensorsReader& reference) {
  const std::string path = directory + "/config.json";
  const HfModel model = read_hf_config(read_ordered_json(path), path);
  const Shape shape = reference.at("tokens").shape;
  TrainingSession session(ctx, world, plan, model.config, {.max_seq_len = shape[1]});
  read_weights(session, *open_hf_weights(directory, model.config));

  MicroBatch batch = make_micro_batch(ctx, shape[0], shape[1], stored_values<int32_t>(reference, "tokens"),
                                      stored_values<int32_t>(reference, "targets"), session.share());
  HfModelRun run;
  run.logits = to_vector(session.model().logits(ctx, batch));
  const PendingStep pending = session.step().forward_backward({&batch, 1});
  const BatchTotals totals = pending.totals();
  run.loss = totals.mean_loss();
  run.gradient_norm = pending.gradient_norm();
  if (world.size() == 1) {
    run.gradients = stored_gradients(session, hf_tensor_map(model.config, model.architecture), totals.weight);
  }
  return run;
}

std::vector<float> floats_of(const SafetensorsReader& file, const std::string& name) {
  return stored_values<float>(file, name);
}

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (a.size() != b.size()) return kInfinity;
  double difference = 0, largest = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    if (!std::isfinite(a[i])) return kInfinity;
    difference = std::max(difference, std::abs(static_cast<double>(a[i]) - b[i]));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  return difference == 0 ? 0 : difference / largest;
}

}  // namespace trireme::test
