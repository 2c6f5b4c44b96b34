// ParameterRule: which optimizer updates a parameter, and how, chosen by name and role.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

enum class OptimizerKind : uint8_t { adamw, muon };
std::string_view to_string(OptimizerKind kind);

/// What a parameter is for. Matrices are those of linear layers, vectors their biases.
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

/// AdamW that decays matrices and not vectors, changed by every rule that matches, in their order.
ParameterSettings settings_of(std::string_view name, int num_dims, bool is_of_expert,
                              std::span<const ParameterRule> rules);

/// Muon for the matrices of linear layers, those of experts among them; not for routers, embeddings and the
/// head.
std::vector<ParameterRule> muon_rules();

/// f32 numbers that the optimizer keeps for each element of such a parameter, masters aside: AdamW's two
/// moments, Muon's momentum.
int optimizer_state_floats(const ParameterSettings& settings);

}  // namespace trireme
