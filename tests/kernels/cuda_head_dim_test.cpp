#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/test_device.h"

// What only the CUDA backend refuses.

namespace artel {
namespace {

TEST_CASE("attention on a GPU names the head sizes that it has", "[cuda]") {
  TestDevice device;
  const Context context = device.context();
  for (const std::int64_t head_dim : {2, 16, 48, 256}) {
    const AttentionShape shape{1, 3, 2, 1, head_dim};
    const Tensor qkv = context.empty({3, 4, head_dim}, DType::f32), y = context.empty({3, 2, head_dim}, DType::f32);
    const Tensor lse = context.empty({1, 2, 3}, DType::f32);
    const std::string forward = error_text([&] { device.backend.attention(qkv, shape, y, lse); });
    expect_contains(forward, "[attention] required head_dim of 32, 64, 96 or 128");
    expect_contains(forward, "found " + std::to_string(head_dim));
    expect_contains(error_text([&] { device.backend.attention_backward(qkv, y, lse, y, shape, qkv); }),
                    "[attention_backward] required head_dim of 32, 64, 96 or 128");
  }
}

}  // namespace
}  // namespace artel
