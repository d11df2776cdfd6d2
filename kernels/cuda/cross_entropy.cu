#include "kernels/checks/cross_entropy.h"

#include <algorithm>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"

// One block per row, in one pass for the loss: every thread keeps the largest logit that it has seen and the sum of
// exponentials relative to it (online softmax; Milakov & Gimelshein, 2018). With the gradient a second pass reads the
// row again and overwrites it. On a GPU with 132 multiprocessors the rows under way are 132 · V logits, 34 MB for 64 k
// of f32, which the 50 MB of an H100's second-level cache still hold: memory is read once and written once.

namespace artel {
namespace {

constexpr int most_threads = 1024;
constexpr int packs_per_thread = 4;  // loads of a thread that are under way together

/// A row as packs of 16 bytes, between a head and a tail of fewer elements than a pack has.
template <class T>
struct Row {
  static constexpr int width = simt::pack_width<T>;
  using Values = simt::Pack<T, width>;
  using RawValues = simt::RawPack<T, width>;

  __device__ Row(T* row, std::int64_t size) : head(row) {
    const auto misaligned = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(row) % sizeof(Values));
    const std::int64_t to_aligned =
        misaligned == 0 ? 0 : (static_cast<int>(sizeof(Values)) - misaligned) / static_cast<int>(sizeof(T));
    num_head = static_cast<int>(to_aligned < size ? to_aligned : size);
    packs = reinterpret_cast<Values*>(row + num_head);
    num_packs = (size - num_head) / width;
    tail = row + num_head + num_packs * width;
    num_tail = static_cast<int>(size - num_head - num_packs * width);
  }

  /// The packs first, first + blockDim.x, ..., as far as there are any.
  __device__ void load(std::int64_t first, RawValues (&values)[packs_per_thread]) const {
#pragma unroll
    for (int k = 0; k < packs_per_thread; ++k) {
      if (first + k * blockDim.x < num_packs) {
        values[k] = *reinterpret_cast<const RawValues*>(packs + first + k * blockDim.x);
      }
    }
  }

  T* head;
  Values* packs;
  T* tail;
  std::int64_t num_packs;
  int num_head;
  int num_tail;
};

/// The largest of the logits so far and the sum of exp(logit - largest).
struct OnlineSum {
  float largest = -INFINITY;
  float sum = 0.0F;

  template <int n>
  __device__ void add(const float (&x)[n]) {
    float best = largest;
#pragma unroll
    for (int k = 0; k < n; ++k) best = fmaxf(best, x[k]);
    const float shift = best == -INFINITY ? 0.0F : best;  // exp(-inf - 0) is 0, exp(-inf + inf) would be NaN
    if (best > largest) sum *= expf(largest - shift);
    float part = 0.0F;
#pragma unroll
    for (int k = 0; k < n; ++k) part += expf(x[k] - shift);
    sum += part;
    largest = best;
  }
};

template <class T>
__device__ OnlineSum sum_row(const Row<T>& row) {
  const int thread = static_cast<int>(threadIdx.x);
  OnlineSum online;
  for (std::int64_t first = thread; first < row.num_packs; first += packs_per_thread * blockDim.x) {
    typename Row<T>::RawValues raw[packs_per_thread];
    row.load(first, raw);
#pragma unroll
    for (int k = 0; k < packs_per_thread; ++k) {
      if (first + k * blockDim.x >= row.num_packs) break;
      const typename Row<T>::Values values = raw[k].unpack();
      float x[Row<T>::width];
#pragma unroll
      for (int j = 0; j < Row<T>::width; ++j) x[j] = simt::to_float(values.values[j]);
      online.add(x);
    }
  }
  if (thread < row.num_head) online.add({simt::to_float(row.head[thread])});
  if (thread < row.num_tail) online.add({simt::to_float(row.tail[thread])});
  return online;
}

/// Every logit x = exp(x - shift) · scale.
template <class T>
__device__ void overwrite_row(const Row<T>& row, float shift, float scale) {
  const int thread = static_cast<int>(threadIdx.x);
  const auto gradient = [=](T x) { return simt::from_float<T>(expf(simt::to_float(x) - shift) * scale); };
  for (std::int64_t first = thread; first < row.num_packs; first += packs_per_thread * blockDim.x) {
    typename Row<T>::RawValues raw[packs_per_thread];
    row.load(first, raw);
#pragma unroll
    for (int k = 0; k < packs_per_thread; ++k) {
      if (first + k * blockDim.x >= row.num_packs) break;
      typename Row<T>::Values values = raw[k].unpack();
#pragma unroll
      for (int j = 0; j < Row<T>::width; ++j) values.values[j] = gradient(values.values[j]);
      row.packs[first + k * blockDim.x] = values;
    }
  }
  if (thread < row.num_head) row.head[thread] = gradient(row.head[thread]);
  if (thread < row.num_tail) row.tail[thread] = gradient(row.tail[thread]);
}

/// logits [R, V], targets [R], losses [R]; one block per row.
template <class T>
__global__ void __launch_bounds__(most_threads)
    cross_entropy_kernel(T* logits, const std::int32_t* targets, std::int64_t vocab_size, float grad_scale,
                         bool backward, float* losses) {
  SIMT_SHARED(float, partials, [32]);
  T* const begin = logits + blockIdx.x * vocab_size;
  const std::int32_t target = targets[blockIdx.x];
  const float target_logit = simt::to_float(begin[target]);
  const Row<T> row(begin, vocab_size);
  const OnlineSum online = sum_row(row);
  const float shift = simt::block_max(online.largest, partials);
  // A thread without logits has -inf and 0.
  const float sum = simt::block_sum(online.sum * expf(online.largest - shift), partials);
  if (threadIdx.x == 0) losses[blockIdx.x] = logf(sum) + (shift - target_logit);
  if (!backward) return;  // the same for all threads
  overwrite_row(row, shift, grad_scale / sum);
  __syncthreads();
  if (threadIdx.x == 0) begin[target] = simt::from_float<T>((expf(target_logit - shift) / sum - 1.0F) * grad_scale);
}

}  // namespace

void CudaBackend::cross_entropy(InOut logits, In targets, float grad_scale, bool backward, Out losses) {
  const char* const op = "cross_entropy";
  check_cross_entropy(logits, targets, losses);
  if (logits.numel() == 0) return;
  cuda::with_act(logits.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t vocab_size = logits.size(1);
    const std::int64_t busy = simt::ceil_div<std::int64_t>(vocab_size, simt::pack_width<T> * packs_per_thread);
    const std::int64_t threads = std::min<std::int64_t>(simt::ceil_div<std::int64_t>(busy, 32) * 32, most_threads);
    simt::launch(op, stream_, cross_entropy_kernel<T>, simt::num_blocks(op, logits.size(0)),
                 static_cast<unsigned>(threads), 0, cuda::device_data<T>(logits),
                 cuda::device_data<std::int32_t>(targets), vocab_size, grad_scale, backward,
                 cuda::device_data<float>(losses));
  });
}

}  // namespace artel
