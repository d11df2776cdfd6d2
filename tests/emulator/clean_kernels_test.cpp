#include <cmath>
#include <functional>
#include <numeric>

#include "emulator/kernel_support.h"
#include "emulator/planted/planted.h"

// Kernels without bugs give the right values and no report, whatever the order of threads.
namespace {

using namespace emulator_tests;

void in_all_orders(const std::function<void(cudaStream_t)>& run) {
  for (const ThreadOrder& order : all_orders()) {
    const Session session;
    use(order);
    const Stream stream;
    INFO("order " << static_cast<int>(order.order) << ", seed " << order.seed);
    run(stream);
    stream.wait();
    CHECK(reports().empty());
  }
}

}  // namespace

TEST_CASE("sums over blocks with shuffles and barriers are right") {
  in_all_orders([](cudaStream_t stream) {
    constexpr int num_rows = 7;
    constexpr int width = 200;
    const DeviceArray<float> x(numbers<float>(num_rows * width));
    const DeviceArray<float> sums(num_rows);
    planted::sums_of_rows(x.data(), sums.data(), num_rows, width, stream);
    for (const float sum : sums.values()) CHECK(sum == 9900);
  });
}

TEST_CASE("a tile in dynamic shared memory is used again after barriers") {
  in_all_orders([](cudaStream_t stream) {
    constexpr int rows = 37;
    constexpr int columns = 50;
    std::vector<float> values(rows * columns);
    std::iota(values.begin(), values.end(), 0.0F);
    const DeviceArray<float> x(values);
    const DeviceArray<float> y(values.size());
    planted::transposed_tiles(x.data(), y.data(), rows, columns, stream);
    const std::vector<float> result = y.values();
    for (int i = 0; i < rows * columns; ++i) {
      REQUIRE(result[static_cast<std::size_t>(i)] == values[static_cast<std::size_t>(i % rows * columns + i / rows)]);
    }
  });
}

TEST_CASE("a product of wmma fragments is exact for small integers") {
  in_all_orders([](cudaStream_t stream) {
    std::vector<float> a(256);
    std::vector<float> b(256);
    for (int i = 0; i < 256; ++i) {
      a[static_cast<std::size_t>(i)] = static_cast<float>(i % 7 - 3);
      b[static_cast<std::size_t>(i)] = static_cast<float>(i % 11 - 5);
    }
    const DeviceArray<float> device_a(a);
    const DeviceArray<float> device_b(b);
    const DeviceArray<float> c(256);
    planted::product_of_16x16(device_a.data(), device_b.data(), c.data(), stream);
    const std::vector<float> result = c.values();
    for (std::size_t row = 0; row < 16; ++row) {
      for (std::size_t column = 0; column < 16; ++column) {
        float sum = 0;
        for (std::size_t k = 0; k < 16; ++k) sum += a[row * 16 + k] * b[k * 16 + column];
        REQUIRE(result[row * 16 + column] == 2 * sum);
      }
    }
  });
}

TEST_CASE("atomic operations count, whatever the order") {
  in_all_orders([](cudaStream_t stream) {
    constexpr int n = 1000;
    const std::vector<int> values = numbers<int>(n);
    std::vector<int> bins(n);
    for (int i = 0; i < n; ++i) bins[static_cast<std::size_t>(i)] = values[static_cast<std::size_t>(i)] % 10;
    const DeviceArray<int> x(bins);
    const DeviceArray<int> counts(std::vector<int>(10, 0));
    planted::histogram(x.data(), n, 10, counts.data(), stream);
    CHECK(counts.values() == std::vector<int>(10, 100));

    const DeviceArray<int> i(std::vector<int>{0, 0, 0, 0, 0, 50});
    const DeviceArray<unsigned> u(std::vector<unsigned>{0, 0, ~0U, 0, 0});
    const DeviceArray<unsigned long long> l(std::vector<unsigned long long>{0});
    const DeviceArray<float> f(std::vector<float>{0});
    const DeviceArray<double> d(std::vector<double>{0});
    planted::atomics(i.data(), u.data(), l.data(), f.data(), d.data(), stream);
    constexpr int sum = 119 * 120 / 2;
    const std::vector<int> of_i = i.values();
    CHECK(of_i[0] == sum);
    CHECK(of_i[1] == -sum);
    CHECK(of_i[2] == 119);
    CHECK(of_i[3] == -119);
    CHECK(of_i[4] == 7);
    CHECK(of_i[5] > 50);
    CHECK(u.values() == std::vector<unsigned>{sum, ~0U, 0, 0, 119});
    CHECK(l.values()[0] == static_cast<unsigned long long>(sum) << 32);
    CHECK(f.values()[0] == 120);
    CHECK(d.values()[0] == 60);
  });
}

TEST_CASE("bytes that several threads write side by side are no race") {
  in_all_orders([](cudaStream_t stream) {
    const DeviceArray<unsigned char> y(101);
    planted::bytes_side_by_side(y.data(), 101, stream);
    const std::vector<unsigned char> result = y.values();
    for (std::size_t i = 0; i < result.size(); ++i) REQUIRE(result[i] == 127 - i);
  });
}

TEST_CASE("parts of a warp meet on their own") {
  in_all_orders([](cudaStream_t stream) {
    const DeviceArray<int> x(numbers<int>(64));
    const DeviceArray<int> y(64);
    planted::halves_of_warps(x.data(), y.data(), stream);
    std::vector<int> expected = numbers<int>(64);
    for (int round = 0; round < 3; ++round) {
      const std::vector<int> before = expected;
      for (std::size_t i = 0; i < 64; ++i) {
        if (i % 32 >= 16 || round == 0) expected[i] = before[i ^ 1U] + before[i ^ 2U];
      }
    }
    CHECK(y.values() == expected);
  });
}

TEST_CASE("packs and structs of packs are copied whole") {
  in_all_orders([](cudaStream_t stream) {
    const DeviceArray<float> x(numbers<float>(2400));
    const DeviceArray<float> y(2400);
    planted::packs(x.data(), y.data(), 2400, stream);
    const std::vector<float> result = y.values();
    for (std::size_t i = 0; i < result.size(); ++i) {
      REQUIRE(result[i] == static_cast<float>((i / 12 * 12 + 11 - i % 12) % 100) + 1);
    }
  });
}

TEST_CASE("collectives give every lane what CUDA defines") {
  in_all_orders([](cudaStream_t stream) {
    const DeviceArray<int> x(numbers<int>(64));
    const DeviceArray<int> y(64 * 20);
    planted::collectives(x.data(), y.data(), stream);
    const std::vector<int> result = y.values();
    const auto sum_over_warp = [](int first) { return 32 * first + 31 * 16; };
    for (int i = 0; i < 64; ++i) {
      INFO("thread " << i);
      const int* of_thread = &result[static_cast<std::size_t>(i * 20)];
      const int first = i / 32 * 32;
      const int lane = i % 32;
      CHECK(of_thread[0] == first + 5);
      CHECK(of_thread[1] == i / 8 * 8 + 3);
      CHECK(of_thread[2] == (lane < 3 ? i : i - 3));
      CHECK(of_thread[3] == (lane % 4 == 0 ? i : i - 1));
      CHECK(of_thread[4] == (lane > 28 ? i : i + 3));
      CHECK(of_thread[5] == (lane % 4 == 3 ? i : i + 1));
      CHECK(of_thread[6] == (i ^ 9));
      CHECK(of_thread[7] == (i ^ 1));
      CHECK(static_cast<unsigned>(of_thread[8]) == (first == 0 ? 0U : ~0U << 9));
      CHECK(of_thread[9] == 2);
      CHECK(of_thread[10] == sum_over_warp(first));
      CHECK(of_thread[11] == first - 50);
      CHECK(of_thread[12] == first + 31);
      CHECK(of_thread[13] == 0);
      unsigned equal = 0;
      for (int other = 0; other < 32; ++other) equal |= ((first + other) % 3 == i % 3 ? 1U : 0U) << other;
      CHECK(static_cast<unsigned>(of_thread[14]) == equal);
      CHECK(of_thread[15] == 23);
      CHECK(of_thread[16] != 0);
      CHECK(of_thread[17] == 0);
      CHECK(of_thread[18] == 2 * (i ^ 1) + 1);
      CHECK(of_thread[19] == 7 + __builtin_ffs(i) + (i == 0 ? 32 : __builtin_clz(static_cast<unsigned>(i))));
    }
  });
}

TEST_CASE("threads and blocks of three dimensions have their indices") {
  in_all_orders([](cudaStream_t stream) {
    const DeviceArray<int> y(3 * 4 * 2 * 5 * 7 * 3);
    planted::indices(y.data(), dim3(3, 4, 2), dim3(5, 7, 3), stream);
    const std::vector<int> result = y.values();
    for (std::size_t i = 0; i < result.size(); ++i) REQUIRE(result[i] == static_cast<int>(i) + 32);
    const DeviceArray<int> wide(1024 * 2);
    planted::indices(wide.data(), 2, 1024, stream);
    CHECK(wide.values()[2047] == 2047 + 32);
  });
}

TEST_CASE("kernels read constants of the program") {
  in_all_orders([](cudaStream_t stream) {
    const DeviceArray<float> y(128);
    planted::constants(y.data(), stream);
    CHECK(y.values()[66] == 300);
  });
}

TEST_CASE("the device's functions of arithmetic are there") {
  in_all_orders([](cudaStream_t stream) {
    std::vector<float> x(128);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.1F + 0.05F * static_cast<float>(i);
    const DeviceArray<float> device_x(x);
    const DeviceArray<double> y(128);
    planted::mathematics(device_x.data(), y.data(), stream);
    for (const double difference : y.values()) REQUIRE(std::fabs(difference) < 1e-4);
  });
}

TEST_CASE("code of the host beside kernels is neither reported nor changed") {
  const Session session;
  CHECK(planted::standard_library(2000) == 2000 * 1999 / 2 + 1 + 2000);
  CHECK(reports().empty());
}

TEST_CASE("a kernel's accesses to memory are known after it") {
  const Session session;
  const DeviceArray<float> x(numbers<float>(2400));
  const DeviceArray<float> y(2400);
  const Stream stream;
  planted::packs(x.data(), y.data(), 2400, stream);
  stream.wait();
  CHECK(reports().empty());
  CHECK(emulator::stats().launches > 0);
}
