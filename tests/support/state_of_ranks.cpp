#include "tests/support/state_of_ranks.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "parallel/checkpoint/format/cut_range.h"
#include "parallel/checkpoint/save/share_slices.h"
#include "runtime/base/philox.h"

namespace trireme::test {

namespace {

int64_t draw(uint64_t seed, uint64_t number, int64_t limit) {
  return static_cast<int64_t>(philox4x32(seed, number, 3)[0] % static_cast<uint64_t>(limit));
}

Box whole_box(const Shape& shape) { return whole_slice("", DType::f32, shape).box; }

// Of dim `dim`, divided as evenly as it goes.
void add_part(const LogicalTensor& t, int dim, std::vector<std::vector<Slice>>& slices) {
  const auto num = static_cast<int64_t>(slices.size());
  for (int64_t r = 0; r < num; ++r) {
    const int64_t begin = t.shape[dim] * r / num, end = t.shape[dim] * (r + 1) / num;
    if (begin == end) continue;
    Box box = whole_box(t.shape);
    std::vector<int64_t> offset(box.offset.dims().begin(), box.offset.dims().end());
    std::vector<int64_t> extent(t.shape.dims().begin(), t.shape.dims().end());
    offset[static_cast<size_t>(dim)] = begin;
    extent[static_cast<size_t>(dim)] = end - begin;
    slices[static_cast<size_t>(r)].push_back({t.name, t.dtype, t.shape, {Shape(offset), Shape(extent)}});
  }
}

void add_flat(const std::vector<LogicalTensor>& tensors, std::vector<std::vector<Slice>>& slices) {
  const auto num = static_cast<int64_t>(slices.size());
  int64_t total = 0;
  for (const LogicalTensor& t : tensors) total += t.shape.numel();
  for (int64_t r = 0; r < num; ++r) {
    int64_t at = 0;
    for (const LogicalTensor& t : tensors) {
      const int64_t size = t.shape.numel();
      const int64_t begin = std::clamp<int64_t>(total * r / num - at, 0, size),
                    end = std::clamp<int64_t>(total * (r + 1) / num - at, 0, size);
      at += size;
      for (const BoxOfRun& part : cut_range(whole_box(t.shape), begin, end))
        slices[static_cast<size_t>(r)].push_back({t.name, t.dtype, t.shape, part.box});
    }
  }
}

}  // namespace

std::vector<LogicalTensor> logical_tensors(uint64_t seed) {
  constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f32, DType::i64, DType::u8};
  std::vector<LogicalTensor> tensors = {{"scalar", DType::f64, {}}};
  for (uint64_t i = 0; i < 7; ++i) {
    std::vector<int64_t> dims;
    for (int64_t d = i == 0 ? 3 : 1 + draw(seed, i, 2); d > 0; --d)
      dims.push_back(1 + draw(seed, 100 * i + static_cast<uint64_t>(d), 23));
    tensors.push_back({"layers." + std::to_string(i) + ".weight", kTypes[i % 5], Shape(dims)});
  }
  return tensors;
}

std::vector<std::vector<Slice>> owned_slices(const std::vector<LogicalTensor>& tensors, int num_ranks,
                                             int kind) {
  std::vector<std::vector<Slice>> slices(static_cast<size_t>(num_ranks));
  if (kind == 0) {
    add_flat(tensors, slices);
    return slices;
  }
  std::vector<Slice> shared;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const LogicalTensor& t = tensors[i];
    if (kind == 3 && i % 3 != 0) {
      slices[i % slices.size()].push_back(whole_slice(t.name, t.dtype, t.shape));
    } else if (kind == 3 || t.shape.rank() < kind) {
      shared.push_back(whole_slice(t.name, t.dtype, t.shape));
    } else {
      add_part(t, kind - 1, slices);
    }
  }
  for (int r = 0; r < num_ranks; ++r) {
    for (const SharedPart& part : share_slices(shared, r, num_ranks)) {
      Slice slice = shared[part.slice];
      slice.box = part.box;
      slices[static_cast<size_t>(r)].push_back(slice);
    }
  }
  return slices;
}

std::vector<std::vector<Slice>> wanted_slices(const std::vector<LogicalTensor>& tensors, int num_ranks,
                                              int kind) {
  if (kind < 4) return owned_slices(tensors, num_ranks, kind);
  std::vector<Slice> all;
  for (const LogicalTensor& t : tensors) all.push_back(whole_slice(t.name, t.dtype, t.shape));
  return std::vector<std::vector<Slice>>(static_cast<size_t>(num_ranks), all);
}

std::vector<std::byte> bytes_of(const Slice& slice, uint64_t version) {
  const size_t element = size_of(slice.dtype);
  std::vector<std::byte> bytes(static_cast<size_t>(slice.bytes()));
  const uint64_t key = stream_key(version, slice.name);
  for_each_run(slice.box, slice.shape, [&](int64_t index, int64_t place, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t bits = (key + static_cast<uint64_t>(index + i)) * 0x9e3779b97f4a7c15ull >> 3;
      std::memcpy(bytes.data() + static_cast<size_t>(place + i) * element, &bits, element);
    }
  });
  return bytes;
}

std::vector<SliceSource> sources_of(const std::vector<Slice>& slices, uint64_t version) {
  std::vector<SliceSource> sources;
  for (const Slice& slice : slices) {
    const auto bytes = std::make_shared<std::vector<std::byte>>(bytes_of(slice, version));
    sources.push_back({slice,
                       [bytes](Stream&, int64_t begin, std::span<std::byte> to) {
                         std::memcpy(to.data(), bytes->data() + begin, to.size());
                       },
                       bytes->data()});
  }
  return sources;
}

ProofHash proof_of(const std::vector<LogicalTensor>& tensors, uint64_t version) {
  ProofHash proof;
  for (const LogicalTensor& t : tensors) {
    const Slice slice = whole_slice(t.name, t.dtype, t.shape);
    proof.add(slice, 0, bytes_of(slice, version));
  }
  return proof;
}

}  // namespace trireme::test
