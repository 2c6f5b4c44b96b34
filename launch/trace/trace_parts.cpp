#include "launch/trace/trace_parts.h"

namespace trireme::launch {

namespace {

Tensor bytes_of(std::string& text) {
  return Tensor::borrow(text.data(), {static_cast<int64_t>(text.size())}, DType::u8);
}

constexpr const char* kLabel = "trace";

}  // namespace

void PartSender::send_number(int64_t value) {
  world_.send(stream_, Tensor::borrow(&value, {1}, DType::i64), 0, kLabel);
}

void PartSender::send(std::string_view piece) {
  std::string copy(piece);
  send_number(static_cast<int64_t>(copy.size()));
  world_.send(stream_, bytes_of(copy), 0, kLabel);
}

void PartSender::end() { send_number(0); }

void receive_parts(Communicator& world, Stream& host_stream, int rank,
                   const std::function<void(std::string_view)>& take) {
  std::string piece;
  for (;;) {
    int64_t length = 0;
    world.receive(host_stream, Tensor::borrow(&length, {1}, DType::i64), rank, kLabel);
    if (length == 0) return;
    piece.resize(static_cast<size_t>(length));
    world.receive(host_stream, bytes_of(piece), rank, kLabel);
    take(piece);
  }
}

}  // namespace trireme::launch
