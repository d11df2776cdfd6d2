#include <cuda_runtime_api.h>

#include <cstring>
#include <memory>
#include <vector>

#include "emulator/api.h"
#include "emulator/heap.h"
#include "emulator/host_memory.h"
#include "emulator/poison.h"
#include "emulator/stream.h"

using namespace emulator;

namespace {

struct Copy {
  void* destination;
  const void* source;
  std::size_t bytes;
  bool to_device;
  bool from_device;
};

/// Whether the pointers lie where `kind` says; reports if not.
bool has_kind(const char* call, const Copy& copy, cudaMemcpyKind kind) {
  if (kind == cudaMemcpyDefault) return true;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const auto place = [](bool device) { return device ? "device" : "host"; };
  bool ok = true;
  if (to_device != copy.to_device) {
    error("memcheck", "%s of %zu bytes: the kind says that the destination is %s memory, and it is %s memory", call,
          copy.bytes, place(to_device), place(copy.to_device));
    ok = false;
  }
  if (from_device != copy.from_device) {
    error("memcheck", "%s of %zu bytes: the kind says that the source is %s memory, and it is %s memory", call,
          copy.bytes, place(from_device), place(copy.from_device));
    ok = false;
  }
  return ok;
}

Label label_of(const char* call, const Copy& copy) {
  std::string text = call;
  text += copy.from_device ? (copy.to_device ? " (device to device)" : " (device to host)")
                           : (copy.to_device ? " (host to device)" : " (host to host)");
  return {text, nullptr, 0};
}

std::vector<MemoryUse> uses_of(const Copy& copy) {
  return {{copy.source, copy.bytes, false, "source"}, {copy.destination, copy.bytes, true, "destination"}};
}

void copy_now(const Copy& copy) {
  if (copy.from_device && !copy.to_device && !is_initialized(copy.source, copy.bytes)) {
    error("initcheck", "%s copies memory that nobody has written: %s", text(running_label()).c_str(),
          heap_describe(copy.source, copy.bytes).c_str());
  }
  std::memmove(copy.destination, copy.source, copy.bytes);
  if (!copy.to_device) return;
  if (copy.from_device) {
    copy_initialized(copy.destination, copy.source, copy.bytes);
  } else {
    mark_initialized(copy.destination, copy.bytes);
  }
}

using Bytes = std::vector<char>;

std::shared_ptr<Bytes> bytes_of(const void* p, std::size_t bytes) {
  const char* const begin = static_cast<const char*>(p);
  return std::make_shared<Bytes>(begin, begin + bytes);
}

/// Notices a host that touches pinned memory between the call of a copy and its end: fills a destination with poison,
/// which must still be there, and keeps what a source held, which must still be the same.
class HostWatch {
 public:
  explicit HostWatch(const Copy& copy) : copy_(copy) {
    if (!config().poison) return;
    // Not where an earlier operation still has to read or write.
    if (is_pinned(copy.destination) && !is_use_pending(copy.destination, copy.bytes, false)) {
      std::memset(copy.destination, poison_byte, copy.bytes);
      destination_ = bytes_of(copy.destination, copy.bytes);
    }
    if (is_pinned(copy.source) && !is_use_pending(copy.source, copy.bytes, true)) {
      source_ = bytes_of(copy.source, copy.bytes);
    }
  }

  void look() const {
    look_at(destination_, copy_.destination, "writes the destination of");
    look_at(source_, copy_.source, "changes the source of");
  }

 private:
  void look_at(const std::shared_ptr<Bytes>& before, const void* now, const char* does) const {
    if (before == nullptr || std::memcmp(before->data(), now, before->size()) == 0) return;
    error("ordering", "the host %s %s before the copy has run", does, text(running_label()).c_str());
  }

  Copy copy_;
  std::shared_ptr<Bytes> destination_;
  std::shared_ptr<Bytes> source_;
};

cudaError_t copy_async(const Copy& copy, cudaStream_t stream) {
  const Label label = label_of("cudaMemcpyAsync", copy);
  if (!copy.from_device && !is_pinned(copy.source)) {
    // Pageable memory is staged before the call returns.
    const auto staged = bytes_of(copy.source, copy.bytes);
    return submit(stream, label, {{copy.destination, copy.bytes, true, "destination"}}, [copy, staged] {
      copy_now({copy.destination, staged->data(), copy.bytes, copy.to_device, false});
      return true;
    });
  }
  const cudaError_t status = submit(stream, label, uses_of(copy), [copy, watch = HostWatch(copy)] {
    watch.look();
    copy_now(copy);
    return true;
  });
  if (status == cudaSuccess && !copy.to_device && !is_pinned(copy.destination)) {
    // A copy to pageable memory returns when it is done.
    wait_for_stream(*find_stream(stream, "cudaMemcpyAsync"), "cudaMemcpyAsync");
  }
  return status;
}

Label memset_label(const char* call) {
  return {call, nullptr, 0};
}

std::function<bool()> memset_operation(void* p, int value, std::size_t bytes) {
  return [=] {
    std::memset(p, value, bytes);
    mark_initialized(p, bytes);
    return true;
  };
}

bool is_memset_target(const char* call, const void* p, std::size_t bytes) {
  if (is_device(p) || is_pinned(p)) return true;
  error("memcheck", "%s of %zu bytes: required device memory, found host memory", call, bytes);
  return false;
}

}  // namespace

extern "C" {

cudaError_t cudaMemcpyAsync(void* destination, const void* source, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  make_heap();
  const Copy copy{destination, source, bytes, is_device(destination), is_device(source)};
  if (!has_kind("cudaMemcpyAsync", copy, kind)) return result(cudaErrorInvalidValue);
  return result(copy_async(copy, stream));
}

cudaError_t cudaMemcpy(void* destination, const void* source, std::size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0) return cudaSuccess;
  make_heap();
  const Copy copy{destination, source, bytes, is_device(destination), is_device(source)};
  if (!has_kind("cudaMemcpy", copy, kind)) return result(cudaErrorInvalidValue);
  submit_blocking(label_of("cudaMemcpy", copy), uses_of(copy), [copy] {
    copy_now(copy);
    return true;
  });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!is_memset_target("cudaMemsetAsync", p, bytes)) return result(cudaErrorInvalidValue);
  return result(
      submit(stream, memset_label("cudaMemsetAsync"), {{p, bytes, true, "memory"}}, memset_operation(p, value, bytes)));
}

cudaError_t cudaMemset(void* p, int value, std::size_t bytes) {
  if (bytes == 0) return cudaSuccess;
  if (!is_memset_target("cudaMemset", p, bytes)) return result(cudaErrorInvalidValue);
  submit_blocking(memset_label("cudaMemset"), {{p, bytes, true, "memory"}}, memset_operation(p, value, bytes));
  return cudaSuccess;
}

}  // extern "C"
