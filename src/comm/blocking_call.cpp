#include "comm/blocking_call.h"

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "util/text.h"

namespace artel {

BlockingCall::BlockingCall(std::string call, double seconds, std::function<void(const std::string&)> late)
    : watch_([call = std::move(call), seconds, late = std::move(late)](const std::stop_token& ended) {
        std::mutex mutex;
        std::condition_variable_any changed;
        std::unique_lock lock(mutex);
        changed.wait_for(lock, ended, std::chrono::duration<double>(seconds), [] { return false; });
        if (ended.stop_requested()) return;
        late(concat("[communication] required every rank to take part in ", call, " within ", seconds,
                    " s, found that it did not end; look for a rank that stands still, or allow more time"));
      }) {}

void BlockingCall::end_process(const std::string& message) {
  std::fprintf(stderr, "artel: %s\n", message.c_str());
  std::fflush(nullptr);
  std::_Exit(1);
}

}  // namespace artel
