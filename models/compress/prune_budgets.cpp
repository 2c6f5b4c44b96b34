#include "models/compress/prune_budgets.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "models/compress/input_groups.h"
#include "models/compress/quantize_model.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

/// Magnitudes by the bits of an fp32 number, which rise with it, in two digits.
constexpr int kLowBits = 15;
constexpr int64_t kHighValues = int64_t{1} << 16, kLowValues = int64_t{1} << kLowBits;

struct DroppedMeasurements final : QuantizationSink {
  void matrix(const std::string&, const ops::CodedMatrix&) override {}
  void values(const std::string&, const Shape&, std::span<const float>) override {}
  void block_done(int64_t) override {}
};

/// "layers.3" of "layers.3.ffn.up.weight"; of others the name.
std::string budget_layer_of(const std::string& name) {
  const std::string_view prefix = "layers.";
  if (!name.starts_with(prefix)) return name;
  return name.substr(0, name.find('.', prefix.size()));
}

class PruneBudgets {
 public:
  PruneBudgets(Context& ctx, InferenceModel& model, const WeightSource& source,
               const PruneBudgetOptions& options)
      : ctx_(ctx), model_(model), world_(model.parallel().world()), source_(source), options_(options) {
    const ModelSpec& spec = model.model().spec();
    for (int64_t place = 0; place <= spec.num_blocks() + 1; ++place) {
      for (const Parameter& p : parameters_of_place(spec, place)) {
        if (p.global_shape.rank() == 2 && std::ranges::count(options.matrices, p.name) > 0)
          matrices_.push_back(Parameter::whole(p.name, p.global_shape, 0, 0));
      }
    }
    for (const Parameter& p : matrices_) total_ += p.global_shape.numel();
  }

  std::map<std::string, double> run() {
    if (!(options_.sparsity >= 0 && options_.sparsity <= 1))
      throw_usage("pruning has a sparsity of {}; it is the part of the weights that become zero, from 0 to 1",
                  options_.sparsity);
    if (matrices_.empty()) throw_usage("pruning has no matrices: all are left out");
    return options_.method == PruneMethod::magnitude ? by_magnitude() : by_outliers();
  }

 private:
  template <class T>
  void add_up(std::vector<T>& values, ReduceOp op = ReduceOp::sum) {
    world_.all_reduce(ctx_.host_stream(),
                      Tensor::borrow(values.data(), {std::ssize(values)}, DTypeOf<T>::value), op);
  }

  // Each rank reads some of the matrices.
  template <class Take>
  void for_own_matrices(const Take& take) const {
    for (size_t m = 0; m < matrices_.size(); ++m) {
      if (static_cast<int>(m % static_cast<size_t>(world_.size())) != world_.rank()) continue;
      std::vector<float> values(static_cast<size_t>(matrices_[m].global_shape.numel()));
      source_.read(matrices_[m].name, matrices_[m], values);
      take(m, values);
    }
  }

  static uint32_t magnitude_bits(float w) { return std::bit_cast<uint32_t>(w) & 0x7fffffffu; }

  // The digit with `place` numbers before it, which becomes its place among the numbers with this digit.
  static int64_t digit_at(const std::vector<int64_t>& counts, int64_t& place) {
    int64_t digit = 0;
    while (place >= counts[static_cast<size_t>(digit)]) place -= counts[static_cast<size_t>(digit++)];
    return digit;
  }

  // The first floor(sparsity * number) of all weights; of equal ones those of the first matrices.
  std::map<std::string, double> by_magnitude() {
    int64_t place = static_cast<int64_t>(options_.sparsity * static_cast<double>(total_));
    if (place == total_) return all_alike();
    std::vector<int64_t> counts(kHighValues);
    for_own_matrices([&](size_t, const std::vector<float>& values) {
      for (const float w : values) ++counts[magnitude_bits(w) >> kLowBits];
    });
    add_up(counts);
    const auto high = static_cast<uint32_t>(digit_at(counts, place));
    counts.assign(kLowValues, 0);
    for_own_matrices([&](size_t, const std::vector<float>& values) {
      for (const float w : values) {
        const uint32_t bits = magnitude_bits(w);
        if (bits >> kLowBits == high) ++counts[bits & (kLowValues - 1)];
      }
    });
    add_up(counts);
    const uint32_t limit = high << kLowBits | static_cast<uint32_t>(digit_at(counts, place));
    std::vector<int64_t> below(matrices_.size()), equal(matrices_.size());
    for_own_matrices([&](size_t m, const std::vector<float>& values) {
      below[m] = std::ranges::count_if(values, [&](float w) { return magnitude_bits(w) < limit; });
      equal[m] = std::ranges::count_if(values, [&](float w) { return magnitude_bits(w) == limit; });
    });
    add_up(below);
    add_up(equal);
    std::map<std::string, double> sparsities;
    for (size_t m = 0; m < matrices_.size(); ++m) {
      const int64_t ties = std::min(place, equal[m]), number = matrices_[m].global_shape.numel();
      place -= ties;
      sparsities[matrices_[m].name] = part_of(below[m] + ties, number);
    }
    return sparsities;
  }

  // Its product with the number is `count`, rounded down.
  static double part_of(int64_t count, int64_t number) {
    return std::min((static_cast<double>(count) + 0.5) / static_cast<double>(number), 1.0);
  }

  std::map<std::string, double> all_alike() const {
    std::map<std::string, double> sparsities;
    for (const Parameter& p : matrices_) sparsities[p.name] = options_.sparsity;
    return sparsities;
  }

  std::map<std::string, double> by_outliers() {
    measure_norms();
    std::map<std::string, size_t> index_of;
    std::vector<size_t> layers(matrices_.size());
    for (size_t m = 0; m < matrices_.size(); ++m)
      layers[m] = index_of.emplace(budget_layer_of(matrices_[m].name), index_of.size()).first->second;
    std::vector<double> sums(index_of.size()), numbers(index_of.size()), outliers(index_of.size());
    // Sums of each matrix by itself: the same whichever rank has it.
    std::vector<double> of_matrix(matrices_.size());
    for_own_matrices([&](size_t m, const std::vector<float>& values) {
      for_importances(m, values, [&](double x) { of_matrix[m] += x; });
    });
    add_up(of_matrix);
    std::vector<LayerOutliers> found(index_of.size());
    for (size_t m = 0; m < matrices_.size(); ++m) {
      const double number = static_cast<double>(matrices_[m].global_shape.numel());
      found[layers[m]].weights += matrices_[m].global_shape.numel();
      if (is_seen(m)) sums[layers[m]] += of_matrix[m], numbers[layers[m]] += number;
    }
    for_own_matrices([&](size_t m, const std::vector<float>& values) {
      if (!is_seen(m)) return;
      const double limit = options_.outlier * sums[layers[m]] / numbers[layers[m]];
      for_importances(m, values, [&](double x) { outliers[layers[m]] += x > limit ? 1 : 0; });
    });
    add_up(outliers);
    return sparsities_of(layers, found, outliers, numbers);
  }

  // Layers of which nothing was seen get what all get.
  std::map<std::string, double> sparsities_of(const std::vector<size_t>& layers,
                                              std::vector<LayerOutliers> found,
                                              const std::vector<double>& outliers,
                                              const std::vector<double>& numbers) const {
    std::vector<LayerOutliers> seen;
    std::vector<size_t> place(found.size(), found.size());
    for (size_t l = 0; l < found.size(); ++l) {
      if (numbers[l] == 0) continue;
      place[l] = seen.size();
      seen.push_back({found[l].weights, outliers[l] / numbers[l]});
    }
    const std::vector<double> sparsities =
        outlier_weighted_sparsities(seen, options_.sparsity, options_.spread);
    std::map<std::string, double> result;
    for (size_t m = 0; m < matrices_.size(); ++m) {
      const size_t at = place[layers[m]];
      result[matrices_[m].name] = at < seen.size() ? sparsities[at] : options_.sparsity;
    }
    return result;
  }

  // Of each input the root of the mean of its squares, on all ranks; zeros of what no token reached.
  void measure_norms() {
    std::map<std::string, size_t> index;
    for (size_t m = 0; m < matrices_.size(); ++m) {
      index[matrices_[m].name] = m;
      norms_.emplace_back(static_cast<size_t>(matrices_[m].global_shape[1]));
    }
    QuantizeModelOptions measuring;
    measuring.plan.sequential = false;
    measuring.plan.plan_of = [&](const std::string& name) -> MatrixPlan {
      return {.is_measured = index.contains(name)};
    };
    measuring.samples = options_.samples;
    measuring.end_of_text = options_.end_of_text;
    measuring.measured = [&](const std::string& name, const InputStatistics& s) {
      if (s.is_empty()) return;
      std::vector<double>& norms = norms_[index.at(name)];
      for (size_t i = 0; i < norms.size(); ++i)
        norms[i] =
            std::sqrt(std::max(s.hessian[i * (norms.size() + 1)], 0.0) / static_cast<double>(s.tokens));
    };
    DroppedMeasurements dropped;
    quantize_model(ctx_, model_, source_, measuring, dropped);
    for (std::vector<double>& norms : norms_) add_up(norms, ReduceOp::max);
  }

  bool is_seen(size_t m) const {
    return std::ranges::any_of(norms_[m], [](double x) { return x > 0 && std::isfinite(x); });
  }

  template <class Take>
  void for_importances(size_t m, const std::vector<float>& values, const Take& take) const {
    const std::vector<double>& norms = norms_[m];
    for (size_t i = 0; i < values.size(); ++i)
      take(std::abs(static_cast<double>(values[i])) * norms[i % norms.size()]);
  }

  Context& ctx_;
  InferenceModel& model_;
  Communicator& world_;
  const WeightSource& source_;
  const PruneBudgetOptions& options_;
  std::vector<Parameter> matrices_;
  std::vector<std::vector<double>> norms_;
  int64_t total_ = 0;
};

}  // namespace

std::vector<double> outlier_weighted_sparsities(std::span<const LayerOutliers> layers, double sparsity,
                                                double spread) {
  std::vector<double> result;
  if (layers.empty()) return result;
  const auto [least, most] = std::ranges::minmax(layers, {}, &LayerOutliers::outliers);
  const double range = most.outliers - least.outliers;
  double total = 0;
  for (const LayerOutliers& layer : layers) {
    result.push_back(range > 0 ? -2 * spread * (layer.outliers - least.outliers) / range : 0.0);
    total += static_cast<double>(layer.weights);
  }
  const auto moved = [&](size_t l, double by) { return std::clamp(result[l] + by, 0.0, 1.0); };
  // What all are moved by: more of it makes the mean no smaller.
  double low = 0, high = 1 + 2 * spread;
  for (int step = 0; step < 64; ++step) {
    const double middle = (low + high) / 2;
    double mean = 0;
    for (size_t l = 0; l < layers.size(); ++l)
      mean += static_cast<double>(layers[l].weights) / total * moved(l, middle);
    (mean < sparsity ? low : high) = middle;
  }
  for (size_t l = 0; l < layers.size(); ++l) result[l] = moved(l, high);
  return result;
}

std::map<std::string, double> prune_budgets(Context& ctx, InferenceModel& model, const WeightSource& source,
                                            const PruneBudgetOptions& options) {
  return PruneBudgets(ctx, model, source, options).run();
}

}  // namespace trireme
