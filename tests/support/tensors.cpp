#include "support/tensors.h"

#include <cstring>

#include "core/rng.h"
#include "support/catch.h"
#include "support/test_device.h"
#include "util/error.h"

namespace artel {
namespace {

// NaN as bf16 and, doubled, as f32; huge as i32 and f64.
constexpr std::uint16_t sentinel = 0x7fc5;

void fill_sentinel(const Tensor& tensor) {
  const std::vector<std::uint16_t> words(tensor.nbytes() / sizeof sentinel, sentinel);
  write_tensor(words.data(), tensor);
}

template <class T>
std::vector<double> doubles_of(const Tensor& tensor) {
  const std::vector<T> elements = elements_of<T>(tensor);
  return {elements.begin(), elements.end()};
}

template <class T>
void write_as(const Tensor& tensor, const std::vector<double>& values) {
  std::vector<T> elements;
  for (const double value : values) elements.push_back(static_cast<T>(value));
  write_tensor(elements.data(), tensor);
}

void set_all(const Tensor& tensor, const std::vector<double>& values) {
  if (static_cast<std::int64_t>(values.size()) != tensor.numel()) {
    fail("tests", "required " + std::to_string(tensor.numel()) + " values for " + tensor.shape().to_string() +
                      ", found " + std::to_string(values.size()));
  }
  switch (tensor.dtype()) {
    case DType::f32:
      return write_as<float>(tensor, values);
    case DType::f64:
      return write_as<double>(tensor, values);
    case DType::i32:
      return write_as<std::int32_t>(tensor, values);
    case DType::bf16: {
      std::vector<bf16> elements;
      for (const double value : values) elements.push_back(to_bf16(static_cast<float>(value)));
      return write_tensor(elements.data(), tensor);
    }
  }
}

std::int64_t offset_of(const Tensor& tensor, std::int64_t i) {
  const std::int64_t inner = tensor.shape().inner();
  return tensor.shape().rank() == 0 ? i : i / inner * tensor.row_stride() + i % inner;
}

std::vector<double> as_double(const std::vector<std::int32_t>& ids) {
  return {ids.begin(), ids.end()};
}

}  // namespace

std::vector<double> rounded(std::vector<double> values, DType dtype) {
  for (double& value : values) {
    if (dtype == DType::f32) value = static_cast<double>(static_cast<float>(value));
    if (dtype == DType::bf16) value = static_cast<double>(to_float(to_bf16(static_cast<float>(value))));
  }
  return values;
}

std::vector<double> random_values(std::string_view name, std::size_t count, double stddev, DType dtype) {
  std::vector<float> normal(count);
  Rng(7, name).fill_normal(0, static_cast<std::int64_t>(count), stddev, normal.data());
  return rounded({normal.begin(), normal.end()}, dtype);
}

Tensor tensor_of(Allocator& allocator, const Shape& shape, DType dtype, const std::vector<double>& values) {
  Tensor tensor = Tensor::empty(allocator, shape, dtype);
  set_all(tensor, values);
  return tensor;
}

std::vector<double> values_of(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::f32:
      return doubles_of<float>(tensor);
    case DType::f64:
      return doubles_of<double>(tensor);
    case DType::i32:
      return doubles_of<std::int32_t>(tensor);
    case DType::bf16: {
      std::vector<double> values;
      for (const bf16 element : elements_of<bf16>(tensor)) values.push_back(static_cast<double>(to_float(element)));
      return values;
    }
  }
  fail("tests", "unknown element type");
}

std::vector<std::int32_t> ids_of(const Tensor& tensor) {
  return elements_of<std::int32_t>(tensor);
}

std::string bytes_of(const Tensor& tensor) {
  std::string bytes(tensor.nbytes(), '\0');
  read_tensor(tensor, bytes.data());
  return bytes;
}

GuardedTensors::GuardedTensors(const TestDevice& device) : GuardedTensors(device.allocator, device.aligned) {}

Tensor GuardedTensors::allocate(const std::string& name, const Shape& shape, DType dtype, std::int64_t gap) {
  Guarded guarded;
  guarded.name = name;
  // 16 elements are a multiple of 16 bytes for every type.
  const std::int64_t guard_size = aligned_ ? 32 : 19;
  if (gap > 0) {
    if (aligned_) gap = (gap + 31) / 32 * 32;
    if (shape.rank() != 2) fail("tests", "required a matrix for strided rows, found " + shape.to_string());
    guarded.buffer = Tensor::empty(allocator_, {shape[0] + 2, shape[1] + gap}, dtype);
    fill_sentinel(guarded.buffer);
    guarded.tensor = guarded.buffer.columns(gap / 2, gap / 2 + shape[1]).rows(1, shape[0] + 1);
  } else {
    guarded.buffer = Tensor::empty(allocator_, {shape.numel() + 2 * guard_size}, dtype);
    fill_sentinel(guarded.buffer);
    guarded.tensor = guarded.buffer.rows(guard_size, guard_size + shape.numel()).view(shape);
  }
  guarded_.push_back(guarded);
  return guarded.tensor;
}

Tensor GuardedTensors::input(const std::string& name, const Shape& shape, DType dtype,
                             const std::vector<double>& values, std::int64_t gap) {
  const Tensor tensor = updated(name, shape, dtype, values, gap);
  guarded_.back().is_input = true;
  guarded_.back().input_bytes = bytes_of(tensor);
  return tensor;
}

Tensor GuardedTensors::input(const std::string& name, const Shape& shape, const std::vector<std::int32_t>& ids) {
  return input(name, shape, DType::i32, as_double(ids));
}

Tensor GuardedTensors::input(const std::string& name, const std::vector<std::int32_t>& ids) {
  return input(name, {static_cast<std::int64_t>(ids.size())}, ids);
}

Tensor GuardedTensors::output(const std::string& name, const Shape& shape, DType dtype, std::int64_t gap) {
  return allocate(name, shape, dtype, gap);
}

Tensor GuardedTensors::updated(const std::string& name, const Shape& shape, DType dtype,
                               const std::vector<double>& values, std::int64_t gap) {
  const Tensor tensor = allocate(name, shape, dtype, gap);
  set_all(tensor, values);
  return tensor;
}

std::string GuardedTensors::find_damage() const {
  std::string damage;
  for (const Guarded& guarded : guarded_) {
    if (guarded.is_input && bytes_of(guarded.tensor) != guarded.input_bytes) {
      damage += "input " + guarded.name + " was overwritten; ";
    }
    // Mark what belongs to the tensor and look at the rest of its buffer.
    const std::size_t size = dtype_size(guarded.buffer.dtype());
    const std::string buffer = bytes_of(guarded.buffer);
    std::vector<bool> owned(buffer.size() / size, false);
    const auto first = static_cast<std::size_t>(static_cast<const char*>(guarded.tensor.raw()) -
                                                static_cast<const char*>(guarded.buffer.raw())) /
                       size;
    for (std::int64_t i = 0; i < guarded.tensor.numel(); ++i) {
      owned[first + static_cast<std::size_t>(offset_of(guarded.tensor, i))] = true;
    }
    for (std::size_t i = 0; i < owned.size(); ++i) {
      std::uint16_t word = 0;
      std::memcpy(&word, buffer.data() + i * size, sizeof word);
      if (owned[i] || word == sentinel) continue;
      damage += "memory around " + guarded.name + " was overwritten, " +
                std::to_string(static_cast<std::int64_t>(i) - static_cast<std::int64_t>(first)) +
                " elements from its start; ";
      break;
    }
  }
  return damage;
}

void GuardedTensors::expect_intact() const {
  const std::string damage = find_damage();
  if (damage.empty()) {
    SUCCEED("guards and inputs");
  } else {
    FAIL_CHECK(damage);
  }
}

}  // namespace artel
