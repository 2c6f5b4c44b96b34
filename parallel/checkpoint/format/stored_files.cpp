// What files hold: as JSON, and whether it is all there once.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "parallel/checkpoint/format/manifest.h"
#include "parallel/checkpoint/format/strict_members.h"
#include "runtime/base/error.h"

namespace trireme {

using nlohmann::json;

namespace {

constexpr std::array kStoredTypes = {DType::f32, DType::bf16, DType::f16,    DType::f64,   DType::i32,
                                     DType::i64, DType::u8,   DType::f8e4m3, DType::f8e5m2};

DType read_dtype(const JsonPlace& place) {
  for (const DType dtype : kStoredTypes) {
    if (place.text() == to_string(dtype)) return dtype;
  }
  place.refuse("is {}: not a type of this program", place.text());
}

Shape read_shape(const JsonPlace& place, int64_t rank = -1) {
  std::vector<int64_t> dims;
  for (const JsonPlace& dim : place.list(rank)) dims.push_back(dim.integer());
  if (dims.size() > Shape::kMaxRank)
    place.refuse("has {} dims; at most {} work", dims.size(), Shape::kMaxRank);
  int64_t elements = 8;  // bytes of the widest type
  for (const int64_t dim : dims) {
    if (__builtin_mul_overflow(elements, dim, &elements)) place.refuse("is of more bytes than 2^63");
  }
  return Shape(dims);
}

/// A name of a file in the directory of the checkpoint, and nowhere else.
std::string read_file_name(const JsonPlace& place) {
  const std::string& name = place.text();
  constexpr std::string_view kSuffix = ".safetensors";
  const bool is_plain = std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
  if (!is_plain || name.size() > 200 || !name.ends_with(kSuffix) || name.starts_with('.'))
    place.refuse("is {}: expected the plain name of a file in this directory that ends in {}", name, kSuffix);
  return name;
}

StoredFile read_file(const JsonPlace& place) {
  place.allow_only({"name", "bytes", "head_bytes", "head_xxh3"});
  StoredFile file{.name = read_file_name(place.at("name")),
                  .bytes = place.at("bytes").integer(),
                  .head_bytes = 0,
                  .head = place.at("head_xxh3").hash()};
  file.head_bytes = place.at("head_bytes").integer(8, file.bytes);
  return file;
}

/// [file, begin, offset, extent, hash]
StoredSlice read_slice(const JsonPlace& place, const Slice& whole, const std::vector<StoredFile>& files) {
  const std::vector<JsonPlace> parts = place.list(5);
  StoredSlice stored;
  const int64_t rank = whole.shape.rank();
  stored.slice = {
      whole.name, whole.dtype, whole.shape, {read_shape(parts[2], rank), read_shape(parts[3], rank)}};
  if (!fits(stored.slice.box, whole.shape) || stored.slice.box.numel() == 0)
    place.refuse("is not part of a tensor of shape {}", to_string(whole.shape));
  stored.file = static_cast<size_t>(parts[0].integer(0, std::ssize(files) - 1));
  const StoredFile& file = files[stored.file];
  stored.begin = parts[1].integer(file.head_bytes, file.bytes);
  if (stored.slice.bytes() > file.bytes - stored.begin)
    place.refuse("has {} bytes from byte {} of {}, which ends at {}", stored.slice.bytes(), stored.begin,
                 file.name, file.bytes);
  stored.hash = parts[4].hash();
  return stored;
}

/// The bytes of each file after its head, each once.
void check_files(const StoredFiles& stored, const std::string& path) {
  std::vector<std::vector<const StoredSlice*>> of_file(stored.files.size());
  for (const StoredSlice& slice : stored.slices) of_file[slice.file].push_back(&slice);
  std::unordered_set<std::string_view> names;
  for (size_t i = 0; i < stored.files.size(); ++i) {
    const StoredFile& file = stored.files[i];
    if (!names.insert(file.name).second)
      throw_user(ExitCode::checkpoint, "{}: \"files[{}].name\": {} appears twice", path, i, file.name);
    std::ranges::sort(of_file[i], {}, &StoredSlice::begin);
    int64_t end = file.head_bytes;
    for (const StoredSlice* slice : of_file[i]) {
      if (slice->begin != end) {
        throw_user(ExitCode::checkpoint, "{}: \"tensors.{}\" begins at byte {} of {}, expected {}: {}", path,
                   slice->slice.name, slice->begin, file.name, end,
                   slice->begin < end ? "it overlaps another" : "there is a gap");
      }
      end += slice->slice.bytes();
    }
    if (end != file.bytes)
      throw_user(ExitCode::checkpoint, "{}: \"files[{}].bytes\" of {} is {}, its slices end at byte {}", path,
                 i, file.name, file.bytes, end);
  }
}

struct CornerHash {
  size_t operator()(const std::array<int64_t, Shape::kMaxRank>& corner) const {
    uint64_t h = 0;
    for (const int64_t x : corner) h = (h ^ static_cast<uint64_t>(x)) * 0x9e3779b97f4a7c15ull + (h >> 29);
    return static_cast<size_t>(h ^ (h >> 32));
  }
};

/// A set of boxes covers each element as often as another when their signed corners have the same sum: what
/// lies in a box is the sum, over all indices up to it, of ones at its corners with alternating signs.
class Corners {
 public:
  void add(const Box& box, int weight) {
    const int rank = box.offset.rank();
    for (int choice = 0; choice < 1 << rank; ++choice) {
      std::array<int64_t, Shape::kMaxRank> corner = {};
      int sign = weight;
      for (int d = 0; d < rank; ++d) {
        const bool is_end = (choice >> d & 1) != 0;
        corner[static_cast<size_t>(d)] = box.offset[d] + (is_end ? box.extent[d] : 0);
        if (is_end) sign = -sign;
      }
      const auto it = sums_.emplace(corner, 0).first;
      if ((it->second += sign) == 0) sums_.erase(it);
    }
  }
  bool all_zero() const { return sums_.empty(); }

 private:
  std::unordered_map<std::array<int64_t, Shape::kMaxRank>, int64_t, CornerHash> sums_;
};

/// Two that overlap, for the message.
std::string overlap_of(const std::vector<const Slice*>& slices) {
  constexpr size_t kMost = 2000;  // pairs take the square of it
  for (size_t i = 0; i < std::min(slices.size(), kMost); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (intersection(slices[i]->box, slices[j]->box))
        return fmt::format("{} and {} overlap", to_string(*slices[j]), to_string(*slices[i]));
    }
  }
  return "";
}

void check_tensor(const std::vector<const Slice*>& slices, const std::string& path) {
  const Slice& first = *slices.front();
  Corners corners;
  int64_t elements = 0;
  bool is_too_many = false;
  for (const Slice* slice : slices) {
    corners.add(slice->box, 1);
    is_too_many = is_too_many || __builtin_add_overflow(elements, slice->box.numel(), &elements);
  }
  corners.add(whole_slice("", first.dtype, first.shape).box, -1);
  if (!is_too_many && corners.all_zero()) return;
  std::string fault = overlap_of(slices);
  if (fault.empty()) {
    fault = elements < first.shape.numel()
                ? fmt::format("its slices have {} of its {} elements", elements, first.shape.numel())
                : "its slices overlap";
  }
  throw_user(ExitCode::checkpoint, "{}: \"tensors.{}\" is incomplete: {}", path, first.name, fault);
}

}  // namespace

json to_json(const StoredFiles& stored) {
  json files = json::array(), tensors = json::object();
  for (const StoredFile& file : stored.files) {
    files.push_back({{"name", file.name},
                     {"bytes", file.bytes},
                     {"head_bytes", file.head_bytes},
                     {"head_xxh3", to_string(file.head)}});
  }
  for (const StoredSlice& s : stored.slices) {
    json& tensor = tensors[s.slice.name];
    if (tensor.is_null())
      tensor = {
          {"dtype", to_string(s.slice.dtype)}, {"shape", s.slice.shape.dims()}, {"slices", json::array()}};
    tensor["slices"].push_back(json::array(
        {s.file, s.begin, s.slice.box.offset.dims(), s.slice.box.extent.dims(), to_string(s.hash)}));
  }
  return {{"files", std::move(files)}, {"tensors", std::move(tensors)}};
}

StoredFiles stored_from_json(const json& value, const std::string& path) {
  const JsonPlace root(value, path, "");
  root.allow_only({"files", "tensors"});
  StoredFiles stored;
  for (const JsonPlace& file : root.at("files").list()) stored.files.push_back(read_file(file));
  for (const auto& [name, tensor] : root.at("tensors").entries()) {
    tensor.allow_only({"dtype", "shape", "slices"});
    const Slice whole = whole_slice(name, read_dtype(tensor.at("dtype")), read_shape(tensor.at("shape")));
    const auto slices = tensor.at("slices").list();
    if (slices.empty()) tensor.at("slices").refuse("is empty");
    for (const JsonPlace& slice : slices) stored.slices.push_back(read_slice(slice, whole, stored.files));
  }
  return stored;
}

void check_stored(const StoredFiles& stored, const std::string& path) {
  check_files(stored, path);
  std::unordered_map<std::string_view, std::vector<const Slice*>> tensors;
  for (const StoredSlice& s : stored.slices) tensors[s.slice.name].push_back(&s.slice);
  for (const auto& [name, slices] : tensors) {
    for (const Slice* slice : slices) {
      if (slice->shape != slices.front()->shape || slice->dtype != slices.front()->dtype) {
        throw_user(ExitCode::checkpoint,
                   "{}: \"tensors.{}\" is {} of {} in one slice and {} of {} in another", path, name,
                   to_string(slices.front()->shape), to_string(slices.front()->dtype),
                   to_string(slice->shape), to_string(slice->dtype));
      }
    }
    check_tensor(slices, path);
  }
}

StoredFiles joined(const std::vector<StoredFiles>& parts) {
  StoredFiles all;
  for (const StoredFiles& part : parts) {
    const size_t first = all.files.size();
    all.files.insert(all.files.end(), part.files.begin(), part.files.end());
    for (StoredSlice slice : part.slices) {
      slice.file += first;
      all.slices.push_back(std::move(slice));
    }
  }
  return all;
}

}  // namespace trireme
