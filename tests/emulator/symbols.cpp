#include <link.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "emulator/execution.h"

// Source lines of addresses, by the tool addr2line: nothing has to be ready before an error happens.
namespace emulator {

namespace {

constexpr const char* program_path = "/proc/self/exe";

struct Module {
  std::string path;
  std::uintptr_t offset = 0;  // of the address as it was linked
};

Module find_module(const void* address) {
  struct Search {
    std::uintptr_t address;
    Module found;
  };
  Search search{reinterpret_cast<std::uintptr_t>(address), {}};
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        auto& wanted = *static_cast<Search*>(data);
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& segment = info->dlpi_phdr[i];
          const std::uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
          if (segment.p_type != PT_LOAD || wanted.address < begin || wanted.address >= begin + segment.p_memsz)
            continue;
          wanted.found.path = info->dlpi_name[0] == '\0' ? program_path : info->dlpi_name;
          wanted.found.offset = wanted.address - info->dlpi_addr;
          return 1;
        }
        return 0;
      },
      &search);
  return search.found;
}

struct Frame {
  std::string function;
  Place place;
};

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// The innermost function first, then those into which it was inlined.
std::vector<Frame> look_up(const void* address) {
  const Module module = find_module(address);
  if (module.path.empty()) return {};
  // /proc/self would be that of the tool.
  char path[4096] = "";
  const ssize_t length = readlink(module.path.c_str(), path, sizeof path - 1);
  const std::string file = length > 0 ? std::string(path, static_cast<std::size_t>(length)) : module.path;
  char command[5000];
  std::snprintf(command, sizeof command, "addr2line -C -f -i -e '%s' 0x%zx 2>/dev/null", file.c_str(),
                static_cast<std::size_t>(module.offset));
  std::vector<std::string> lines;
  if (FILE* pipe = popen(command, "r")) {
    char line[4096];
    while (std::fgets(line, sizeof line, pipe) != nullptr) {
      std::string text = line;
      if (ends_with(text, "\n")) text.pop_back();
      lines.push_back(text);
    }
    pclose(pipe);
  }
  std::vector<Frame> frames;
  for (std::size_t i = 0; i + 1 < lines.size(); i += 2) {
    const std::string& at = lines[i + 1];
    const std::size_t colon = at.rfind(':');
    if (colon == std::string::npos || at.compare(0, 2, "??") == 0) {
      frames.push_back({lines[i], {}});
    } else {
      frames.push_back({lines[i], {at.substr(0, colon), std::atoi(at.c_str() + colon + 1)}});
    }
  }
  return frames;
}

const std::vector<Frame>& frames_of(const void* address) {
  static std::mutex mutex;
  static std::map<const void*, std::vector<Frame>> known;
  const std::lock_guard lock(mutex);
  const auto [frames, is_new] = known.try_emplace(address);
  if (is_new) frames->second = look_up(address);
  return frames->second;
}

}  // namespace

bool is_in_program(const void* pc) {
  return find_module(pc).path == program_path;
}

std::string function_at(const void* pc) {
  const std::vector<Frame>& frames = frames_of(static_cast<const char*>(pc) - 1);
  return frames.empty() ? "?" : frames.back().function;
}

Place place_of(const void* pc) {
  if (pc == nullptr) return {};
  // pc is where a call returns to, which may be the next line already.
  const std::vector<Frame>& frames = frames_of(static_cast<const char*>(pc) - 1);
  for (const Frame& frame : frames) {
    if (ends_with(frame.place.file, ".cu")) return frame.place;
  }
  return frames.empty() ? Place{} : frames.front().place;
}

std::string kernel_name(const void* function) {
  const std::vector<Frame>& frames = frames_of(function);
  if (frames.empty()) return "?";
  std::string name = frames.back().function;
  const std::string anonymous = "(anonymous namespace)::";
  for (std::size_t at = name.find(anonymous); at != std::string::npos; at = name.find(anonymous)) {
    name.erase(at, anonymous.size());
  }
  name = name.substr(0, name.find_first_of("(<"));
  const std::size_t space = name.rfind(' ');  // a template's name comes after its return type
  if (space != std::string::npos) name = name.substr(space + 1);
  const std::size_t scope = name.rfind("::");
  return scope == std::string::npos ? name : name.substr(scope + 2);
}

}  // namespace emulator
