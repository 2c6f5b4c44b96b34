// Row orders of the query and key projections. Hugging Face's files rotate the first half of a head's
// dimensions with the second; llama.cpp rotates, for some architectures, neighbours, and expects the rows of
// the weights (and biases) in the order that makes both compute the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace trireme {

/// Whether files of this architecture ("general.architecture") have neighbours next to each other; nothing
/// for one that is not known here.
constexpr std::optional<bool> has_interleaved_rotary(std::string_view architecture) {
  for (const std::string_view name : {"llama", "smollm3"}) {
    if (architecture == name) return true;
  }
  for (const std::string_view name :
       {"gpt2", "gptneox", "qwen2", "qwen3", "qwen3moe", "gemma", "gemma2", "gemma3", "phi3", "olmo2"}) {
    if (architecture == name) return false;
  }
  return std::nullopt;
}

/// The row in an interleaved matrix that holds row `row` of one in halves: dimension k of half h of a head
/// becomes its dimension 2 k + h. `head_dim` is even.
constexpr int64_t interleaved_row(int64_t row, int64_t head_dim) {
  const int64_t head = row / head_dim, within = row % head_dim, half = head_dim / 2;
  return head * head_dim + within % half * 2 + within / half;
}

/// The reverse: the row in a matrix in halves that holds row `row` of an interleaved one.
constexpr int64_t row_in_halves(int64_t row, int64_t head_dim) {
  const int64_t head = row / head_dim, within = row % head_dim, half = head_dim / 2;
  return head * head_dim + within % 2 * half + within / 2;
}

}  // namespace trireme
