#include "launch/generate/shared_requests.h"

#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {

namespace {

nlohmann::json json_of_sampling(const SamplingOptions& o) {
  return {o.temperature,       o.top_k, o.top_p,     o.min_p, o.repetition_penalty, o.presence_penalty,
          o.frequency_penalty, o.seed,  o.logit_bias};
}

SamplingOptions sampling_of(const nlohmann::json& list) {
  return {.temperature = list.at(0).get<double>(),
          .top_k = list.at(1).get<int64_t>(),
          .top_p = list.at(2).get<double>(),
          .min_p = list.at(3).get<double>(),
          .repetition_penalty = list.at(4).get<double>(),
          .presence_penalty = list.at(5).get<double>(),
          .frequency_penalty = list.at(6).get<double>(),
          .seed = list.at(7).get<uint64_t>(),
          .logit_bias = list.at(8).get<std::vector<std::pair<int32_t, float>>>()};
}

std::vector<uint8_t> packed(const SharedRequests& shared) {
  nlohmann::json requests = nlohmann::json::array();
  for (const GenerationRequest& r : shared.requests) requests.push_back(json_of(r));
  return nlohmann::json::to_cbor(nlohmann::json::array({requests, shared.vocab_size, shared.is_end}));
}

SharedRequests unpacked(const std::vector<uint8_t>& bytes) {
  const nlohmann::json list = nlohmann::json::from_cbor(bytes);
  SharedRequests shared{
      .requests = {}, .vocab_size = list.at(1).get<int64_t>(), .is_end = list.at(2).get<bool>()};
  for (const nlohmann::json& r : list.at(0)) shared.requests.push_back(generation_of(r));
  return shared;
}

}  // namespace

nlohmann::json json_of(const GenerationRequest& r) {
  return nlohmann::json::array({r.prompt, r.max_tokens, json_of_sampling(r.sampling), r.end_tokens,
                                r.min_tokens, r.priority, r.num_alternatives, r.scores_prompt});
}

GenerationRequest generation_of(const nlohmann::json& r) {
  return {.prompt = r.at(0).get<std::vector<int32_t>>(),
          .max_tokens = r.at(1).get<int64_t>(),
          .sampling = sampling_of(r.at(2)),
          .end_tokens = r.at(3).get<std::vector<int32_t>>(),
          .min_tokens = r.at(4).get<int64_t>(),
          .priority = r.at(5).get<int64_t>(),
          .num_alternatives = r.at(6).get<int64_t>(),
          .scores_prompt = r.at(7).get<bool>()};
}

int64_t share_number(Communicator& world, int64_t own) {
  const auto stream = cpu::make_compute_stream();
  world.broadcast(*stream, Tensor::borrow(&own, {1}, DType::i64), 0);
  return own;
}

SharedRequests share(Communicator& world, const SharedRequests& own) {
  std::vector<uint8_t> bytes;
  if (world.rank() == 0) bytes = packed(own);
  const int64_t size = share_number(world, std::ssize(bytes));
  bytes.resize(static_cast<size_t>(size));
  const auto stream = cpu::make_compute_stream();
  world.broadcast(*stream, Tensor::borrow(bytes.data(), {size}, DType::u8), 0);
  return unpacked(bytes);
}

}  // namespace trireme::launch
