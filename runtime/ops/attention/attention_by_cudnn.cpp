#include "runtime/ops/attention/attention_by_cudnn.h"

namespace trireme::ops {

std::string why_not_by_cudnn(const AttentionShape& s, DType dtype) {
  if (dtype == DType::f32) return "cuDNN attention has no fp32";
  if (s.q_len != s.kv_len) return "cuDNN attention is used only with as many queries as keys";
  if (s.q_len == 1) return "cuDNN attention is not used for a single token";
  if (s.head_dim > 128 || s.head_dim % 8 != 0)
    return "cuDNN attention is used only with head sizes 8, 16, ... 128";
  if (s.window > 0) return "cuDNN attention is not used with sliding windows";
  if (s.pattern) return "cuDNN attention is not used with sparse attention patterns";
  if (s.soft_cap > 0) return "cuDNN attention is not used with logit soft-capping";
  if (s.first_key) return "cuDNN attention is not used with packed documents kept separate";
  if (s.causal && s.shift != 0)
    return "cuDNN attention is used only with queries at the positions of the keys";
  return "";
}

std::string describe(const AttentionShape& s, DType dtype) {
  return fmt::format("batch {}, {}/{} heads of {}, {} queries, {} keys{}{}{}{}{}, {}", s.batch, s.num_heads,
                     s.num_kv_heads, s.head_dim, s.q_len, s.kv_len, s.causal ? ", causal" : "",
                     s.window > 0 ? fmt::format(", window {}", s.window) : "", s.pattern ? ", sparse" : "",
                     s.soft_cap > 0 ? fmt::format(", soft cap {}", s.soft_cap) : "",
                     s.first_key ? ", first keys" : "", to_string(dtype));
}

}  // namespace trireme::ops
