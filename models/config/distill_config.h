// DistillConfig: how a student learns from a teacher (arXiv 1503.02531).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme {

/// Of p, the teacher's distribution of the next token, and q, the student's.
enum class DivergenceKind : uint8_t {
  forward_kl,    ///< KL(p || q)
  reverse_kl,    ///< KL(q || p) (MiniLLM, arXiv 2306.08543)
  skew_forward,  ///< KL(p || a p + (1 - a) q) (DistiLLM, arXiv 2402.03898)
  skew_reverse,  ///< KL(q || (1 - a) p + a q)
  jsd,           ///< b KL(p || m) + (1 - b) KL(q || m), m = b p + (1 - b) q (GKD, arXiv 2306.13649)
};

/// Of which tokens the teacher's probabilities are used.
enum class TeacherTokens : uint8_t { all, top_k, sampled };

/// Minimised: (1 - weight) * cross-entropy + weight * temperature^2 * divergence, the divergence at this
/// temperature, + hidden_weight * mean squared difference of the last hidden states. Label smoothing is part
/// of the cross-entropy; z-loss, which holds logits in bounds whatever they are to learn, is added whole.
struct DistillConfig {
  DivergenceKind divergence = DivergenceKind::forward_kl;
  double weight = 0.5;
  double temperature = 1;
  double skew = 0.1;  ///< a
  double beta = 0.5;  ///< b
  TeacherTokens tokens = TeacherTokens::all;
  int64_t num_tokens = 0;  ///< of top_k, and draws of sampled
  /// Of the states behind the final norms, whose sizes are equal (ops::state_distance); 0: off.
  double hidden_weight = 0;

  friend bool operator==(const DistillConfig&, const DistillConfig&) = default;
};

/// What in it cannot be, each with what would work; empty where all can. `label_smoothing`: of the
/// cross-entropy beside.
std::vector<std::string> distill_errors(const DistillConfig& config, double label_smoothing = 0);

}  // namespace trireme
