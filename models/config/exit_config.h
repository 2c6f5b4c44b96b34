// ExitConfig: how a model is trained for early exit (LayerSkip, Elhoushi et al., arXiv 2404.16710).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme {

struct ModelConfig;

/// Which exits of ModelConfig::exits a sample has. rotating: one, sample n the one of number n modulo their
/// number (the paper's rotational curriculum, sample by sample); all: every one.
enum class ExitCurriculum : uint8_t { rotating, all };

/// At an exit the one head reads the stream, through the final norm. Minimised is the cross-entropy behind
/// the last block + scale * sum over exits of w(k) * cross-entropy behind block k, w(k) = k (k + 1) / (L (L +
/// 1)) of L blocks: quadratic in depth, as the paper's equation 3. Behind block l of 0 .. L - 1 a sample
/// keeps the stream that the block took with probability dropout * (2^(l / (L - 1)) - 1) (its equations 1 and
/// 2 without a curriculum over time). Which ones follows from seed, block and the sample's number alone: in
/// every layout the same.
struct ExitConfig {
  double scale = 1.0;    ///< 0: no losses of exits
  double dropout = 0.0;  ///< of the last block
  ExitCurriculum curriculum = ExitCurriculum::rotating;

  double weight(int64_t blocks, int64_t num_blocks) const {
    return scale * static_cast<double>(blocks * (blocks + 1)) /
           static_cast<double>(num_blocks * (num_blocks + 1));
  }
  double dropout_of(int64_t block, int64_t num_blocks) const;

  friend bool operator==(const ExitConfig&, const ExitConfig&) = default;
};

/// Streams that a micro-batch keeps for exits until the head.
int64_t kept_streams(const ModelConfig& model, const ExitConfig& config);

/// Errors of `model.exits`, each with what would work; empty: there are none.
std::vector<std::string> exit_errors(const ModelConfig& model);

}  // namespace trireme
