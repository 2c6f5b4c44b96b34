#include "runtime/ops/cuda/packed/pack.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/base/parallel_for.h"
#include "runtime/ops/cuda/packed/tile_writer.h"

namespace trireme::ops::cuda {

namespace {

/// Memory of all tiles by way of two pieces of pinned memory: one is filled while the other is on its way.
class TileCopies {
 public:
  TileCopies(Context& ctx, const PackedLayout& layout)
      : ctx_(ctx),
        tile_bytes_(layout.tile_bytes),
        all_(layout.matrices * layout.tiles),
        tiles_(std::clamp<int64_t>(kPieceBytes / std::max<int64_t>(1, tile_bytes_), 1,
                                   std::max<int64_t>(1, all_))) {}
  ~TileCopies() {
    for (Piece& piece : pieces_) {
      if (piece.done) piece.done->synchronize();
    }
  }
  TileCopies(const TileCopies&) = delete;
  TileCopies& operator=(const TileCopies&) = delete;

  /// Calls fill(tile, memory of zeros) for each tile, from the context's threads.
  template <class Fill>
  void run(const Tensor& to, const Fill& fill) {
    auto* const device = static_cast<std::byte*>(to.raw());
    for (int64_t first = 0, i = 0; first < all_; first += tiles_, ++i) {
      const int64_t count = std::min(tiles_, all_ - first);
      const auto bytes = static_cast<size_t>(count * tile_bytes_);
      Piece& piece = pieces_[i % 2];
      if (piece.done) piece.done->synchronize();
      if (!piece.data) piece.data = ctx_.host_allocator().allocate(bytes, MemoryCategory::buffers);
      std::memset(piece.data.get(), 0, bytes);
      fill_tiles(first, count, piece.data.get(), fill);
      ctx_.stream().copy(device + first * tile_bytes_, piece.data.get(), bytes);
      piece.done = ctx_.stream().record();
    }
  }

 private:
  // What a row throws leaves the threads' team first.
  template <class Fill>
  void fill_tiles(int64_t first, int64_t count, std::byte* memory, const Fill& fill) const {
    std::exception_ptr failed;
    std::mutex mutex;
    parallel_for(ctx_.num_threads(), count, 1, [&](int64_t begin, int64_t end) {
      try {
        for (int64_t tile = begin; tile < end; ++tile) fill(first + tile, memory + tile * tile_bytes_);
      } catch (...) {
        const std::lock_guard lock(mutex);
        failed = std::current_exception();
      }
    });
    if (failed) std::rethrow_exception(failed);
  }

  static constexpr int64_t kPieceBytes = int64_t{8} << 20;
  struct Piece {
    std::shared_ptr<std::byte> data;
    std::shared_ptr<Event> done;
  };
  Context& ctx_;
  int64_t tile_bytes_, all_, tiles_;
  Piece pieces_[2];
};

/// Calls write(row, output of the tile, writer) for each row of the matrices.
template <class Write>
Tensor pack_tiles(Context& ctx, const PackedLayout& l, const Write& write) {
  const Tensor data = Tensor::empty(ctx, {l.bytes()}, DType::u8, MemoryCategory::weights);
  TileCopies(ctx, l).run(data, [&](int64_t tile, std::byte* memory) {
    const TileWriter writer(l, memory);
    const int64_t matrix = tile / l.tiles, first = tile % l.tiles * kTileOutputs;
    const int64_t end = std::min<int64_t>(first + kTileOutputs, l.outputs);
    for (int64_t o = first; o < end; ++o) {
      write(matrix * l.outputs + o, static_cast<int>(o - first), writer);
    }
  });
  return data;
}

uint16_t half_bits(const std::byte* at) {
  uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return bits;
}

}  // namespace

Tensor pack_integers(Context& ctx, const PackedSpec& spec, DType scale_type, int64_t matrices,
                     int64_t outputs, int64_t inputs, const ReadCodes& row) {
  const PackedLayout l(spec, matrices, outputs, inputs, scale_type);
  TRIREME_CHECK(spec.format >= PackedFormat::int8, "{} are no codes in groups", to_string(spec));
  const int64_t groups = inputs == 0 ? 0 : l.group_of(inputs - 1) + 1;
  return pack_tiles(ctx, l, [&](int64_t r, int output, const TileWriter& to) {
    std::vector<uint8_t> codes(static_cast<size_t>(inputs)), zeros(static_cast<size_t>(groups));
    std::vector<float> scales(static_cast<size_t>(groups));
    row(r, {codes, scales, zeros});
    for (int64_t i = 0; i < inputs; ++i) to.code(output, i, codes[static_cast<size_t>(i)]);
    for (int64_t g = 0; g < groups; ++g) {
      const auto at = static_cast<size_t>(g);
      if (l.kind == ScaleKind::wide_groups) {
        to.scale(l.fine, g, output, 1, 0, scales[at]);
      } else {
        const bf16 scale(scales[at]);
        TRIREME_CHECK(static_cast<float>(scale) == scales[at], "row {}, group {}: a scale of {} is no bf16",
                      r, g, scales[at]);
        to.scale(l.fine, g, output, 1, 0, scale.bits);
      }
      if (l.has_zeros) {
        to.scale(l.coarse, g, output, 1, 0, zeros[at]);
      } else {
        TRIREME_CHECK(zeros[at] == l.zero, "row {}, group {}: zero {} of symmetric numbers", r, g, zeros[at]);
      }
    }
  });
}

Tensor pack_floats(Context& ctx, PackedFormat format, int64_t matrices, int64_t outputs, int64_t inputs,
                   const ReadRow& row) {
  TRIREME_CHECK(!is_integer(format), "format {} has no floats", static_cast<int>(format));
  const PackedLayout l({.format = format}, matrices, outputs, inputs);
  return pack_tiles(ctx, l, [&](int64_t r, int output, const TileWriter& to) {
    std::vector<float> values(static_cast<size_t>(inputs));
    row(r, values);
    for (int64_t i = 0; i < inputs; ++i) {
      const float value = values[static_cast<size_t>(i)];
      if (format == PackedFormat::f32) {
        to.number(output, i, value);
      } else {
        to.number(output, i, format == PackedFormat::bf16 ? bf16(value).bits : fp16(value).bits);
      }
    }
  });
}

Tensor pack_stored(Context& ctx, PackedFormat format, int64_t matrices, int64_t outputs, int64_t inputs,
                   const StoredRow& row) {
  const PackedLayout l({.format = format}, matrices, outputs, inputs);
  return pack_tiles(ctx, l, [&](int64_t r, int output, const TileWriter& to) {
    const std::byte* const stored = row(r);
    if (is_integer(format)) return write_blocks(l, format, stored, output, to);
    for (int64_t i = 0; i < inputs; ++i) {
      if (format == PackedFormat::f32) {
        float value;
        std::memcpy(&value, stored + 4 * i, sizeof(value));
        to.number(output, i, value);
      } else {
        to.number(output, i, half_bits(stored + 2 * i));
      }
    }
  });
}

void unpack_row(Context& ctx, const PackedWeight& w, int64_t row, std::span<float> values) {
  const PackedLayout l(w);
  TRIREME_CHECK(0 <= row && row < w.rows() && std::ssize(values) == w.inputs,
                "row {} of {} into {} numbers of {}", row, w.rows(), values.size(), w.inputs);
  std::vector<std::byte> memory(static_cast<size_t>(l.tile_bytes));
  const int64_t tile = row / w.outputs * l.tiles + row % w.outputs / kTileOutputs;
  ctx.stream().copy(memory.data(), static_cast<const std::byte*>(w.data.raw()) + tile * l.tile_bytes,
                    memory.size());
  ctx.stream().synchronize();
  const HostTile reader(memory.data());
  const auto output = static_cast<int>(row % w.outputs % kTileOutputs);
  for (int64_t i = 0; i < w.inputs; ++i) {
    values[static_cast<size_t>(i)] = l.value(reader, output, i);
  }
}

}  // namespace trireme::ops::cuda
