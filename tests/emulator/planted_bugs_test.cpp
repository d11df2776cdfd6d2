#include <fstream>
#include <functional>
#include <set>

#include "emulator/kernel_support.h"
#include "emulator/planted/planted.h"

// Every detector must report its bug, whatever the order of threads, and name a line of the kernel that has it.
namespace {

using namespace emulator_tests;

/// The lines that carry the comment "BUG <name>".
std::set<int> lines_of_bug(const std::string& file, const std::string& name) {
  std::ifstream source(std::string(ARTEL_SOURCE_DIR) + "/tests/emulator/planted/" + file);
  std::set<int> lines;
  std::string line;
  for (int number = 1; std::getline(source, line); ++number) {
    const std::size_t at = line.find("BUG ");
    if (at != std::string::npos && line.substr(at + 4) == name) lines.insert(number);
  }
  return lines;
}

bool has_huge_pages() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string line;
  return std::getline(file, line) && line.find("[never]") == std::string::npos;
}

struct Bug {
  const char* file;
  const char* name;
  /// Each of them may be what reports it, and nothing else may.
  std::set<std::string> kinds;
  std::function<void(cudaStream_t)> run;
};

void require_reported(const Bug& bug) {
  const std::set<int> lines = lines_of_bug(bug.file, bug.name);
  INFO(bug.name);
  REQUIRE(!lines.empty());
  for (const ThreadOrder& order : all_orders()) {
    const Session session;
    use(order);
    const Stream stream;
    bug.run(stream);
    stream.wait();
    INFO("order " << static_cast<int>(order.order) << ", seed " << order.seed << ", errors:\n" << reports());
    REQUIRE(!emulator::errors().empty());
    for (const emulator::Error& error : emulator::errors()) {
      CHECK(bug.kinds.count(error.kind) == 1);
      CHECK(error.file.substr(error.file.rfind('/') + 1) == bug.file);
      CHECK(lines.count(error.line) == 1);
      CHECK((error.text.find("in kernel ") != std::string::npos || bug.name == std::string("device_pointer_on_host")));
    }
  }
}

}  // namespace

TEST_CASE("threads that exit before a barrier or a shuffle are reported in every build") {
  const auto run = [](auto kernel) {
    return [kernel](cudaStream_t stream) {
      const DeviceArray<float> y(128);
      kernel(y.data(), stream);
    };
  };
  require_reported({"divergence.cu", "exit_before_barrier", {"synccheck"}, run(planted::exit_before_barrier)});
  require_reported({"divergence.cu", "exit_before_shuffle", {"synccheck"}, run(planted::exit_before_shuffle)});
}

TEST_CASE("threads that wait at different places are reported in every build") {
  const auto run = [](auto kernel) {
    return [kernel](cudaStream_t stream) {
      const DeviceArray<float> y(128);
      kernel(y.data(), stream);
    };
  };
  require_reported({"divergence.cu", "shuffle_against_barrier", {"deadlock"}, run(planted::shuffle_against_barrier)});
  require_reported({"divergence.cu", "different_barriers", {"synccheck"}, run(planted::different_barriers)});
  require_reported({"divergence.cu", "different_shuffles", {"deadlock"}, run(planted::different_shuffles)});
}

TEST_CASE("wrong masks and lanes of collectives are reported in every build") {
  const auto run = [](auto kernel) {
    return [kernel](cudaStream_t stream) {
      const DeviceArray<float> y(128);
      kernel(y.data(), stream);
    };
  };
  require_reported({"divergence.cu", "lane_outside_its_mask", {"synccheck"}, run(planted::lane_outside_its_mask)});
  require_reported(
      {"divergence.cu", "shuffle_from_absent_lane", {"synccheck"}, run(planted::shuffle_from_absent_lane)});
  require_reported({"divergence.cu", "matrix_differs_between_lanes", {"synccheck"}, [](cudaStream_t stream) {
                      const DeviceArray<float> x(numbers<float>(512));
                      const DeviceArray<float> y(256);
                      planted::matrix_differs_between_lanes(x.data(), y.data(), stream);
                    }});
}

TEST_CASE("missing barriers are reported") {
  if (!emulator::checks_memory()) return;
  const auto run = [](auto kernel) {
    return [kernel](cudaStream_t stream) {
      const DeviceArray<float> x(numbers<float>(512));
      const DeviceArray<float> y(512);
      kernel(x.data(), y.data(), stream);
    };
  };
  const std::set<std::string> kinds = {"racecheck", "initcheck"};
  const char* file = "missing_barriers.cu";
  require_reported({file, "sum_without_barrier", kinds, run(planted::sum_without_barrier)});
  require_reported({file, "scan_without_barrier", {"racecheck"}, [](cudaStream_t stream) {
                      const DeviceArray<int> x(numbers<int>(128));
                      const DeviceArray<int> sums(128);
                      planted::scan_without_barrier(x.data(), sums.data(), stream);
                    }});
  require_reported(
      {file, "tile_without_barrier_before_reuse", {"racecheck"}, run(planted::tile_without_barrier_before_reuse)});
  require_reported({file, "broadcast_without_barrier", kinds, run(planted::broadcast_without_barrier)});
  require_reported({file,
                    "barrier_in_some_warps_only",
                    {"racecheck", "initcheck", "synccheck"},
                    run(planted::barrier_in_some_warps_only)});
}

TEST_CASE("missing __syncwarp is reported, also beside collectives that wait for the whole warp") {
  if (!emulator::checks_memory()) return;
  const auto run = [](auto kernel) {
    return [kernel](cudaStream_t stream) {
      const DeviceArray<float> x(numbers<float>(512));
      const DeviceArray<float> y(512);
      kernel(x.data(), y.data(), stream);
    };
  };
  const std::set<std::string> kinds = {"racecheck", "initcheck"};
  const char* file = "missing_barriers.cu";
  require_reported({file, "exchange_without_sync_warp", kinds, run(planted::exchange_without_sync_warp)});
  require_reported({file, "shuffle_as_sync_warp", kinds, run(planted::shuffle_as_sync_warp)});
  require_reported({file, "wmma_without_sync_warp", kinds, run(planted::wmma_without_sync_warp)});
}

TEST_CASE("reads of memory that nobody wrote are reported") {
  if (!emulator::checks_memory()) return;
  const auto run = [](auto kernel) {
    return [kernel](cudaStream_t stream) {
      const DeviceArray<float> y(128);
      kernel(y.data(), stream);
    };
  };
  require_reported({"memory.cu", "uninitialized_shared", {"initcheck"}, run(planted::uninitialized_shared)});
  require_reported(
      {"memory.cu", "stale_shared_of_last_block", {"initcheck"}, run(planted::stale_shared_of_last_block)});
  require_reported({"memory.cu", "uninitialized_global", {"initcheck"}, [](cudaStream_t stream) {
                      const DeviceArray<float> x(128);
                      const DeviceArray<float> y(128);
                      planted::uninitialized_global(x.data(), y.data(), stream);
                    }});
}

TEST_CASE("accesses out of bounds are reported") {
  if (!emulator::checks_memory()) return;
  const auto run = [](auto kernel) {
    return [kernel](cudaStream_t stream) {
      const DeviceArray<float> y(128);
      kernel(y.data(), stream);
    };
  };
  const char* file = "memory.cu";
  require_reported({file, "shared_read_out_of_bounds", {"memcheck"}, run(planted::shared_read_out_of_bounds)});
  require_reported({file, "shared_write_out_of_bounds", {"memcheck"}, run(planted::shared_write_out_of_bounds)});
  require_reported({file, "dynamic_shared_out_of_bounds", {"memcheck"}, run(planted::dynamic_shared_out_of_bounds)});
  require_reported({file, "global_read_out_of_bounds", {"memcheck"}, [](cudaStream_t stream) {
                      const DeviceArray<float> x(numbers<float>(100));
                      const DeviceArray<float> y(128);
                      planted::global_read_out_of_bounds(x.data(), y.data(), 100, stream);
                    }});
  require_reported({file, "global_write_out_of_bounds", {"memcheck"}, [](cudaStream_t stream) {
                      const DeviceArray<float> y(100);
                      planted::global_write_out_of_bounds(y.data(), 100, stream);
                    }});
  require_reported({file, "struct_copy_out_of_bounds", {"memcheck"}, [](cudaStream_t stream) {
                      const DeviceArray<float> x(numbers<float>(96));
                      const DeviceArray<float> y(8);
                      planted::struct_copy_out_of_bounds(x.data(), y.data(), 96, stream);
                    }});
  require_reported({file, "atomic_out_of_bounds", {"memcheck"}, [](cudaStream_t stream) {
                      const DeviceArray<int> y(100);
                      planted::atomic_out_of_bounds(y.data(), 100, stream);
                    }});
}

#if !defined(__clang__) && !defined(EMULATOR_UNDEFINED_SANITIZER)
TEST_CASE("misaligned vectors are reported by kernels that g++ compiles") {
  if (emulator::checks_memory()) return;  // those are compiled by clang
  const auto run = [](auto kernel) {
    return [kernel](cudaStream_t stream) {
      const DeviceArray<float> x(numbers<float>(128));
      const DeviceArray<float> y(128);
      kernel(x.data(), y.data(), stream);
    };
  };
  require_reported({"memory.cu", "misaligned_vector", {"memcheck"}, run(planted::misaligned_vector)});
  require_reported({"memory.cu", "misaligned_pack", {"memcheck"}, run(planted::misaligned_pack)});
}
#endif

TEST_CASE("use after free and pointers of the wrong side are reported") {
  if (!emulator::checks_memory()) return;
  const char* file = "memory.cu";
  require_reported({file, "use_after_free", {"memcheck"}, [](cudaStream_t stream) {
                      const DeviceArray<float> y(128);
                      const float* freed = nullptr;
                      {
                        const DeviceArray<float> x(numbers<float>(128));
                        freed = x.data();
                      }
                      planted::use_after_free(freed, y.data(), stream);
                    }});
  require_reported({file, "host_pointer", {"memcheck"}, [](cudaStream_t stream) {
                      const std::vector<float> host = numbers<float>(128);
                      const DeviceArray<float> y(128);
                      planted::host_pointer(host.data(), y.data(), stream);
                      cudaStreamSynchronize(stream);
                    }});
  require_reported({file, "writes_host_variable", {"memcheck"}, planted::writes_host_variable});
  require_reported({file, "device_pointer_on_host", {"memcheck"}, [](cudaStream_t) {
                      const DeviceArray<float> x(numbers<float>(128));
                      CHECK(planted::device_pointer_on_host(x.data()) == 3);
                    }});
}

TEST_CASE("code of the host that touches device memory is reported in every build, wherever it is") {
  const Session session;
  const DeviceArray<float> x(numbers<float>(100));
  const float* on_host = x.data();
  CHECK(on_host[42] == 42);
  INFO(reports());
  CHECK(num_reported("memcheck", {"code of the host touches device memory, in "}) == (has_huge_pages() ? 1 : 0));
  emulator::clear_errors();
  CHECK(x.values()[7] == 7);
  CHECK(reports().empty());
  emulator::config().guard = false;
  CHECK(x.values()[8] == 8);
  CHECK(on_host[9] == 9);
  CHECK(reports().empty());
}

TEST_CASE("races between blocks, and between atomic operations and others, are reported") {
  if (!emulator::checks_memory()) return;
  const char* file = "races.cu";
  const std::set<std::string> kinds = {"racecheck", "initcheck"};
  const auto run = [](auto kernel) {
    return [kernel](cudaStream_t stream) {
      const DeviceArray<float> y(numbers<float>(128));
      kernel(y.data(), stream);
    };
  };
  require_reported({file, "blocks_write_same_element", {"racecheck"}, run(planted::blocks_write_same_element)});
  require_reported(
      {file, "block_reads_what_another_writes", {"racecheck"}, run(planted::block_reads_what_another_writes)});
  require_reported(
      {file, "block_writes_what_another_read", {"racecheck"}, run(planted::block_writes_what_another_read)});
  require_reported({file, "plain_write_beside_atomic", {"racecheck"}, [](cudaStream_t stream) {
                      const DeviceArray<int> y(numbers<int>(1));
                      planted::plain_write_beside_atomic(y.data(), stream);
                    }});
  require_reported({file, "plain_read_beside_atomic", {"racecheck"}, [](cudaStream_t stream) {
                      const DeviceArray<int> y(numbers<int>(1));
                      const DeviceArray<int> z(1);
                      planted::plain_read_beside_atomic(y.data(), z.data(), stream);
                    }});
  require_reported({file, "halves_of_a_word_written_twice", {"racecheck"}, [](cudaStream_t stream) {
                      const DeviceArray<unsigned short> y(64);
                      planted::halves_of_a_word_written_twice(y.data(), stream);
                    }});
}
