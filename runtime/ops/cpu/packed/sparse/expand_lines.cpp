#include "runtime/ops/cpu/packed/sparse/expand_lines.h"

#include <bit>
#include <cstring>
#include <vector>

#include "runtime/ops/cpu/cpu_features.h"

#ifndef TRIREME_ONE_VERSION
#include <immintrin.h>
#endif

namespace trireme::ops::cpu {

namespace {

template <class T>
T bits_at(const std::byte* from) {
  T bits;
  std::memcpy(&bits, from, sizeof bits);
  return bits;
}

/// Element: of a line; Mask: a bit for each.
template <class Element, class Mask>
const std::byte* expand_plain(const std::byte* masks, const std::byte* values, int64_t lines, uint8_t zero,
                              std::byte* to) {
  static_assert(8 * sizeof(Mask) * sizeof(Element) == kLineBytes);
  for (int64_t line = 0; line < lines; ++line, masks += sizeof(Mask), to += kLineBytes) {
    std::memset(to, zero, kLineBytes);
    for (auto left = bits_at<Mask>(masks); left != 0; left &= static_cast<Mask>(left - 1)) {
      std::memcpy(to + static_cast<size_t>(std::countr_zero(left)) * sizeof(Element), values,
                  sizeof(Element));
      values += sizeof(Element);
    }
  }
  return values;
}

constexpr ExpandKernels kPlain = {"plain", expand_plain<uint8_t, uint64_t>, expand_plain<uint16_t, uint32_t>,
                                  expand_plain<uint32_t, uint16_t>};

#ifndef TRIREME_ONE_VERSION

#define TRIREME_EXPAND_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi2,popcnt")))

// So many bytes ahead of what is read, memory is asked for: values and masks are two streams, and the
// processor loses sight of the slower one.
constexpr int64_t kValuesAhead = 2048, kMasksAhead = 512;

#define TRIREME_EXPAND_LOOP(Mask, element, expanded)                                 \
  const __m512i fill = _mm512_set1_epi8(static_cast<char>(zero));                    \
  for (int64_t i = 0; i < lines; ++i, masks += sizeof(Mask), to += kLineBytes) {     \
    const auto mask = bits_at<Mask>(masks);                                          \
    _mm_prefetch(reinterpret_cast<const char*>(values) + kValuesAhead, _MM_HINT_T0); \
    if (i % (kLineBytes / sizeof(Mask)) == 0)                                        \
      _mm_prefetch(reinterpret_cast<const char*>(masks) + kMasksAhead, _MM_HINT_T0); \
    _mm512_storeu_si512(to, expanded(fill, mask, _mm512_loadu_si512(values)));       \
    values += (element)*std::popcount(mask);                                         \
  }                                                                                  \
  return values

TRIREME_EXPAND_AVX512 const std::byte* expand_bytes_avx512(const std::byte* masks, const std::byte* values,
                                                           int64_t lines, uint8_t zero, std::byte* to) {
  TRIREME_EXPAND_LOOP(uint64_t, 1, _mm512_mask_expand_epi8);
}
TRIREME_EXPAND_AVX512 const std::byte* expand_halves_avx512(const std::byte* masks, const std::byte* values,
                                                            int64_t lines, uint8_t zero, std::byte* to) {
  TRIREME_EXPAND_LOOP(uint32_t, 2, _mm512_mask_expand_epi16);
}
TRIREME_EXPAND_AVX512 const std::byte* expand_words_avx512(const std::byte* masks, const std::byte* values,
                                                           int64_t lines, uint8_t zero, std::byte* to) {
  TRIREME_EXPAND_LOOP(uint16_t, 4, _mm512_mask_expand_epi32);
}

constexpr ExpandKernels kAvx512 = {"avx512 vbmi2", expand_bytes_avx512, expand_halves_avx512,
                                   expand_words_avx512};

bool has_vbmi2() { return has_x86_64_v4() && __builtin_cpu_supports("avx512vbmi2"); }

#endif

std::vector<const ExpandKernels*> available() {
  std::vector<const ExpandKernels*> all{&kPlain};
#ifndef TRIREME_ONE_VERSION
  if (has_vbmi2()) all.push_back(&kAvx512);
#endif
  return all;
}

}  // namespace

std::span<const ExpandKernels* const> all_expand_kernels() {
  static const std::vector<const ExpandKernels*> kAll = available();
  return kAll;
}

}  // namespace trireme::ops::cpu
