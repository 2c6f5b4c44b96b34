#include "models/spec/describe_products.h"

#include <algorithm>

namespace trireme {

namespace {

void add_feed_forward(std::vector<Product>& products, const FeedForwardSpec& part, int64_t hidden,
                      const char* up, const char* down, int64_t rows = 1) {
  products.push_back({up, part.num_up() * part.width, hidden, rows});
  products.push_back({down, hidden, part.width, rows});
}

}  // namespace

int64_t LayerProducts::weights() const {
  int64_t sum = 0;
  for (const Product& product : products) sum += product.weights();
  return sum;
}

double LayerProducts::flops_of_attention(int64_t seq_len) const {
  const auto length = static_cast<double>(seq_len);
  double mean = length / 2;
  if (keys) {
    double pairs = 0;
    for (int64_t i = 0; i < seq_len; ++i)
      pairs += static_cast<double>(ops::count_seen(keys, window, i, 0, i + 1));
    mean = pairs / std::max(1.0, length);
  } else if (window > 0 && window < seq_len) {
    const auto most = static_cast<double>(window);
    mean = most - most * most / (2 * length);
  }
  return 4.0 * mean * static_cast<double>(query_width);
}

double LayerProducts::flops(int64_t seq_len) const {
  return 2.0 * static_cast<double>(weights()) + flops_of_attention(seq_len);
}

LayerProducts describe_products(const ModelSpec& spec, const BlockSpec& block) {
  const int64_t hidden = block.bottleneck ? block.bottleneck->width : spec.hidden_size;
  LayerProducts out;
  std::vector<Product>& products = out.products;
  if (block.convolution) {
    const ConvolutionSpec& c = *block.convolution;
    products.push_back({"convolution.in", 3 * c.width, hidden});
    products.push_back({"convolution.taps", c.width, c.kernel});
    products.push_back({"convolution.output", hidden, c.width});
  } else {
    out.query_width = block.attention.query_width();
    out.window = block.attention.window;
    out.keys = block.attention.keys;
    products.push_back({"attention.qkv", block.attention.qkv_width(), hidden});
    products.push_back({"attention.output", hidden, block.attention.query_width()});
  }
  if (block.bottleneck) {
    products.push_back({"bottleneck.in", hidden, spec.hidden_size});
    products.push_back({"bottleneck.out", spec.hidden_size, hidden});
    add_feed_forward(products, block.feed_forward, hidden, "ffn.up", "ffn.down",
                     block.bottleneck->num_feed_forwards);
    return out;
  }
  if (!block.mixture) {
    add_feed_forward(products, block.feed_forward, hidden, "ffn.up", "ffn.down");
    return out;
  }
  const MixtureSpec& mixture = *block.mixture;
  products.push_back({"ffn.router", mixture.routing.num_experts, hidden});
  add_feed_forward(products, mixture.expert, hidden, "ffn.experts.up", "ffn.experts.down",
                   mixture.routing.experts_per_token);
  if (mixture.shared) add_feed_forward(products, *mixture.shared, hidden, "ffn.shared.up", "ffn.shared.down");
  return out;
}

LayerProducts describe_head_products(const ModelSpec& spec) {
  LayerProducts out;
  out.products.push_back({"head", spec.vocab_size, spec.hidden_size});
  return out;
}

}  // namespace trireme
