#include "models/compress/structured/unit_importance.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "models/compress/calibration_passes.h"
#include "models/compress/structured/unit_counts.h"
#include "models/compress/structured/unit_sums.h"
#include "models/spec/describe.h"
#include "models/spec/rank_share.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

/// A block of which somebody sees the inputs while this lives.
class SeenBlock {
 public:
  SeenBlock(ParameterBlock& block, std::unique_ptr<InputObserver> observer)
      : block_(block), observer_(std::move(observer)) {
    observe(observer_.get());
  }
  ~SeenBlock() { observe(nullptr); }
  SeenBlock(const SeenBlock&) = delete;
  SeenBlock& operator=(const SeenBlock&) = delete;

 private:
  void observe(InputObserver* observer) {
    PackedBlock seen = *block_.packed;
    seen.observer = observer;
    block_.packed = std::make_shared<const PackedBlock>(std::move(seen));
  }

  ParameterBlock& block_;
  std::unique_ptr<InputObserver> observer_;
};

class SeenRouter {
 public:
  SeenRouter(RouterBalance& router, ExpertSums sums) : router_(router), sums_(std::move(sums)) {
    before_ = std::exchange(router.observer, &sums_);
  }
  ~SeenRouter() { router_.observer = before_; }
  SeenRouter(const SeenRouter&) = delete;
  SeenRouter& operator=(const SeenRouter&) = delete;

 private:
  RouterBalance& router_;
  ExpertSums sums_;
  RoutingObserver* before_;
};

class ImportanceRun {
 public:
  ImportanceRun(Context& ctx, InferenceModel& model, const WeightSource& source)
      : ctx_(ctx), model_(model), source_(source), spec_(model.model().spec()) {
    for (ParameterBlock* block : model.model().part().blocks()) {
      for (const Parameter& p : block->members) blocks_[p.name] = block;
    }
    const UnitCounts counts = unit_counts(model.config());
    const auto zeros = [](int64_t count) { return std::vector<double>(static_cast<size_t>(count), 0.0); };
    for (int64_t i = 0; i < counts.layers; ++i) {
      LayerImportance& sums = sums_.emplace_back();
      sums.heads = zeros(counts.heads());
      const bool is_mixture = model.config().moe.is_in(i);
      sums.neurons.assign(static_cast<size_t>(is_mixture ? counts.experts : 1),
                          zeros(is_mixture ? counts.expert_neurons : counts.dense_neurons));
      if (!is_mixture) continue;
      sums.experts = zeros(counts.experts);
      sums.shared_neurons = zeros(counts.shared_neurons);
    }
    num_rows_ = zeros(counts.layers);
  }

  void run_layer(CalibrationPasses& passes, int64_t layer) {
    const std::vector<Tensor> before = passes.states();
    {
      std::vector<std::unique_ptr<SeenBlock>> blocks;
      const std::unique_ptr<SeenRouter> router = see(layer, blocks);
      passes.forward(ctx_, static_cast<int>(layer) + 1, true);
    }
    for (size_t p = 0; p < before.size(); ++p) {
      const Part rows = passes.rows_counted(p, model_.parallel().tensor());
      if (rows.size() == 0) continue;
      sums_[static_cast<size_t>(layer)].layer += sum_of_cosines(
          ctx_, before[p].slice(rows.begin, rows.end), passes.states()[p].slice(rows.begin, rows.end));
      num_rows_[static_cast<size_t>(layer)] += static_cast<double>(rows.size());
    }
  }

  // Each rank has summed rows, columns and layers of its own: together they are all there are.
  UnitImportance reduce() {
    std::vector<double*> all;
    for (size_t i = 0; i < sums_.size(); ++i) {
      LayerImportance& sums = sums_[i];
      all.push_back(&sums.layer);
      all.push_back(&num_rows_[i]);
      const auto append = [&](std::vector<double>& scores) {
        for (double& score : scores) all.push_back(&score);
      };
      append(sums.heads);
      for (auto& neurons : sums.neurons) append(neurons);
      append(sums.shared_neurons);
      append(sums.experts);
    }
    std::vector<double> flat;
    for (const double* sum : all) flat.push_back(*sum);
    model_.parallel().world().all_reduce(ctx_.host_stream(),
                                         Tensor::borrow(flat.data(), {std::ssize(flat)}, DType::f64));
    for (size_t i = 0; i < all.size(); ++i) *all[i] = flat[i];
    for (size_t i = 0; i < sums_.size(); ++i) sums_[i].layer = 1 - sums_[i].layer / num_rows_[i];
    return std::move(sums_);
  }

 private:
  std::unique_ptr<SeenRouter> see(int64_t layer, std::vector<std::unique_ptr<SeenBlock>>& blocks) {
    LayerImportance& sums = sums_[static_cast<size_t>(layer)];
    const BlockParameters whole = ParameterDescription(spec_).block(spec_.weights_of(layer));
    ParameterBlock& output = held(whole.attention.output.weight);
    const int64_t head_dim = spec_.blocks[static_cast<size_t>(layer)].attention.head_dim;
    blocks.push_back(std::make_unique<SeenBlock>(
        output, std::make_unique<HeadSums>(ctx_, output, source_, head_dim, sums.heads)));
    const auto see_neurons = [&](const ParameterBlock& down, std::vector<std::vector<double>*> to) {
      ParameterBlock& block = held(down);
      if (block.is_of_experts())
        to = {to.begin() + block.members.front().expert, to.begin() + block.members.back().expert + 1};
      blocks.push_back(std::make_unique<SeenBlock>(block, std::make_unique<NeuronSums>(block, source_, to)));
    };
    if (whole.feed_forward) see_neurons(whole.feed_forward->down.weight, {&sums.neurons.front()});
    if (!whole.mixture) return nullptr;
    std::vector<std::vector<double>*> of_experts;
    for (auto& neurons : sums.neurons) of_experts.push_back(&neurons);
    see_neurons(whole.mixture->down, of_experts);
    if (whole.mixture->shared) see_neurons(whole.mixture->shared->down.weight, {&sums.shared_neurons});
    for (RouterBalance* router : model_.model().part().routers()) {
      if (router->name == router_name(layer))
        return std::make_unique<SeenRouter>(*router,
                                            ExpertSums(model_.parallel().expert_tensor(), sums.experts));
    }
    TRIREME_CHECK(false, "{} is not here", router_name(layer));
  }

  // What the rank holds of a block.
  ParameterBlock& held(const ParameterBlock& whole) const {
    for (const Parameter& p : whole.members) {
      if (const auto found = blocks_.find(p.name); found != blocks_.end()) return *found->second;
    }
    TRIREME_CHECK(false, "{} is not here", whole.members.front().name);
  }

  Context& ctx_;
  InferenceModel& model_;
  const WeightSource& source_;
  const ModelSpec& spec_;
  std::map<std::string, ParameterBlock*, std::less<>> blocks_;
  UnitImportance sums_;
  std::vector<double> num_rows_;  // of each layer
};

}  // namespace

UnitImportance measure_importance(Context& ctx, InferenceModel& model, const WeightSource& source,
                                  const std::vector<std::vector<int32_t>>& samples,
                                  std::optional<int32_t> end_of_text,
                                  const std::function<void(int64_t done, int64_t total)>& progress) {
  CalibrationPasses passes(ctx, model.parallel(), model.model(), samples, end_of_text);
  ImportanceRun run(ctx, model, source);
  const int64_t num_layers = model.config().num_layers;
  for (int64_t place = 0; place <= num_layers; ++place) {
    passes.arrive(ctx, static_cast<int>(place));
    if (progress && model.parallel().world().rank() == 0) progress(place, num_layers + 1);
    if (!passes.is_here(static_cast<int>(place))) continue;
    if (place == 0)
      passes.forward(ctx, 0, true);
    else
      run.run_layer(passes, place - 1);
  }
  UnitImportance importance = run.reduce();
  if (progress && model.parallel().world().rank() == 0) progress(num_layers + 1, num_layers + 1);
  return importance;
}

}  // namespace trireme
