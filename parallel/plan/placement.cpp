#include "parallel/plan/placement.h"

#include <algorithm>
#include <limits>

#include "runtime/base/error.h"

namespace trireme {

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// Dynamic programme over (pieces, layers): best[s][n] is the least that s pieces make of the first n layers,
// where `combine` adds a piece of some cost to what came before.
template <class Combine>
class Cuts {
 public:
  Cuts(std::span<const double> costs, int num_stages, Combine combine) : num_layers_(costs.size()) {
    std::vector<double> sums(num_layers_ + 1, 0.0);
    for (size_t i = 0; i < num_layers_; ++i) sums[i + 1] = sums[i] + costs[i];
    best_.assign(static_cast<size_t>(num_stages) + 1, std::vector<double>(num_layers_ + 1, kNever));
    from_.assign(best_.size(), std::vector<size_t>(num_layers_ + 1, 0));
    best_[0][0] = 0;
    for (size_t s = 1; s < best_.size(); ++s) {
      for (size_t n = s; n <= num_layers_; ++n) {
        for (size_t before = n - 1; before + 1 >= s; --before) {
          const double value = combine(best_[s - 1][before], sums[n] - sums[before]);
          if (value < best_[s][n] || (value == best_[s][n] && value < kNever)) {
            best_[s][n] = value;
            from_[s][n] = before;
          }
          if (before == 0) break;
        }
      }
    }
  }

  double value() const { return best_.back()[num_layers_]; }

  std::vector<int> positions() const {
    std::vector<int> positions(best_.size(), static_cast<int>(num_layers_));
    for (size_t s = best_.size() - 1; s > 0; --s) {
      positions[s - 1] = static_cast<int>(from_[s][static_cast<size_t>(positions[s])]);
    }
    return positions;
  }

 private:
  size_t num_layers_;
  std::vector<std::vector<double>> best_;
  std::vector<std::vector<size_t>> from_;
};

}  // namespace

std::vector<int> place_layers(std::span<const double> costs, int num_stages) {
  TRIREME_CHECK(num_stages >= 1 && costs.size() >= static_cast<size_t>(num_stages), "{} layers for {} stages",
                costs.size(), num_stages);
  const Cuts slowest(costs, num_stages, [](double before, double piece) { return std::max(before, piece); });
  // A little above it: sums of the same layers may differ in their last bits.
  const double most = slowest.value() * (1 + 1e-9);
  const Cuts even(costs, num_stages, [most](double before, double piece) {
    return piece > most ? kNever : before + piece * piece;
  });
  return even.positions();
}

}  // namespace trireme
