#include "launch/verify/compare_step.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "launch/verify/update_check.h"

namespace trireme::launch {

namespace {

double relative(double a, double b) {
  if (!std::isfinite(a) || !std::isfinite(b)) return INFINITY;
  return a == b ? 0 : std::abs(a - b) / std::max(std::abs(a), std::abs(b));
}

/// The larger of |a - b| / |b| in the L2 norm and in the largest element, of tensors times `a_mean`,
/// `b_mean`.
double distance_of(const std::vector<float>& a, double a_mean, const std::vector<float>& b, double b_mean) {
  if (a.size() != b.size()) return INFINITY;
  double squares = 0, size = 0, most = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double y = static_cast<double>(b[i]) * b_mean, d = static_cast<double>(a[i]) * a_mean - y;
    squares += d * d;
    size += y * y;
    most = std::max(most, std::abs(d));
    largest = std::max(largest, std::abs(y));
  }
  if (squares == 0) return 0;
  if (!std::isfinite(squares) || size == 0) return INFINITY;
  return std::max(std::sqrt(squares / size), most / largest);
}

/// Keeps the difference that is nearest to its bound or furthest beyond it.
void keep_worst(Difference& worst, Difference d) {
  if (worst.where.empty() || d.share() > worst.share() || std::isnan(d.distance)) worst = std::move(d);
}

std::string text_of(const Difference& d) {
  return fmt::format("{:.1e} relative, where rounding explains {:.1e}", d.distance, d.bound);
}

std::string text_of(const TracePlace& place, const char* verb) {
  const std::string where = fmt::format("in the {} pass of micro-batch {}",
                                        place.is_forward ? "forward" : "backward", place.micro_batch);
  return fmt::format("{} {}, {}", verb, place.layer, where);
}

class Comparison {
 public:
  Comparison(const RecordedStep& layout, const ReferenceStep& reference, const RunConfig& config)
      : layout_(layout),
        one_(reference.one),
        other_(reference.other),
        config_(config),
        tolerance_(tolerance_of(config)) {}

  StepDifference run() {
    if (!std::isfinite(one_.loss) && !std::isfinite(layout_.loss)) {
      result_.is_finite = false;
      return std::move(result_);
    }
    compare_passes();
    compare_choices();
    compare_loss();
    compare_gradients();
    result_.norm = relative(layout_.grad_norm, norm_of(layout_.gradients, layout_.mean));
    if (result_.norm > 1e-5) {
      error("the reported gradient norm is {:.6g}, the norm of the gradients {:.6g}", layout_.grad_norm,
            norm_of(layout_.gradients, layout_.mean));
    }
    return std::move(result_);
  }

 private:
  template <class... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) {
    result_.errors.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  // The first place alone is told of: what follows from it differs too.
  void compare_passes() {
    const int64_t num_layers = config_.model.num_layers;
    const auto& unlike = layout_.trace.unlike;
    for (size_t i = 0; i < one_.trace.size(); ++i) {
      const TracePlace place = trace_place(i, num_layers);
      Difference d{distance(layout_.trace, one_.trace, i),
                   tolerance_.passes + tolerance_.multiple * distance(other_.trace, one_.trace, i),
                   fmt::format("{}", place.layer)};
      const bool is_unlike = std::ranges::find(unlike, i) != unlike.end();
      if (result_.errors.empty() && d.is_beyond())
        error("{} differs by {}", text_of(place, "the output of"), text_of(d));
      else if (result_.errors.empty() && is_unlike)
        error("{} differs between the tensor-parallel ranks that replicate it",
              text_of(place, "the output of"));
      result_.widest = std::max(result_.widest, d.bound);
      keep_worst(result_.passes, std::move(d));
    }
  }

  void compare_loss() {
    result_.loss = {relative(layout_.loss, one_.loss),
                    tolerance_.loss + tolerance_.multiple * relative(other_.loss, one_.loss), "loss"};
    if (result_.loss.is_beyond()) error("the loss differs by {}", text_of(result_.loss));
  }

  // In the order of the backward pass.
  void compare_gradients() {
    const auto layers = parameters_by_layer(config_.model);
    bool has_named = false;
    for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
      for (auto p = layer->rbegin(); p != layer->rend(); ++p) {
        const Difference d = gradient(p->name);
        ++result_.num_gradients;
        if (d.bound > kNoise) {
          ++result_.num_noise;
        } else {
          result_.finest = result_.finest > 0 ? std::min(result_.finest, d.bound) : d.bound;
          result_.coarsest = std::max(result_.coarsest, d.bound);
        }
        if (d.is_beyond() && !std::exchange(has_named, true))
          error("the gradient of {}, the first in the backward pass, differs by {}", p->name, text_of(d));
        keep_worst(result_.gradients, d);
      }
    }
  }

  Difference gradient(const std::string& name) const {
    const auto& b = one_.gradients.at(name);
    const auto it = layout_.gradients.find(name);
    if (it == layout_.gradients.end()) return {INFINITY, tolerance_.gradients, name};
    const double rounding = distance_of(other_.gradients.at(name), other_.mean, b, one_.mean);
    double bound = tolerance_.gradients + tolerance_.multiple_of_gradients *
                                              (rounding + 4 * std::max(0.0, rounding - tolerance_.unsure));
    if (bound > kNoise) bound *= travels_rounded() ? INFINITY : kOfNoise;
    if (travels_rounded()) bound += kTravel;
    return {distance_of(it->second, layout_.mean, b, one_.mean), bound, name};
  }

  // Rounding turns a choice over where two experts are next to each other.
  void compare_choices() {
    constexpr double kRows = 10;  // by which a row may differ more than all together
    result_.choices = one_.differences;
    const ChoiceDifferences& c = result_.choices;
    if (c.widest <= kRows * result_.widest) return;
    error(
        "in layers.{} a token of sample {} is routed to another expert: router scores differ by "
        "{:.1e}, where rounding explains {:.1e}",
        c.layer, c.sample, c.widest, kRows * result_.widest);
  }

  // Gradients that are next to rounding alone (of the bias of keys, which softmax ignores) differ by several
  // times what another rounding happens to make of them.
  static constexpr double kNoise = 0.1, kOfNoise = 10;

  // What ranks add up may be many times as large as the sum, and so then is what is rounded before.
  static constexpr double kTravel = 0.05;
  bool travels_rounded() const { return config_.parallel.gradient_dtype != DType::f32; }

  const RecordedStep &layout_, &one_, &other_;
  const RunConfig& config_;
  Tolerance tolerance_;
  StepDifference result_;
};

}  // namespace

// Rounding is measured once, and what is measured may come out a few times as large the next time.
Tolerance tolerance_of(const RunConfig& config) {
  return config.train.precision == DType::f32 ? Tolerance{8, 5, 5e-6, 1e-6, 5e-6, 1e-6}
                                              : Tolerance{8, 12, 1, 1e-3, 2e-3, 2e-3};
}

StepDifference compare_step(const RecordedStep& layout, const ReferenceStep& reference,
                            const RunConfig& config) {
  return Comparison(layout, reference, config).run();
}

}  // namespace trireme::launch
