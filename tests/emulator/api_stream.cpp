#include <cuda_runtime_api.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "emulator/api.h"
#include "emulator/stream.h"

using namespace emulator;

namespace {

std::vector<std::unique_ptr<CUevent_st>>& events() {
  static std::vector<std::unique_ptr<CUevent_st>> instance;
  return instance;
}

CUevent_st* find_event(cudaEvent_t event, const char* call) {
  for (const auto& e : events()) {
    if (e.get() == event) return event;
  }
  error("stream", "%s: the event was destroyed, or never made", call);
  return nullptr;
}

bool is_reached(const CUevent_st& event) {
  return event.state->num_reached >= event.state->num_records;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithPriority(stream, cudaStreamDefault, 0);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  if (stream == nullptr || flags > cudaStreamNonBlocking) return result(cudaErrorInvalidValue);
  *stream = make_stream(flags, priority);
  return cudaSuccess;
}

cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) {
  CUstream_st* const s = find_stream(stream, "cudaStreamGetFlags");
  if (s == nullptr) return result(cudaErrorInvalidResourceHandle);
  *flags = s->flags;
  return cudaSuccess;
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  CUstream_st* const s = find_stream(stream, "cudaStreamGetPriority");
  if (s == nullptr) return result(cudaErrorInvalidResourceHandle);
  *priority = s->priority;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least != nullptr) *least = 0;
  if (greatest != nullptr) *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  CUstream_st* const s = find_stream(stream, "cudaStreamDestroy");
  if (s == nullptr || s == &legacy_stream()) return result(cudaErrorInvalidResourceHandle);
  destroy_stream(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  CUstream_st* const s = find_stream(stream, "cudaStreamSynchronize");
  if (s == nullptr) return result(cudaErrorInvalidResourceHandle);
  wait_for_stream(*s, "cudaStreamSynchronize");
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  CUstream_st* const s = find_stream(stream, "cudaStreamQuery");
  if (s == nullptr) return result(cudaErrorInvalidResourceHandle);
  progress();
  if (!s->queue.empty()) {
    ++stats().vain_queries;
    return cudaErrorNotReady;
  }
  join(host_clock(), s->clock);
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  CUstream_st* const s = find_stream(stream, "cudaStreamWaitEvent");
  CUevent_st* const e = find_event(event, "cudaStreamWaitEvent");
  if (s == nullptr || e == nullptr) return result(cudaErrorInvalidResourceHandle);
  submit_wait(*s, *e);
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return result(submit(stream, {"cudaLaunchHostFunc", nullptr, 0}, {}, [function, data] {
    function(data);
    return true;
  }));
}

cudaError_t cudaDeviceSynchronize() {
  wait_for_device("cudaDeviceSynchronize");
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  if (event == nullptr) return result(cudaErrorInvalidValue);
  events().push_back(std::make_unique<CUevent_st>());
  *event = events().back().get();
  (*event)->has_timing = (flags & cudaEventDisableTiming) == 0;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (find_event(event, "cudaEventDestroy") == nullptr) return result(cudaErrorInvalidResourceHandle);
  auto& all = events();
  all.erase(std::find_if(all.begin(), all.end(), [&](const auto& e) { return e.get() == event; }));
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  CUstream_st* const s = find_stream(stream, "cudaEventRecord");
  CUevent_st* const e = find_event(event, "cudaEventRecord");
  if (s == nullptr || e == nullptr) return result(cudaErrorInvalidResourceHandle);
  submit_record(*s, *e);
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  CUevent_st* const e = find_event(event, "cudaEventSynchronize");
  if (e == nullptr) return result(cudaErrorInvalidResourceHandle);
  wait_for_event(*e, "cudaEventSynchronize");
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  CUevent_st* const e = find_event(event, "cudaEventQuery");
  if (e == nullptr) return result(cudaErrorInvalidResourceHandle);
  progress();
  if (!is_reached(*e)) {
    ++stats().vain_queries;
    return cudaErrorNotReady;
  }
  join(host_clock(), e->state->clock);
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  CUevent_st* const a = find_event(start, "cudaEventElapsedTime");
  CUevent_st* const b = find_event(end, "cudaEventElapsedTime");
  if (a == nullptr || b == nullptr || !a->has_timing || !b->has_timing) return result(cudaErrorInvalidResourceHandle);
  if (a->state->num_records == 0 || b->state->num_records == 0) return result(cudaErrorInvalidResourceHandle);
  if (!is_reached(*a) || !is_reached(*b)) return result(cudaErrorNotReady);
  *milliseconds = static_cast<float>(b->state->milliseconds - a->state->milliseconds);
  return cudaSuccess;
}

}  // extern "C"
