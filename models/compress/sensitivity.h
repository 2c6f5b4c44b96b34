// Which matrices bear fewer bits: what each width does to the model, and widths under a budget.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/inference/inference_model.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "runtime/ops/packed/packed_weight.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

/// A choice for a matrix, and what it costs.
struct WidthChoice {
  std::optional<ops::PackedSpec> spec;  ///< nothing: as it is
  int64_t bytes = 0;
  double damage = 0;  ///< additive over matrices: rise of the mean KL divergence in nats a token
};

struct WidthBudget {
  std::optional<int64_t> bytes;  ///< of all matrices together, at most
  std::optional<double> damage;  ///< in all, at most
};

/// The choice for each matrix: the least damage within `bytes`, or the fewest bytes within `damage`; of both
/// the first, if it keeps the second. By the convex hulls of the choices (Lagrange multiplier: steps in the
/// order of falling damage a byte), then exactly, by partial sums that the multiplier's bound leaves. Of
/// choices that are equal in both the first. Depends on the arguments alone. UserError (usage) saying the
/// least that is possible where nothing fits.
std::map<std::string, size_t> choose_widths(const std::map<std::string, std::vector<WidthChoice>>& matrices,
                                            const WidthBudget& budget);

/// Matrices that kernels multiply by as one, and that therefore share a width: query, key and value; gate and
/// up; all experts of a block. vLLM's fused layers ask for the same.
struct WidthUnit {
  std::string name;                  ///< of its first matrix
  std::vector<std::string> members;  ///< all of them
  int64_t weights = 0;               ///< numbers in them
  std::vector<WidthChoice> choices;  ///< in the order of SensitivityOptions::specs, then as it is
};

struct SensitivityOptions {
  std::vector<ops::PackedSpec> specs = {};
  /// Also a choice: staying as it is, in this type.
  std::optional<DType> keeps = {};
  /// Sequences of equal length, the same on all ranks.
  std::vector<std::vector<int32_t>> samples = {};
  /// Each spec is measured; else the most damaging one (by squared error) alone, and the damage of the others
  /// follows by their squared errors: to second order the divergence is a quadratic form of the error.
  bool measures_all = true;
  std::function<bool(const std::string& name)> takes = {};  ///< matrices that are asked about; null: all
  std::function<void(int64_t done, int64_t total, const std::string& at)> progress = {};
};

/// Damage: the mean KL(model || model with this unit alone rounded to nearest), over the tokens of all
/// samples (of long ones in large vocabularies the last tokens, so that the logits stay below 512 MiB). The
/// model, loaded from `source`, is as before afterwards, bit for bit, also after an error. All ranks of any
/// layout call it alike and get the same numbers; scales are those of whole matrices whatever the layout, so
/// layouts differ by rounding. Bytes are those of whole matrices with their scales and zeros. UserError
/// (usage) for no samples, unequal ones or such as are longer than the model takes, and where nothing is
/// asked about.
std::vector<WidthUnit> measure_sensitivities(Context& ctx, InferenceModel& model, const WeightSource& source,
                                             const SensitivityOptions& options);

/// What choose_widths() chooses of units, for each of their matrices.
std::map<std::string, std::optional<ops::PackedSpec>> widths_of(const std::vector<WidthUnit>& units,
                                                                const WidthBudget& budget);

/// Bytes of codes, scales (16 bits each) and, of asymmetric ones, zeros (as wide as a code).
int64_t coded_bytes(const ops::PackedSpec& spec, int64_t outputs, int64_t inputs);

}  // namespace trireme
