#include "parallel/checkpoint/weights/checkpoint_weights.h"

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/state_slices.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"
#include "runtime/io/files/mapped_file.h"

namespace trireme {

namespace {

/// Rows of a part, all in one slice.
struct SliceRows {
  int64_t begin, end;  // in the part
  const std::byte* first;
  int64_t row_bytes;
};

Box box_of(const Parameter& p) { return {p.offset, p.shape}; }

class CheckpointWeights final : public WeightSource {
 public:
  explicit CheckpointWeights(const std::string& directory)
      : path_(directory), manifest_(read_manifest(directory)) {
    for (const StoredFile& file : manifest_.stored.files) {
      const MappedFile& mapped = files_.emplace_back(directory + "/" + file.name);
      if (xxh3_128(mapped.bytes().first(static_cast<size_t>(file.head_bytes))) != file.head)
        throw_user(ExitCode::checkpoint, "{} is damaged: its header is not the one that was written",
                   mapped.path());
    }
    for (const StoredSlice& stored : manifest_.stored.slices) {
      const Slice& slice = stored.slice;
      if (is_optimizer_state(slice.name)) continue;
      kinds_.insert({slice.name, {slice.shape, slice.dtype}});
      slices_[slice.name].push_back(&checked_.emplace_back(stored));
    }
    for (const auto& [router, bias] : manifest_.state.router_biases)
      kinds_.insert({router + ".bias", {{std::ssize(bias)}, DType::f32}});
  }

  const std::string& path() const override { return path_; }
  std::map<std::string, StoredKind, std::less<>> kinds() const override { return kinds_; }

  void read(std::string_view name, const Parameter& p, std::span<float> values) const override {
    if (name.ends_with(kRouterBias)) return read_bias(name, p, values);
    const Box wanted = box_of(p);
    for (const CheckedSlice* slice : slices_.find(name)->second) {
      const auto part = intersection(slice->stored.slice.box, wanted);
      if (part) read_part(*part, *slice, wanted, values);
    }
  }

  std::optional<StoredMatrix> stored(std::string_view name, const Parameter& p) const override {
    const auto format = format_of(kinds_.find(name)->second.dtype);
    if (!format || p.shape.rank() != 2) return std::nullopt;
    std::vector<SliceRows> all;
    int64_t num_rows = 0;
    for (const CheckedSlice* slice : slices_.find(name)->second) {
      const Box& box = slice->stored.slice.box;
      const auto part = intersection(box, box_of(p));
      if (!part) continue;
      const std::byte* bytes = checked_bytes(*slice);
      if (part->extent[1] != p.shape[1]) continue;  // rows in pieces
      const auto element = static_cast<int64_t>(size_of(slice->stored.slice.dtype));
      const int64_t row_bytes = box.extent[1] * element, begin = part->offset[0] - p.offset[0];
      all.push_back({begin, begin + part->extent[0],
                     bytes + (part->offset[0] - box.offset[0]) * row_bytes +
                         (part->offset[1] - box.offset[1]) * element,
                     row_bytes});
      num_rows += part->extent[0];
    }
    StoredMatrix matrix{.format = *format};
    if (num_rows != p.shape[0]) return matrix;
    std::ranges::sort(all, {}, &SliceRows::begin);
    matrix.row = [all = std::move(all)](int64_t row) {
      const SliceRows& rows = *(std::ranges::upper_bound(all, row, {}, &SliceRows::begin) - 1);
      return rows.first + (row - rows.begin) * rows.row_bytes;
    };
    return matrix;
  }

  void release_pages() const noexcept override {
    for (const MappedFile& file : files_) file.release_pages();
  }

 private:
  struct CheckedSlice {
    explicit CheckedSlice(const StoredSlice& of) : stored(of) {}
    const StoredSlice& stored;
    mutable std::once_flag checked;
  };

  const std::byte* checked_bytes(const CheckedSlice& slice) const {
    const StoredSlice& stored = slice.stored;
    const MappedFile& file = files_[stored.file];
    const auto bytes =
        file.bytes().subspan(static_cast<size_t>(stored.begin), static_cast<size_t>(stored.slice.bytes()));
    std::call_once(slice.checked, [&] {
      if (const Hash128 hash = xxh3_128(bytes); hash != stored.hash) {
        throw_user(ExitCode::checkpoint, "{} is damaged: tensor {} has the XXH3-128 {}, the manifest says {}",
                   file.path(), to_string(stored.slice), to_string(hash), to_string(stored.hash));
      }
    });
    return bytes.data();
  }

  /// `part`, which the slice has, to its place among the values of `wanted`.
  void read_part(const Box& part, const CheckedSlice& slice, const Box& wanted,
                 std::span<float> values) const {
    const std::byte* bytes = checked_bytes(slice);
    const Slice& stored = slice.stored.slice;
    const auto format = format_of(stored.dtype);
    TRIREME_CHECK(format.has_value(), "{} is of {}", stored.name, to_string(stored.dtype));
    const bool is_matrix = part.offset.rank() > 1;  // or of three dims, the last of which is 1
    const int of_columns = is_matrix ? 1 : 0;
    const auto first_in = [&](const Box& box, int64_t row) {
      const int64_t column = part.offset[of_columns] - box.offset[of_columns];
      return is_matrix ? (part.offset[0] - box.offset[0] + row) * box.extent[1] + column : column;
    };
    const auto element = static_cast<int64_t>(size_of(stored.dtype));
    for (int64_t row = 0; row < (is_matrix ? part.extent[0] : 1); ++row) {
      decode_row(*format, bytes + first_in(stored.box, row) * element,
                 values.subspan(static_cast<size_t>(first_in(wanted, row)),
                                static_cast<size_t>(part.extent[of_columns])));
    }
  }

  void read_bias(std::string_view name, const Parameter& p, std::span<float> values) const {
    const std::string router(name.substr(0, name.rfind('.')));
    const std::vector<float>& bias = manifest_.state.router_biases.at(router);
    std::copy_n(bias.begin() + p.offset[0], p.shape[0], values.begin());
  }

  std::string path_;
  Manifest manifest_;
  std::vector<MappedFile> files_;
  std::deque<CheckedSlice> checked_;
  std::map<std::string, std::vector<const CheckedSlice*>, std::less<>> slices_;
  std::map<std::string, StoredKind, std::less<>> kinds_;
};

}  // namespace

std::unique_ptr<WeightSource> open_checkpoint_weights(const std::string& directory) {
  return std::make_unique<CheckpointWeights>(directory);
}

}  // namespace trireme
