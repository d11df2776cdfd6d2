#include "emulator/nccl_elements.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace emulator {
namespace {

template <class T>
struct Element {
  using Value = T;
  static Value load(T x) { return x; }
  static T store(Value x) { return x; }
};
template <>
struct Element<__nv_bfloat16> {
  using Value = float;
  static Value load(__nv_bfloat16 x) { return __bfloat162float(x); }
  static __nv_bfloat16 store(Value x) { return __float2bfloat16(x); }
};
template <>
struct Element<__half> {
  using Value = float;
  static Value load(__half x) { return __half2float(x); }
  static __half store(Value x) { return __float2half(x); }
};

template <class Value>
Value combine(ncclRedOp_t reduction, Value a, Value b) {
  switch (reduction) {
    case ncclProd:
      return static_cast<Value>(a * b);
    case ncclMax:
      return std::max(a, b);
    case ncclMin:
      return std::min(a, b);
    default:
      break;
  }
  if constexpr (std::is_integral_v<Value>) {
    // Sums wrap around.
    using Unsigned = std::make_unsigned_t<Value>;
    return static_cast<Value>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
  } else {
    return a + b;
  }
}

template <class T>
void reduce(ncclRedOp_t reduction, const char* parts, std::size_t stride_bytes, int num_ranks, std::size_t count,
            void* out) {
  for (std::size_t i = 0; i < count; ++i) {
    T total;
    std::memcpy(&total, parts + i * sizeof(T), sizeof(T));
    for (int rank = 1; rank < num_ranks; ++rank) {
      T next;
      std::memcpy(&next, parts + static_cast<std::size_t>(rank) * stride_bytes + i * sizeof(T), sizeof(T));
      total = Element<T>::store(combine(reduction, Element<T>::load(total), Element<T>::load(next)));
    }
    if (reduction == ncclAvg) {
      using Value = typename Element<T>::Value;
      total = Element<T>::store(static_cast<Value>(Element<T>::load(total) / static_cast<Value>(num_ranks)));
    }
    std::memcpy(static_cast<char*>(out) + i * sizeof(T), &total, sizeof(T));
  }
}

const char* element_name(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
      return "i8";
    case ncclUint8:
      return "u8";
    case ncclInt32:
      return "i32";
    case ncclUint32:
      return "u32";
    case ncclInt64:
      return "i64";
    case ncclUint64:
      return "u64";
    case ncclFloat16:
      return "f16";
    case ncclBfloat16:
      return "bf16";
    case ncclFloat32:
      return "f32";
    case ncclFloat64:
      return "f64";
    default:
      return "elements of another type";
  }
}

}  // namespace

std::size_t nccl_element_bytes(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

std::string nccl_count_text(std::size_t count, ncclDataType_t type) {
  return std::to_string(count) + " " + element_name(type);
}

const char* nccl_reduction_name(ncclRedOp_t reduction) {
  switch (reduction) {
    case ncclSum:
      return "sum";
    case ncclProd:
      return "product";
    case ncclMax:
      return "maximum";
    case ncclMin:
      return "minimum";
    case ncclAvg:
      return "average";
    default:
      return "another reduction";
  }
}

void nccl_reduce(ncclDataType_t type, ncclRedOp_t reduction, const char* parts, std::size_t stride_bytes, int num_ranks,
                 std::size_t count, void* out) {
  const auto run = [&](auto element) {
    reduce<decltype(element)>(reduction, parts, stride_bytes, num_ranks, count, out);
  };
  switch (type) {
    case ncclInt8:
      run(std::int8_t());
      break;
    case ncclUint8:
      run(std::uint8_t());
      break;
    case ncclInt32:
      run(std::int32_t());
      break;
    case ncclUint32:
      run(std::uint32_t());
      break;
    case ncclInt64:
      run(std::int64_t());
      break;
    case ncclUint64:
      run(std::uint64_t());
      break;
    case ncclFloat16:
      run(__half());
      break;
    case ncclBfloat16:
      run(__nv_bfloat16());
      break;
    case ncclFloat32:
      run(float());
      break;
    case ncclFloat64:
      run(double());
      break;
    default:
      break;
  }
}

}  // namespace emulator
