#include "models/cost/teacher_memory.h"

#include <algorithm>
#include <cmath>

#include "models/cost/model_size.h"

namespace trireme {

namespace {

int64_t whole(double bytes) { return std::llround(std::min(bytes, 1e18)); }

/// Weights of a rank's layers, of the rank with the token table.
double layer_weights(const TeacherInputs& in) {
  double dense = 0, experts = 0;
  for (const ParameterInfo& row : parameter_table(in.model)) {
    if (row.shape.rank() == 2 && row.shape[0] == in.model.vocab_size) continue;  // token table and head
    (row.expert >= 0 ? experts : dense) += static_cast<double>(row.count());
  }
  const double table = static_cast<double>(in.model.vocab_size) * static_cast<double>(in.model.hidden_size);
  const auto part = [](double count, int64_t ranks) { return count / static_cast<double>(ranks); };
  const int64_t width = in.plan.tensor, stages = in.plan.pipeline;
  return part(dense, width * stages) + part(experts, width * stages * in.plan.expert) + part(table, width);
}

/// What the layers of a pass have at once.
double pass_bytes(const TeacherInputs& in) {
  const double rows = static_cast<double>(in.micro_batch) * static_cast<double>(in.seq_len);
  const auto hidden = static_cast<double>(in.model.hidden_size);
  const double width = std::max(2 * static_cast<double>(in.model.ffn_size), 3 * hidden) / in.plan.tensor;
  return rows * (4 * hidden + width) * static_cast<double>(size_of(in.precision));
}

}  // namespace

TeacherMemory teacher_memory(const TeacherInputs& in) {
  const auto size = static_cast<double>(size_of(in.precision));
  const auto student_size = static_cast<double>(size_of(in.student_precision));
  const auto columns = static_cast<double>(in.student_vocab) / in.student.tensor;
  const auto hidden = static_cast<double>(in.model.hidden_size);
  const double rows = static_cast<double>(in.micro_batch) * static_cast<double>(in.seq_len);
  TeacherMemory out;
  out.weights =
      whole((in.is_here ? layer_weights(in) * in.bytes_per_weight : 0) + columns * hidden * student_size);
  // Of a student without a pipeline, on the same ranks, those of the replicas that run at once.
  const bool keeps = !in.is_here || in.student.pipeline > 1;
  const double kept =
      keeps ? static_cast<double>(in.micro_batches) : std::max(1.0, double(in.plan.data) / in.student.data);
  const double states = kept * rows / in.student.context * hidden * size;
  const double ffn = static_cast<double>(in.model.ffn_size) * 2 / in.plan.tensor;
  const double pass =
      in.is_here ? rows * (4 * hidden + std::max(ffn, 3 * hidden / in.plan.tensor)) * size : 0;
  const double logits = static_cast<double>(in.logit_rows) * columns * student_size;
  out.activations = whole(states + std::max(pass, logits));
  return out;
}

int64_t own_rank_bytes(const TeacherInputs& in) {
  const double rows = static_cast<double>(in.micro_batch) * static_cast<double>(in.seq_len);
  const double states =
      rows * static_cast<double>(in.model.hidden_size) * static_cast<double>(size_of(in.precision));
  const double made = static_cast<double>(in.micro_batches) * in.student.data / in.plan.data + 1;
  return whole(layer_weights(in) * in.bytes_per_weight + pass_bytes(in) + 2 * made * states);
}

}  // namespace trireme
