// The innermost loops of attention, for the instruction set of the machine.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/base/half.h"
#include "runtime/ops/scratch_sizes.h"

namespace trireme::ops::cpu {

/// Where groups of tokens lie, one after the other by place: of keys [head_dim, kTokenGroup], of values
/// [kTokenGroup, head_dim], rows `stride` apart.
template <class B>
struct TokenGroups {
  const B* const* begin;
  int64_t size;
  int64_t stride;
};

/// A product of m rows of a with tokens [first, end), counted from that of the groups' first. Rows of a and c
/// are `stride` apart; those of c have room for whole vectors.
template <class B>
struct TokenProduct {
  int64_t m;
  const float* a;
  int64_t stride_a;
  TokenGroups<B> tokens;
  int64_t first, end;
  int64_t head_dim;
  float* c;
  int64_t stride_c;
};

template <class B>
struct TokenKernels {
  /// c[m, end - first] = a[m, head_dim] · keys, for whole groups.
  void (*score)(const TokenProduct<B>&);
  /// c[m, head_dim] += a[m, end - first] · values.
  void (*add_values)(const TokenProduct<B>&);
};

/// On the calling thread. Each element of c is one chain of fused additions, over head_dim or over the tokens
/// in order: of one machine its bits do not depend on the other elements, nor on where values are cut into
/// calls. The memory of groups that lie behind `end` may be fetched ahead.
struct AttentionKernels {
  TokenKernels<float> f32;
  TokenKernels<bf16> bf16_;
  TokenKernels<fp16> f16;
  TokenKernels<int8_t> int8;

  /// Turns n rows of head_dim floats into a group of keys; n <= kTokenGroup, other keys are zero.
  void (*pack_keys)(const float* rows, int64_t stride, int64_t n, int64_t head_dim, float* group);

  const TokenKernels<float>& of(float) const { return f32; }
  const TokenKernels<bf16>& of(bf16) const { return bf16_; }
  const TokenKernels<fp16>& of(fp16) const { return f16; }
  const TokenKernels<int8_t>& of(int8_t) const { return int8; }
};

/// Those that the machine can run, the widest vectors last.
std::span<const AttentionKernels* const> all_attention_kernels();

/// Those of the widest vectors that the machine has.
inline const AttentionKernels& attention_kernels() { return *all_attention_kernels().back(); }

}  // namespace trireme::ops::cpu
