#include <cmath>
#include <limits>

#include "models/compress/calibration_passes.h"
#include "models/compress/structured/fold.h"
#include "models/config/weight_sharing.h"
#include "runtime/base/parallel_for.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

/// Over rows: |theirs - own|^2, |own|^2, and of what is added to x: theirs times own, |theirs|^2, |own|^2.
struct LikenessSums {
  double change = 0, stream = 0, products = 0, theirs = 0, own = 0;

  LikenessSums& operator+=(const LikenessSums& s) {
    change += s.change;
    stream += s.stream;
    products += s.products;
    theirs += s.theirs;
    own += s.own;
    return *this;
  }
};

/// `x` goes into the block, `own` comes out of it, and `theirs` with other weights: [rows, width].
LikenessSums sums_over_rows(Context& ctx, const Tensor& x, const Tensor& own, const Tensor& theirs) {
  const std::vector<float> in = ops::to_host_f32(ctx, x), a = ops::to_host_f32(ctx, own),
                           b = ops::to_host_f32(ctx, theirs);
  const int64_t rows = x.dim(0), width = x.dim(1);
  std::vector<LikenessSums> of_rows(static_cast<size_t>(rows));
  parallel_for(ctx.num_threads(), rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      LikenessSums sums;
      for (auto i = static_cast<size_t>(r * width); i < static_cast<size_t>((r + 1) * width); ++i) {
        const double y = a[i], added = y - in[i], other = double{b[i]} - in[i], apart = other - added;
        sums += {apart * apart, y * y, added * other, other * other, added * added};
      }
      of_rows[static_cast<size_t>(r)] = sums;
    }
  });
  LikenessSums all;
  for (const LikenessSums& sums : of_rows) all += sums;
  return all;
}

/// Of nothing, nothing.
double part_of(double part, double whole) { return part == 0 ? 0 : part / whole; }

class LikenessRun {
 public:
  LikenessRun(Context& ctx, InferenceModel& model, const std::vector<std::vector<int32_t>>& samples)
      : ctx_(ctx),
        model_(model),
        config_(model.config()),
        passes_(ctx, model.parallel(), model.model(), samples, {}),
        sums_(static_cast<size_t>(config_.num_layers * config_.num_layers)) {}

  void run(const std::function<void(int64_t done, int64_t total)>& progress) {
    const int64_t n = config_.num_layers;
    for (int64_t place = 0; place <= n; ++place) {
      passes_.arrive(ctx_, static_cast<int>(place));
      if (progress && model_.parallel().world().rank() == 0) progress(place, n + 1);
      if (place > 0) compare(place - 1);
      if (passes_.is_here(static_cast<int>(place))) passes_.forward(ctx_, static_cast<int>(place), true);
    }
    if (progress && model_.parallel().world().rank() == 0) progress(n + 1, n + 1);
  }

  // Each rank has summed rows and blocks of its own: together they are all there are.
  LayerLikeness reduce() {
    const int64_t n = config_.num_layers;
    model_.parallel().world().all_reduce(
        ctx_.host_stream(), Tensor::borrow(&sums_.front().change, {5 * std::ssize(sums_)}, DType::f64));
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    const std::vector row(static_cast<size_t>(n), kNone);
    LayerLikeness likeness{std::vector(static_cast<size_t>(n), row),
                           std::vector(static_cast<size_t>(n), row)};
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double &change = likeness.change[static_cast<size_t>(i)][static_cast<size_t>(j)],
               &cosine = likeness.cosine[static_cast<size_t>(i)][static_cast<size_t>(j)];
        const int64_t of = config_.weights_of(j);
        const LikenessSums& sums = at(i, of);
        if (config_.weights_of(i) == of)
          change = 0, cosine = 1;
        else if (have_same_parts(config_, i, of))
          change = part_of(sums.change, sums.stream),
          cosine = part_of(sums.products, std::sqrt(sums.theirs * sums.own));
      }
    }
    return likeness;
  }

 private:
  // All weights that a block like the i-th could have, each on the rank that holds them.
  void compare(int64_t i) {
    passes_.lend(ctx_, static_cast<int>(i) + 1);
    for (size_t p = 0; p < passes_.states().size(); ++p) {
      const Tensor own = passes_.lent_output(ctx_, static_cast<int>(i) + 1, p);
      const Tensor& x = passes_.states()[p];
      const Part rows = passes_.rows_counted(p, model_.parallel().tensor());
      for (int64_t j = 0; j < config_.num_layers; ++j) {
        const bool is_other = config_.weights_of(j) == j && config_.weights_of(i) != j;
        if (!is_other || !have_same_parts(config_, i, j) || !passes_.is_here(static_cast<int>(j) + 1))
          continue;
        const Tensor theirs = passes_.output(ctx_, static_cast<int>(j) + 1, p);
        if (rows.size() == 0) continue;
        const auto counted = [&](const Tensor& t) { return t.slice(rows.begin, rows.end); };
        at(i, j) += sums_over_rows(ctx_, counted(x), counted(own), counted(theirs));
      }
    }
    passes_.take_back(static_cast<int>(i) + 1);
  }

  LikenessSums& at(int64_t i, int64_t j) { return sums_[static_cast<size_t>(i * config_.num_layers + j)]; }

  Context& ctx_;
  InferenceModel& model_;
  const ModelConfig& config_;
  CalibrationPasses passes_;
  std::vector<LikenessSums> sums_;  // [layers, layers]
};

}  // namespace

LayerLikeness measure_likeness(Context& ctx, InferenceModel& model,
                               const std::vector<std::vector<int32_t>>& samples,
                               const std::function<void(int64_t done, int64_t total)>& progress) {
  static_assert(sizeof(LikenessSums) == 5 * sizeof(double), "sums are reduced as one row of numbers");
  LikenessRun run(ctx, model, samples);
  run.run(progress);
  return run.reduce();
}

}  // namespace trireme
