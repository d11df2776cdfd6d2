#include "support/test_device.h"

#include <cstring>

#include "support/catch.h"
#include "support/tensors.h"

namespace artel {

std::vector<cpu::Isa> supported_isas() {
  std::vector<cpu::Isa> isas;
  for (const cpu::Isa isa : {cpu::Isa::generic, cpu::Isa::avx2, cpu::Isa::avx512}) {
    if (isa <= cpu::detect_isa()) isas.push_back(isa);
  }
  return isas;
}

void for_each_isa(const std::function<void(TestDevice&)>& body) {
  for (const cpu::Isa isa : supported_isas()) {
    INFO("instruction set " << cpu::isa_name(isa));
    TestDevice device(2, isa);
    body(device);
  }
}

void expect_same_bits_for_any_num_threads(const std::function<NamedTensors(TestDevice&)>& run) {
  std::vector<std::string> expected;
  for (const int num_threads : {1, 2, 3, 4}) {
    INFO(num_threads << " threads");
    TestDevice device(num_threads);
    const NamedTensors outputs = run(device);
    REQUIRE_FALSE(outputs.empty());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const std::string bits = bytes_of(outputs[i].second);
      REQUIRE_FALSE(bits.empty());
      if (num_threads == 1) {
        expected.push_back(bits);
      } else if (bits != expected[i]) {
        FAIL_CHECK(outputs[i].first << " differs from the result of one thread");
      } else {
        SUCCEED(outputs[i].first);
      }
    }
  }
}

}  // namespace artel
