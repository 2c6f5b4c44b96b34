#include "launch/serve/engine/pass_news.h"

#include <utility>

#include "launch/generate/shared_requests.h"

namespace trireme::launch {

namespace {

std::vector<uint8_t> packed_news(const PassNews& news) {
  nlohmann::json added = nlohmann::json::array();
  for (const GenerationRequest& request : news.added) added.push_back(json_of(request));
  return nlohmann::json::to_cbor(nlohmann::json::array({news.ended, added, news.is_end}));
}

PassNews unpacked_news(const std::vector<uint8_t>& bytes) {
  const nlohmann::json list = nlohmann::json::from_cbor(bytes);
  PassNews news{
      .ended = list.at(0).get<std::vector<int64_t>>(), .added = {}, .is_end = list.at(2).get<bool>()};
  for (const nlohmann::json& request : list.at(1)) news.added.push_back(generation_of(request));
  return news;
}

}  // namespace

PassNews exchange(Context& ctx, Communicator& world, PassNews own, PassNumbers& numbers) {
  Stream& stream = ctx.host_stream();
  std::vector<uint8_t> bytes;
  const bool is_first = world.rank() == 0;
  if (is_first && !own.is_empty()) bytes = packed_news(own);
  int64_t header[] = {std::ssize(bytes), numbers.signal, numbers.prompt_tokens};
  world.all_reduce(stream, Tensor::borrow(header, {3}, DType::i64), ReduceOp::max);
  numbers = {header[1], header[2]};
  if (header[0] == 0) return {};
  bytes.resize(static_cast<size_t>(header[0]));
  world.broadcast(stream, Tensor::borrow(bytes.data(), {header[0]}, DType::u8), 0);
  return is_first ? std::move(own) : unpacked_news(bytes);
}

}  // namespace trireme::launch
