#pragma once

#include <memory>
#include <vector>

#include "core/context.h"
#include "kernels/backend.h"

namespace artel {

/// Values of a tensor on their way to the host, for figures that are looked at later: the copy takes its place among
/// the kernels at construction, and only values() waits for it.
template <class T>
class ReadBack {
 public:
  /// x: contiguous, elements of type T; may go away at once.
  ReadBack(Context& context, const Tensor& x)
      : values_(static_cast<std::size_t>(x.numel())), copy_(context.backend.start_download(x, values_.data())) {}

  const std::vector<T>& values() {
    if (copy_ != nullptr) copy_->wait();
    copy_.reset();
    return values_;
  }

 private:
  std::vector<T> values_;
  std::unique_ptr<HostCopy> copy_;
};

}  // namespace artel
