// What llama.cpp calls a file's type, and the type of each tensor that follows.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "models/formats/parameter_values.h"
#include "models/formats/tensor_map.h"
#include "runtime/io/gguf/gguf_type.h"

namespace trireme {

/// general.file_type: what most matrices are stored as. q4_k_m is llama.cpp's mixture of that name.
enum class GgufFileType : uint32_t { f32 = 0, f16 = 1, q4_0 = 2, q8_0 = 7, q4_k_m = 15, bf16 = 32 };

/// Whether matrices are blocks of integers.
bool has_blocks(GgufFileType type);

/// What a tensor is stored as where matrices are `matrices`: f32 for vectors, gains, routers and tables of
/// positions, as llama.cpp's converter has them; where rows are no whole blocks q4_1 in place of q4_k, q8_0
/// of q6_k, and f16 where they are no multiple of 32 either.
GgufType gguf_type_of(const StoredTensorShape& tensor, GgufType matrices);

/// Of every tensor. q4_0: the head (tied: the token table) is q6_k. q4_k_m: so it is, and so are the value
/// and down projections of the first and last eighth of the blocks and every third between; the rest is q4_k.
/// Of models with 8 experts query-key-value tensors differ: key and value projections are q8_0. Where
/// llama.cpp has Q5_K (query, key and value in one tensor; the output projection beside 8 experts) stands
/// q6_k.
///
/// In files of q8_0 and q4_0 a tensor whose parameters are all `codes` gets the type that holds them as they
/// are, where there is one: symmetric int4 in groups of whole blocks of 32 q4_0, else int8 and int4 q8_0; in
/// files of q4_0 asymmetric int4 q4_1, whose minimum is rounded to fp16.
std::map<std::string, GgufType, std::less<>> gguf_types(const TensorMap& map, int64_t num_blocks,
                                                        int64_t num_experts, GgufFileType type,
                                                        const ParameterCodes& codes);

}  // namespace trireme
