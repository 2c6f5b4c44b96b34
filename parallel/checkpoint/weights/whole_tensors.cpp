#include "parallel/checkpoint/weights/whole_tensors.h"

#include <cstring>
#include <limits>
#include <utility>

#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/format/cut_range.h"
#include "parallel/checkpoint/format/slice_file.h"
#include "parallel/checkpoint/planned_file.h"
#include "parallel/checkpoint/save/commit.h"
#include "parallel/checkpoint/snapshot.h"
#include "parallel/checkpoint/state_slices.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"
#include "runtime/base/half.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/io/files/durable_file.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme {

namespace {

template <class Element>
std::vector<std::byte> widened(std::span<const std::byte> bytes) {
  std::vector<std::byte> out(bytes.size() / sizeof(Element) * sizeof(float));
  for (size_t i = 0; i < bytes.size() / sizeof(Element); ++i) {
    Element element;
    std::memcpy(&element, bytes.data() + i * sizeof element, sizeof element);
    const auto value = static_cast<float>(element);
    std::memcpy(out.data() + i * sizeof value, &value, sizeof value);
  }
  return out;
}

std::vector<std::byte> as_f32(std::vector<std::byte> bytes, DType type) {
  if (type == DType::bf16) return widened<bf16>(bytes);
  if (type == DType::f16) return widened<fp16>(bytes);
  return bytes;
}

}  // namespace

WholeTensors::WholeTensors(std::string path) : path_(std::move(path)), manifest_(read_manifest(path_)) {
  const auto& stored = manifest_.stored.slices;
  for (size_t i = 0; i < stored.size(); ++i) {
    const Slice& slice = stored[i].slice;
    tensors_.try_emplace(slice.name, whole_slice(slice.name, slice.dtype, slice.shape));
    slices_[slice.name].push_back(i);
  }
}

std::vector<std::byte> WholeTensors::read(std::string_view name) const {
  const auto found = tensors_.find(name);
  TRIREME_CHECK(found != tensors_.end(), "{} has no tensor {}", path_, name);
  const Slice& whole = found->second;
  const size_t size = size_of(whole.dtype);
  std::vector<std::byte> bytes(static_cast<size_t>(whole.bytes())), buffer;
  for (const size_t i : slices_.find(name)->second) {
    const StoredSlice& stored = manifest_.stored.slices[i];
    const SliceFile file(path_, manifest_.stored.files[stored.file]);
    file.check_head();
    file.read_slice(stored, buffer, [&](int64_t begin, std::span<const std::byte> piece) {
      const auto first = begin / static_cast<int64_t>(size),
                 end = first + static_cast<int64_t>(piece.size() / size);
      for (const BoxOfRun& run : cut_range(stored.slice.box, first, end)) {
        const std::byte* from = piece.data() + static_cast<size_t>(run.begin) * size;
        copy_box(run.box, size, run.box, from, whole.box, bytes.data());
      }
      return true;
    });
  }
  return bytes;
}

void export_weights(const WholeTensors& from, const std::string& file) {
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : from.tensors()) {
    if (!is_optimizer_state(name)) specs.push_back({name, DType::f32, tensor.shape});
  }
  const size_t num_weights = specs.size();
  std::vector<const std::vector<float>*> biases;
  for (const auto& [router, values] : from.manifest().state.router_biases) {
    specs.push_back({router + ".bias", DType::f32, {std::ssize(values)}});
    biases.push_back(&values);
  }
  SafetensorsWriter writer(file, specs, TextMap{{"format", "trireme"}});
  for (size_t i = 0; i < num_weights; ++i) {
    const DType type = from.tensors().find(specs[i].name)->second.dtype;
    writer.write(specs[i].name, as_f32(from.read(specs[i].name), type));
  }
  for (size_t i = 0; i < biases.size(); ++i)
    writer.write(specs[num_weights + i].name, std::as_bytes(std::span(*biases[i])));
  writer.commit();
}

std::string consolidate(const WholeTensors& from, const std::string& directory) {
  FileCalls calls;
  const auto self = make_self_communicator();
  std::vector<Slice> slices;
  for (const auto& [name, tensor] : from.tensors()) slices.push_back(tensor);
  const Retention all{.keep = std::numeric_limits<int64_t>::max()};
  const CommitRequest request{directory, from.manifest().state, all};
  return commit_checkpoint(
             calls, *self, request,
             [&](const std::string& unfinished) {
               StoredFiles stored;
               ProofHash proof;
               for (const PlannedFile& planned : plan_files(0, slices)) {
                 DurableFile file(calls, unfinished + "/" + planned.name);
                 file.write(planned.head);
                 const auto head_bytes = static_cast<int64_t>(planned.head.size());
                 StoredFile entry{planned.name, head_bytes, head_bytes, xxh3_128(planned.head)};
                 for (const size_t i : planned.slices) {
                   const std::vector<std::byte> bytes = from.read(slices[i].name);
                   proof.add(slices[i], 0, bytes);
                   stored.slices.push_back({slices[i], stored.files.size(), entry.bytes, xxh3_128(bytes)});
                   file.write(bytes);
                   entry.bytes += std::ssize(bytes);
                 }
                 file.sync();
                 file.close();
                 stored.files.push_back(entry);
               }
               if (proof != from.manifest().proof)
                 throw_user(ExitCode::checkpoint,
                            "{}: the proof hash of its tensors is not that of its manifest", from.path());
               return WrittenPart{stored, proof};
             })
      .path;
}

}  // namespace trireme
