#include "launch/verify/update_check.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "launch/config/optimizer_choice.h"
#include "launch/verify/muon_check.h"
#include "models/transformer/transformer.h"

namespace trireme::launch {

namespace {

/// What the update of one element should give, and how far from that it may be.
struct Expected {
  double value, tolerance;
};

class Element {
 public:
  Element(const OptimizerConfig& o, int64_t num_updates, double factor)
      : o_(o),
        factor_(factor),
        beta1_(static_cast<float>(o.beta1)),
        beta2_(static_cast<float>(o.beta2)),
        correction1_(1 / (1 - std::pow(beta1_, num_updates))),
        correction2_(1 / (1 - std::pow(beta2_, num_updates))) {}

  Expected update(double w, double gradient, float& m, float& v, const ParameterSettings& settings) const {
    constexpr double kRounding = 5e-6;  // of some operations in f32
    const double g = gradient * factor_;
    const double from_m = beta1_ * static_cast<double>(m), from_g = (1 - beta1_) * g;
    m = static_cast<float>(from_m + from_g);
    v = static_cast<float>(beta2_ * static_cast<double>(v) + (1 - beta2_) * g * g);
    const double root = std::sqrt(static_cast<double>(v) * correction2_),
                 scale = correction1_ / (root + o_.eps);
    const double decay = settings.decays ? o_.weight_decay * w : 0, lr = o_.lr * settings.lr_factor;
    // Without an epsilon the quotient of two numbers that are next to nothing may be anything.
    if (!std::isfinite(scale) || (v < 1e-30f && o_.eps < 1e-15)) return {w, INFINITY};
    // The root stands for the gradients of the steps before, which may have cancelled out in m.
    const double size = (std::abs(from_m) + std::abs(from_g) + root) * scale + std::abs(decay);
    return {w - lr * (static_cast<double>(m) * scale + decay), kRounding * lr * size + 4e-7 * std::abs(w)};
  }

  /// Follows the moments; the first element of `now` that is not what it should be. `rounding`: of weights
  /// kept in 16 bits alone.
  std::optional<std::string> fault_of(const ParameterSettings& settings, const std::vector<float>& w,
                                      const std::vector<float>& g, std::vector<float>& m,
                                      std::vector<float>& v, const std::vector<float>& now,
                                      double rounding) const {
    std::optional<std::string> error;
    for (size_t i = 0; i < w.size(); ++i) {
      const Expected e = update(static_cast<double>(w[i]), static_cast<double>(g[i]), m[i], v[i], settings);
      const double off = std::abs(static_cast<double>(now[i]) - e.value);
      if (off <= e.tolerance + rounding * std::abs(e.value) || error) continue;
      error = fmt::format("element {}, differs by {:.1e} from AdamW's, which is {:.1e} from {:.6g}", i, off,
                          e.value - static_cast<double>(w[i]), w[i]);
    }
    return error;
  }

 private:
  const OptimizerConfig& o_;
  double factor_, beta1_, beta2_, correction1_, correction2_;  // betas as the run has them, in f32
};

}  // namespace

double norm_of(const NamedTensors& gradients, double mean) {
  double squares = 0;
  for (const auto& [name, values] : gradients) {
    for (const float g : values) squares += static_cast<double>(g) * static_cast<double>(g);
  }
  return std::sqrt(squares) * mean;
}

namespace {

/// Takes what is zero for good out of what came to it.
void forget_where_zero(const std::vector<float>& now, std::vector<float>& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (now[i] == 0) values[i] = 0;
  }
}

}  // namespace

std::string UpdateCheck::check(const NamedTensors& before, const NamedTensors& gradients, double mean,
                               double grad_norm, const NamedTensors& after) {
  const OptimizerConfig& o = config_.optimizer;
  const double clip = o.clip > 0 && grad_norm > o.clip ? o.clip / grad_norm : 1;
  const Element element(o, ++num_updates_, mean * clip);
  // Weights that are kept in bf16 alone are rounded up or down, at random.
  const double rounding = config_.train.master ? 0 : 0x1p-7;
  std::string error;
  const auto rules = optimizer_rules(o);
  for (const auto& layer : parameters_by_layer(config_.model)) {
    for (const Parameter& p : layer) {
      std::vector<float> w = before.at(p.name), g = gradients.at(p.name);
      const auto& now = after.at(p.name);
      auto& m = m_[p.name];
      m.resize(w.size(), 0.0f);
      const bool is_matrix = p.global_shape.rank() == 2;
      const ParameterSettings settings = settings_of(p.name, p.global_shape.rank(), p.expert >= 0, rules);
      const double of_weights = is_matrix ? rounding : 0;
      std::optional<std::string> here;
      if (settings.frozen) {
        if (now != w) here = "is one of weights that are frozen";
      } else if (settings.optimizer == OptimizerKind::muon) {
        const int64_t rows = p.global_shape[0], columns = p.global_shape[1];
        MuonExpectation expected = muon_update(config_, rows, columns, settings, w, g, mean * clip, m);
        if (config_.prune) {
          forget_where_zero(now, m);
          for (size_t i = 0; i < w.size(); ++i) {
            if (now[i] == 0) expected.weights[i] = 0;
          }
        }
        here = muon_error(config_, expected, rows, columns, w, now, of_weights);
      } else if (settings.optimizer != OptimizerKind::adamw) {
        here = fmt::format("is by {}, whose equations are not in launch/verify/update_check.cpp",
                           to_string(settings.optimizer));
      } else {
        auto& v = v_[p.name];
        v.resize(w.size(), 0.0f);
        if (config_.prune) {
          for (std::vector<float>* values : {&w, &g, &m, &v}) forget_where_zero(now, *values);
        }
        here = element.fault_of(settings, w, g, m, v, now, of_weights);
      }
      if (here && error.empty()) error = fmt::format("the update of {}, {}", p.name, *here);
    }
  }
  return error;
}

}  // namespace trireme::launch
