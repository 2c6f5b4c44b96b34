// Stands in for the CUDA bodies in a program built without them. A context for a CUDA device cannot be made
// there, so a call that comes here is a defect.
#include "runtime/ops/activation.h"
#include "runtime/ops/attention/attention.h"
#include "runtime/ops/attention/attention_by_cudnn.h"
#include "runtime/ops/attention/attention_merge.h"
#include "runtime/ops/attention/paged_attention.h"
#include "runtime/ops/attention/rotary.h"
#include "runtime/ops/convolution.h"
#include "runtime/ops/cuda/packed/pack.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/gemm/float8.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/gemm/grouped_gemm.h"
#include "runtime/ops/head_norm.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/packed/packed_linear.h"
#include "runtime/ops/permute.h"
#include "runtime/ops/random.h"
#include "runtime/ops/routing.h"
#include "runtime/ops/shared_norm.h"
#include "runtime/ops/training/adamw.h"
#include "runtime/ops/training/clip.h"
#include "runtime/ops/training/cross_entropy.h"
#include "runtime/ops/training/distillation.h"
#include "runtime/ops/training/few_tokens.h"
#include "runtime/ops/training/finite.h"
#include "runtime/ops/training/muon.h"
#include "runtime/ops/training/state_distance.h"
#include "runtime/ops/training/stochastic_rounding.h"

namespace trireme::ops::cuda {

namespace {
using CT = const Tensor&;
using CC = const Columns&;
using Counts = std::span<const int64_t>;
[[noreturn]] void missing(const char* op) {
  throw InternalError(fmt::format("{} has no CUDA body in this build", op));
}
}  // namespace

std::string cudnn_version() { return ""; }

void gelu(Context&, CT, CT) { missing("gelu"); }
void gelu_backward(Context&, CT, CT, CT) { missing("gelu_backward"); }
void gelu_erf(Context&, CT, CT) { missing("gelu_erf"); }
void gelu_erf_backward(Context&, CT, CT, CT) { missing("gelu_erf_backward"); }
void swiglu(Context&, CT, CT) { missing("swiglu"); }
void swiglu_backward(Context&, CT, CT, CT) { missing("swiglu_backward"); }
void geglu(Context&, CT, CT) { missing("geglu"); }
void geglu_backward(Context&, CT, CT, CT) { missing("geglu_backward"); }
void adamw(Context&, const AdamWOptions&, CT, CT, CT, CT, CT) { missing("adamw"); }
void adamw_stochastic(Context&, const AdamWOptions&, CT, CT, CT, CT, std::span<const ElementRange>) {
  missing("adamw_stochastic");
}
void attention(Context&, const AttentionShape&, CC, CC, CC, CT, CT) { missing("attention"); }
void attention_backward(Context&, const AttentionShape&, CC, CC, CC, CT, CT, CT, CC, CC, CC) {
  missing("attention_backward");
}
void merge_attention(Context&, CT, CT, int64_t, CT, CT) { missing("merge_attention"); }
void cross_entropy(Context&, CC, CT, const CrossEntropyOptions&, CT, CC, CT, CT) { missing("cross_entropy"); }
void cross_entropy_statistics(Context&, CC, CT, const TablePart&, const CrossEntropyOptions&, CT) {
  missing("cross_entropy_statistics");
}
void softmax_statistics(Context&, CC, const LogitSoftmax&, CT) { missing("softmax_statistics"); }
void likeliest_columns(Context&, CC, const LogitSoftmax&, int64_t, CT, CT) { missing("likeliest_columns"); }
void merge_likeliest(Context&, const LogitSoftmax&, CT, CT, CT, CT, CT) { missing("merge_likeliest"); }
void draw_columns(Context&, CC, const LogitSoftmax&, int64_t, int64_t, const DrawOptions&, CT, CT, CT) {
  missing("draw_columns");
}
void merge_draws(Context&, CT, CT, CT) { missing("merge_draws"); }
void cross_entropy_of_part(Context&, CC, CT, const TablePart&, const CrossEntropyOptions&, CT, CT, CC, CT,
                           CT) {
  missing("cross_entropy_of_part");
}
void distillation_statistics(Context&, CC, CT, const TablePart&, const TeacherOfRows&,
                             const DistillationOptions&, CT) {
  missing("distillation_statistics");
}
void distillation_divergence(Context&, CC, CT, const TablePart&, const TeacherOfRows&,
                             const DistillationOptions&, CT, CT) {
  missing("distillation_divergence");
}
void distillation(Context&, CC, CT, const TablePart&, const TeacherOfRows&, const DistillationOptions&, CT,
                  CT, CT, CC, CT, CT) {
  missing("distillation");
}
void state_distance(Context&, CT, CT, CT, CT, const StateDistanceOptions&, CT, CT) {
  missing("state_distance");
}
void fill(Context&, CT, double) { missing("fill"); }
void scale(Context&, CT, float) { missing("scale"); }
void soft_cap(Context&, CC, float) { missing("soft_cap"); }
void add(Context&, CT, CT, CT) { missing("add"); }
void zero_where(Context&, CT, CT) { missing("zero_where"); }
void accumulate(Context&, CT, CT) { missing("accumulate"); }
void copy(Context&, CT, CT) { missing("copy"); }
void copy_columns(Context&, CC, CC) { missing("copy_columns"); }
void add_sum(Context&, CT, CT) { missing("add_sum"); }
void add_sum_of_squares(Context&, CT, CT) { missing("add_sum_of_squares"); }
void block_sums_of_squares(Context&, CT, CT) { missing("block_sums_of_squares"); }
void add_in_order(Context&, CT, CT) { missing("add_in_order"); }
void embedding(Context&, CT, CT, const TablePart&, CT, CT, CT) { missing("embedding"); }
void embedding_backward(Context&, CT, CT, const TablePart&, CT) { missing("embedding_backward"); }
void find_nonfinite(Context&, CT, CT) { missing("find_nonfinite"); }
void propagate_nonfinite(Context&, CT, CT) { missing("propagate_nonfinite"); }
void clip_factor(Context&, const ClipOptions&, CT, CT, CT, CT) { missing("clip_factor"); }
void quantize(Context&, CT, const ScaledTensor&) { missing("quantize"); }
void dequantize(Context&, const ScaledTensor&, CT) { missing("dequantize"); }
void gemm_float8(Context&, const GemmOptions&, const ScaledTensor&, const ScaledTensor&, CT, CT) {
  missing("gemm_float8");
}
void gemm(Context&, const GemmOptions&, CC, CT, CT, CC) { missing("gemm"); }
void linear_gelu(Context&, CT, CT, CT, CT, CT) { missing("linear_gelu"); }
void linear_backward_input_gelu(Context&, CT, CT, CT, CT) { missing("linear_backward_input_gelu"); }
void linear_backward_weight(Context&, CC, CT, CT, CT) { missing("linear_backward_weight"); }
void add_column_sums(Context&, CC, CT) { missing("add_column_sums"); }
void grouped_linear(Context&, CT, Counts, CT, CT) { missing("grouped_linear"); }
void grouped_linear_backward_input(Context&, CT, Counts, CT, CT) { missing("grouped_linear_backward_input"); }
void grouped_linear_backward_weight(Context&, CT, CT, Counts, CT) {
  missing("grouped_linear_backward_weight");
}
using CS = const ConvolutionShape&;
void gated_inputs(Context&, CC, CT) { missing("gated_inputs"); }
void convolution(Context&, CS, CT, CT, CC, CT, CT, CT) { missing("convolution"); }
void convolution_backward_before(Context&, CS, CT, CC, CT, CT, CT) { missing("convolution_backward_before"); }
void convolution_backward(Context&, CS, CT, CT, CT, CC, CT, CT, CT, CC, CT) {
  missing("convolution_backward");
}
void paged_convolution(Context&, const PagedRows&, CC, CT, CT, CT) { missing("paged_convolution"); }
void rms_norm_heads(Context&, CC, CT, float, CC, CT) { missing("rms_norm_heads"); }
void rms_norm_heads_backward(Context&, CC, CC, CT, CT, CC, CT) { missing("rms_norm_heads_backward"); }
void shared_norm_squares(Context&, CC, CC) { missing("shared_norm_squares"); }
void shared_norm(Context&, CC, CC, int64_t, CT, float, CC, CC) { missing("shared_norm"); }
void shared_norm_backward_sums(Context&, CC, CC, CT, CC, CC, CT) { missing("shared_norm_backward_sums"); }
void shared_norm_backward(Context&, CC, CC, CT, CC, CC, int64_t, CC) { missing("shared_norm_backward"); }
void layer_norm(Context&, CT, CT, CT, CT, float, CT, CT, CT, CT) { missing("layer_norm"); }
void layer_norm_backward(Context&, CT, CT, CT, CT, CT, CT, CT, CT, CT) { missing("layer_norm_backward"); }
void rms_norm(Context&, CT, CT, CT, float, CT, CT, CT) { missing("rms_norm"); }
void rms_norm_backward(Context&, CT, CT, CT, CT, CT, CT, CT) { missing("rms_norm_backward"); }
void permute_rows(Context&, CT, CT, CT) { missing("permute_rows"); }
void combine_rows(Context&, CT, CT, CT, CT) { missing("combine_rows"); }
void combine_rows_backward(Context&, CT, CT, CT, CT, CT, CT) { missing("combine_rows_backward"); }
void fill_normal(Context&, CT, uint64_t, std::string_view, const Shape&, const Shape&, float, float) {
  missing("fill_normal");
}
void jitter(Context&, const JitterOptions&, CT, int64_t, CT, CT) { missing("jitter"); }
void route(Context&, const RouteOptions&, CT, CT, CT, CT, CT, CT) { missing("route"); }
void route_backward(Context&, const RouteOptions&, CT, CT, CT, CT, CT, CT, CT) { missing("route_backward"); }
void count_choices(Context&, CT, CT) { missing("count_choices"); }
void assign_slots(Context&, CT, CT, CT, int64_t, CT) { missing("assign_slots"); }
void muon_momentum(Context&, const MuonOptions&, CT, CT, CT) { missing("muon_momentum"); }
void muon_normalize(Context&, CT, CT, CT) { missing("muon_normalize"); }
void muon_apply(Context&, const MuonOptions&, CT, CT, CT) { missing("muon_apply"); }
void round_stochastically(Context&, CT, CT, std::span<const ElementRange>, CT) {
  missing("round_stochastically");
}
void rotary(Context&, CC, int64_t, CT, CT, bool) { missing("rotary"); }
void store_keys_values(Context&, const PagedRows&, CC, CC, const KeyValueBlocks&) {
  missing("store_keys_values");
}
void paged_attention(Context&, const PagedShape&, const PagedRows&, CC, const KeyValueBlocks&, CT) {
  missing("paged_attention");
}
void copy_blocks(Context&, const KeyValueBlocks&, const std::vector<int32_t>&, const std::vector<int32_t>&) {
  missing("copy_blocks");
}
void packed_linear(Context&, CT, const PackedWeight&, Activations, CT, CC) { missing("packed_linear"); }
void order_columns(Context&, CT, CT, CT) { missing("order_columns"); }
void packed_grouped_linear(Context&, CT, Counts, const PackedWeight&, Activations, CT) {
  missing("packed_grouped_linear");
}
void packed_embedding(Context&, CT, const PackedWeight&, const TablePart&, CT, CT, CT) {
  missing("packed_embedding");
}
Tensor pack_integers(Context&, const PackedSpec&, DType, int64_t, int64_t, int64_t, const ReadCodes&) {
  missing("pack_integers");
}
Tensor pack_floats(Context&, PackedFormat, int64_t, int64_t, int64_t, const ReadRow&) {
  missing("pack_floats");
}
Tensor pack_stored(Context&, PackedFormat, int64_t, int64_t, int64_t, const StoredRow&) {
  missing("pack_stored");
}
void unpack_row(Context&, const PackedWeight&, int64_t, std::span<float>) { missing("unpack_row"); }

}  // namespace trireme::ops::cuda
