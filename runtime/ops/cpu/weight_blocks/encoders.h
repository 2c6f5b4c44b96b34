// Blocks of one type from rows of values: weights[i] is what element i counts for.
#pragma once

#include <cstdint>

namespace trireme::ops::cpu {

void encode_row_q4_0(const float* x, int64_t blocks, uint8_t* out);
void encode_row_q4_1(const float* x, const float* weights, int64_t blocks, uint8_t* out);
void encode_row_q4_k(const float* x, const float* weights, int64_t blocks, uint8_t* out);
void encode_row_q6_k(const float* x, const float* weights, int64_t blocks, uint8_t* out);

}  // namespace trireme::ops::cpu
