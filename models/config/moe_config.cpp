#include "models/config/moe_config.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "parallel/plan/nearest.h"

namespace trireme {

namespace {

void check_groups(const MoeConfig& c, std::vector<std::string>& errors) {
  if (c.num_groups < 1 || c.num_experts % c.num_groups != 0) {
    errors.push_back(fmt::format("moe.groups {} does not divide moe.experts {}: nearest are {}", c.num_groups,
                                 c.num_experts, nearest_divisors(c.num_experts, c.num_groups)));
    return;
  }
  if (c.groups_per_token < 1 || c.groups_per_token > c.num_groups) {
    errors.push_back(fmt::format("moe.top-groups {} of moe.groups {}: it must be 1 to {}", c.groups_per_token,
                                 c.num_groups, c.num_groups));
    return;
  }
  const int64_t within = c.num_experts / c.num_groups * c.groups_per_token;
  if (c.experts_per_token > within) {
    errors.push_back(fmt::format("moe.top-k {} is more than the {} experts of {}: at most {}",
                                 c.experts_per_token, within,
                                 c.num_groups > 1 ? "moe.top-groups groups" : "the model", within));
  }
}

}  // namespace

int64_t MoeConfig::capacity_of(int64_t seq_len) const {
  if (capacity == CapacityMode::dropless) return seq_len;
  const double even = static_cast<double>(experts_per_token * seq_len) / static_cast<double>(num_experts);
  // Not one more for a rounding in the factor.
  const auto room = static_cast<int64_t>(std::ceil(capacity_factor * even - 1e-9));
  return std::clamp<int64_t>(room, 1, seq_len);
}

std::vector<std::string> errors_of(const MoeConfig& c, int64_t num_layers) {
  std::vector<std::string> errors;
  const auto add = [&](std::string error) { errors.push_back(std::move(error)); };
  if (c.num_experts == 0) return errors;
  if (c.num_experts < 2) add(fmt::format("moe.experts is {}: it must be 2 or more, or 0", c.num_experts));
  if (c.experts_per_token < 1) add(fmt::format("moe.top-k is {}: it must be 1 or more", c.experts_per_token));
  if (c.expert_ffn_size < 0) add(fmt::format("moe.ffn is {}: it must be 1 or more, or 0", c.expert_ffn_size));
  if (c.shared_ffn_size < 0)
    add(fmt::format("moe.shared-ffn is {}: it must be 1 or more, or 0", c.shared_ffn_size));
  if (c.every < 1) add(fmt::format("moe.every is {}: it must be 1 or more", c.every));
  if (c.first_block < 0 || c.first_block >= num_layers) {
    add(fmt::format("moe.from {}: blocks are 0 to {}, so none would be an MoE block", c.first_block,
                    num_layers - 1));
  }
  if (!(c.gate_scale > 0)) add(fmt::format("moe.gate-scale is {}: it must be above 0", c.gate_scale));
  if (!(0 <= c.jitter && c.jitter < 1))
    add(fmt::format("moe.jitter is {}: it must be from 0 up to, not including, 1", c.jitter));
  if (!(c.capacity_factor > 0))
    add(fmt::format("moe.capacity-factor is {}: it must be above 0", c.capacity_factor));
  if (c.experts_per_token == 1 && c.normalize_gates) {
    add("moe.normalize with moe.top-k 1 makes every gate 1, so that the router gets no gradient from "
        "the loss: use --moe.normalize off");
  }
  if (errors.empty()) check_groups(c, errors);
  return errors;
}

std::vector<std::string> expert_parallel_errors(const MoeConfig& c, int expert, int chunks) {
  if (expert <= 1) return {};
  if (c.num_experts == 0) {
    return {fmt::format(
        "parallel.expert {} has no effect on a dense model: set --moe.experts or use an MoE preset, "
        "or leave it at 1",
        expert)};
  }
  const int64_t held = c.num_experts / expert;
  if (c.num_experts % expert == 0 && chunks > held) {
    return {fmt::format(
        "parallel.expert-chunks {}: a rank holds {} expert{} (moe.experts {} / parallel.expert {}), "
        "and a chunk needs at least one: use at most {}",
        chunks, held, held == 1 ? "" : "s", c.num_experts, expert, held)};
  }
  if (c.num_experts % expert == 0) return {};
  return {
      fmt::format("moe.experts {} does not divide by parallel.expert {}: nearest are --parallel.expert {}",
                  c.num_experts, expert, nearest_divisors(c.num_experts, expert))};
}

}  // namespace trireme
