// ParameterRule: which optimizer updates a parameter, and how, chosen by name and role.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/enum_names.h"

namespace trireme {

enum class OptimizerKind : uint8_t { adamw, muon };

/// What an update has to see of a parameter at once. An element at a time fits any sharding and any
/// parameter; whole matrices have to be brought together where ranks hold pieces of them.
enum class UpdateUnit : uint8_t { element, matrix };

struct OptimizerTraits {
  std::string_view name;  ///< of --optimizer.kind, and "optimizer=" of rules
  UpdateUnit unit;
  int state_floats;  ///< f32 numbers that it keeps for each element, masters aside
};
/// In the order of the kinds. AdamW keeps two moments, Muon a momentum.
inline constexpr OptimizerTraits kOptimizers[] = {
    {"adamw", UpdateUnit::element, 2},
    {"muon", UpdateUnit::matrix, 1},
};
constexpr const OptimizerTraits& traits_of(OptimizerKind kind) {
  return kOptimizers[static_cast<size_t>(kind)];
}
std::span<const EnumName<OptimizerKind>> names_of(OptimizerKind);

/// What a parameter is for. Matrices are those of linear layers, vectors their biases and learned scales.
enum class ParameterRole : uint8_t { matrix, expert, router, embedding, head, norm, vector };
std::string_view to_string(ParameterRole role);

/// Follows from the global name ("layers.3.ffn.router.weight"), the number of dims, and whether an expert has
/// it.
ParameterRole parameter_role(std::string_view name, int num_dims, bool is_of_expert);

/// What is done with the parameters that it matches; what it leaves open stays as earlier rules have it.
struct ParameterRule {
  std::string pattern = "*";               ///< of global names; * stands for any characters, or none
  std::optional<ParameterRole> role = {};  ///< only parameters of this role
  std::optional<OptimizerKind> optimizer = {};
  std::optional<bool> decays = {};       ///< weight decay
  std::optional<double> lr_factor = {};  ///< on the optimizer's learning rate
  std::optional<bool> frozen = {};       ///< never updated, and left out of the gradient's norm

  bool matches(std::string_view name, ParameterRole of_role) const;

  friend bool operator==(const ParameterRule&, const ParameterRule&) = default;
};

struct ParameterSettings {
  OptimizerKind optimizer = OptimizerKind::adamw;
  bool decays = true;
  double lr_factor = 1;
  bool frozen = false;

  friend bool operator==(const ParameterSettings&, const ParameterSettings&) = default;
};

/// AdamW that decays matrices and not vectors, with 20 times the learning rate for learned scales (three
/// dims), changed by every rule that matches, in their order.
ParameterSettings settings_of(std::string_view name, int num_dims, bool is_of_expert,
                              std::span<const ParameterRule> rules);

/// This optimizer for the matrices of linear layers, those of experts among them; not for routers,
/// embeddings and the head, which stay AdamW's.
std::vector<ParameterRule> rules_of(OptimizerKind kind);
inline std::vector<ParameterRule> muon_rules() { return rules_of(OptimizerKind::muon); }

/// OptimizerTraits::state_floats of such a parameter; of a frozen one 0.
int optimizer_state_floats(const ParameterSettings& settings);

}  // namespace trireme
