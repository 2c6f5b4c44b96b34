#include "models/inference/packed_loader.h"

#include <algorithm>
#include <utility>

#include <fmt/ranges.h>

#include "runtime/base/error.h"
#include "runtime/base/half.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme {

namespace {

using ops::PackedFormat;
using ops::PackedSpec;

void expect_known(const PackedSpec& spec) {
  const bool has_groups = spec.format == PackedFormat::int8 || spec.format == PackedFormat::int4;
  const int64_t group = spec.group;
  if (has_groups && group != 0 && group != 32 && group != 64 && group != 128)
    throw_usage("{} weights in groups of {}: groups have 32, 64 or 128 inputs, or 0: all of an output",
                ops::to_string(PackedSpec{spec.format}), group);
  if (!has_groups && (group != 0 || !spec.symmetric))
    throw_usage("{} weights have no groups of {} inputs of their own: int8 and int4 have",
                ops::to_string(PackedSpec{spec.format}), group);
  if (spec.sparse && !ops::can_be_sparse(spec))
    throw_usage("{} weights: only f32, bf16 and symmetric int8 are decoded faster without their zeros",
                ops::to_string(spec));
}

/// Whether codes of `stored` can be kept where `asked` is asked for: they are the same, with zeros or
/// without.
bool keeps_codes_of(const PackedSpec& stored, PackedSpec asked) {
  asked.sparse = stored.sparse;
  return asked == stored;
}

/// Where the matrices from `begin` on cease to have one order of inputs.
size_t end_of_order(std::span<const ops::CodedMatrix> coded, size_t begin) {
  size_t end = begin;
  while (end < coded.size() && coded[end].order == coded[begin].order) ++end;
  return end;
}

std::string names_of(std::span<const PackedMember> run) {
  const std::string& first = run.front().parameter->name;
  return run.size() == 1 ? first : fmt::format("{} to {}", first, run.back().parameter->name);
}

}  // namespace

PackedLoader::PackedLoader(Context& ctx, const WeightSource& source, const InferenceOptions& options)
    : ctx_(ctx), source_(source), options_(options), kinds_(source.kinds()) {
  if (options.weights) expect_known(*options.weights);
  if (options.weights && options.weights->sparse && !can_be_sparse(*options.weights))
    throw_usage(
        "{} weights by exact activations are decoded slower than dense ones: take int8 activations, or leave "
        "sparse out",
        ops::to_string(*options.weights));
}

void PackedLoader::load(ParameterBlock& block) {
  if (!is_packed(block)) {
    block.weight = plain(block);
    return;
  }
  std::vector<PackedMember> members = members_of(block);
  const int64_t matrices = block.is_of_experts() ? num_experts_of(block) : 1;
  auto packed = std::make_shared<PackedBlock>();
  packed->activations = options_.activations;
  for (size_t begin = 0, end = 0; begin < members.size(); begin = end) {
    while (end < members.size() && is_kept_alike(members[end], members[begin])) ++end;
    const auto run = std::span(members).subspan(begin, end - begin);
    if (run.front().keeps_codes) {
      for (ops::PackedWeight& part : pack_codes(run, matrices)) packed->parts.push_back(std::move(part));
    } else {
      packed->parts.push_back(pack(run, matrices));
    }
  }
  block.packed = std::move(packed);
}

std::vector<PackedMember> PackedLoader::members_of(const ParameterBlock& block) const {
  std::vector<PackedMember> members;
  for (const Parameter& p : block.members) members.push_back(member_of(p));
  const bool alike = std::ranges::all_of(
      members, [&](const PackedMember& member) { return is_kept_alike(member, members.front()); });
  if (block.is_of_experts() && !alike) {
    for (PackedMember& member : members) member.spec = {compute_format()}, member.keeps_codes = false;
  }
  return members;
}

DType PackedLoader::scales_of(const PackedMember& member) const {
  if (!member.keeps_codes) return DType::bf16;
  // One type for all: numbers of fewer bits are none of bf16 by chance.
  Parameter some = *member.parameter;
  constexpr int64_t kRows = 4;
  some.shape = {std::min(kRows, some.shape[0]), some.shape[1]};
  const auto codes = source_.coded(some.name, some);
  const bool are_bf16 = codes && std::ranges::all_of(codes->scales, [](float scale) {
                          return static_cast<float>(bf16(scale)) == scale;
                        });
  return are_bf16 ? DType::bf16 : DType::f32;
}

int64_t PackedLoader::num_experts_of(const ParameterBlock& block) {
  return block.members.back().expert - block.members.front().expert + 1;
}

PackedFormat PackedLoader::compute_format() const { return *format_of(options_.compute_type); }

Tensor PackedLoader::plain(const ParameterBlock& block) {
  std::vector<float> values(static_cast<size_t>(block.shape().numel()));
  size_t at = 0;
  for (const Parameter& p : block.members) {
    const auto numel = static_cast<size_t>(p.shape.numel());
    source_.read(p.name, p, std::span(values).subspan(at, numel));
    at += numel;
    file_bytes_ += p.shape.numel() * static_cast<int64_t>(size_of(kinds_.find(p.name)->second.dtype));
  }
  const DType type = block.is_matrix() ? options_.compute_type : DType::f32;
  const Tensor weight = Tensor::empty(ctx_, block.shape(), type, MemoryCategory::weights);
  ops::copy(ctx_, ops::to_device(ctx_, values, block.shape()), weight);
  weight_bytes_ += weight.bytes();
  return weight;
}

PackedSpec PackedLoader::asked_spec(const Parameter& p, const std::optional<StoredMatrix>& stored) const {
  const PackedSpec& spec = *options_.weights;
  const bool is_of_ggml = ops::is_integer(spec.format) && spec.format < PackedFormat::int8;
  if (!is_of_ggml || (stored && stored->row && stored->format == spec.format)) return spec;
  const std::string asked = ops::to_string(spec);
  if (!stored || stored->format != spec.format) {
    throw_usage(
        "weights in {}: {} has {} in {}, and formats of ggml are only kept; float formats, int8 and "
        "int4 can be made of any",
        asked, source_.path(), p.name,
        ops::to_string(PackedSpec{stored ? stored->format : PackedFormat::f32}));
  }
  throw_usage(
      "weights in {}: inputs {} to {} of {}, which a tensor-parallel rank holds, cut its blocks of {}; "
      "choose another tensor-parallel degree, a float format, int8 or int4",
      asked, p.offset[1], p.offset[1] + p.shape[1], p.name, stored_block(spec.format).elements);
}

PackedSpec PackedLoader::stored_spec(const Parameter& p, const std::optional<StoredMatrix>& stored) const {
  const PackedFormat format = stored ? stored->format : *format_of(kinds_.find(p.name)->second.dtype);
  if (ops::is_integer(format)) return {stored->row ? format : compute_format()};
  return {options_.compute_type == DType::f32 ? format : compute_format()};
}

bool PackedLoader::can_be_sparse(const PackedSpec& spec) const {
  const bool is_slower = spec.format == PackedFormat::int8 && options_.activations == ops::Activations::exact;
  return ops::can_be_sparse(spec) && !is_slower;
}

PackedMember PackedLoader::member_of(const Parameter& p) const {
  Parameter whole = p;
  whole.offset = Shape{0, 0};
  whole.shape = p.global_shape;
  const auto codes = source_.coded_spec(p.name, p), whole_codes = source_.coded_spec(p.name, whole);
  const bool is_sparse = options_.weights ? options_.weights->sparse : source_.is_sparse(p.name);
  if (codes && (!options_.weights || keeps_codes_of(*codes, *options_.weights))) {
    PackedSpec spec = *codes;
    spec.sparse = is_sparse && can_be_sparse(spec);
    return {&p, {}, spec, codes, true};
  }
  auto stored = source_.stored(p.name, p);
  PackedSpec spec{compute_format()};
  if (options_.weights) {
    spec = asked_spec(p, stored);
  } else if (!whole_codes) {
    spec = stored_spec(p, stored);
  }
  spec.sparse = is_sparse && can_be_sparse(spec);
  return {&p, std::move(stored), spec, whole_codes};
}

std::vector<ops::PackedWeight> PackedLoader::pack_codes(std::span<PackedMember> run, int64_t matrices) {
  std::vector<ops::CodedMatrix> coded;
  for (const PackedMember& member : run) {
    auto matrix = source_.coded(member.parameter->name, *member.parameter);
    if (matrix) matrix->spec.sparse = member.spec.sparse;
    TRIREME_CHECK(matrix && matrix->spec == member.spec, "{}: {} has codes of {} and does not give them",
                  source_.path(), member.parameter->name, ops::to_string(member.spec));
    coded.push_back(std::move(*matrix));
  }
  // An expert's matrices have to lie in one.
  const size_t together = run.size() / static_cast<size_t>(matrices);
  for (size_t begin = 0; matrices > 1 && begin < run.size(); begin += together) {
    if (end_of_order(std::span(coded).first(begin + together), begin) == begin + together) continue;
    for (PackedMember& member : run) member.spec = {compute_format()}, member.keeps_codes = false;
    return {pack(run, matrices)};
  }
  std::vector<ops::PackedWeight> parts;
  for (size_t begin = 0, end = 0; begin < run.size(); begin = end) {
    end = matrices > 1 ? run.size() : end_of_order(coded, begin);
    try {
      parts.push_back(ops::pack_coded(ctx_, std::span(coded).subspan(begin, end - begin), matrices));
    } catch (const UserError& error) {
      throw_user(error.code(), "{}: {}: {}", source_.path(), names_of(run.subspan(begin, end - begin)),
                 error.what());
    }
    count(run.subspan(begin, end - begin), parts.back());
  }
  return parts;
}

ops::PackedWeight PackedLoader::pack(std::span<PackedMember> run, int64_t matrices) {
  PackedRows rows(ctx_, source_, run);
  const PackedSpec& spec = run.front().spec;
  const int64_t outputs = rows.size() / matrices, inputs = run.front().parameter->shape[1];
  ops::PackedWeight weight;
  if (rows.are_as_stored()) {
    weight = ops::pack_stored(ctx_, spec.format, matrices, outputs, inputs,
                              [&](int64_t row) { return rows.stored(row); });
  } else {
    try {
      weight = ops::pack_rows(ctx_, spec, matrices, outputs, inputs,
                              [&](int64_t row, std::span<float> values) { rows.read(row, values); });
    } catch (const UserError& error) {
      rows.rethrow();
      throw_user(error.code(), "{}: {}: {}", source_.path(), names_of(run), error.what());
    }
    rows.rethrow();
  }
  count(run, weight);
  return weight;
}

void PackedLoader::count(std::span<const PackedMember> run, const ops::PackedWeight& weight) {
  std::string format = ops::to_string(weight.spec);
  for (const PackedMember& member : run) {
    // Where a file leaves zeros out, and they are held, they count.
    const bool leaves_out = weight.spec.sparse && source_.is_sparse(member.parameter->name);
    const double share = leaves_out ? 1 - ops::zero_share(weight) : 1;
    if (const auto& codes = member.stored_codes) {
      file_bytes_ += stored_bytes(*codes, member.parameter->shape, share);
      if (!member.keeps_codes && !options_.weights)
        format = fmt::format("{} (of {})", ops::to_string(weight.spec), ops::to_string(*codes));
      continue;
    }
    const PackedFormat stored =
        member.stored ? member.stored->format : *format_of(kinds_.find(member.parameter->name)->second.dtype);
    const StoredBlock block = stored_block(stored);
    const int64_t numbers = member.parameter->shape.numel();
    file_bytes_ +=
        sparse_bytes((numbers + block.elements - 1) / block.elements * block.bytes, numbers, share);
    if (ops::is_integer(stored) && !ops::is_integer(weight.spec.format) && !options_.weights)
      format = fmt::format("{} (of {})", ops::to_string(weight.spec), ops::to_string(PackedSpec{stored}));
  }
  weight_bytes_ += weight.data.bytes();
  FormatCount& counted = by_format_[format];
  counted.bytes += weight.data.bytes();
  counted.numbers += weight.rows() * weight.inputs;
  if (weight.spec.sparse)
    counted.zeros += ops::zero_share(weight) * static_cast<double>(weight.rows() * weight.inputs);
}

LoadReport PackedLoader::report() const {
  std::vector<std::pair<int64_t, std::string>> formats;
  for (const auto& [format, of] : by_format_) {
    const double percent = 100 * of.zeros / static_cast<double>(of.numbers);
    formats.emplace_back(of.bytes,
                         of.zeros > 0 ? fmt::format("{} ({:.0f} % zeros)", format, percent) : format);
  }
  std::ranges::stable_sort(formats, std::ranges::greater(), &std::pair<int64_t, std::string>::first);
  std::vector<std::string> names;
  for (auto& [bytes, format] : formats) names.push_back(format);
  return {.file_bytes = file_bytes_,
          .weight_bytes = weight_bytes_,
          .formats = fmt::format("{}", fmt::join(names, ", "))};
}

}  // namespace trireme
