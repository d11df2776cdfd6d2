#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/layout.h"
#include "core/dtype.h"
#include "util/json.h"

// manifest.json of a checkpoint, as docs/checkpoint_format.md describes it.

namespace artel {

/// Where a rectangle of a tensor is stored.
struct ManifestSlice {
  std::string file;  ///< in the directory of the manifest
  std::string key;   ///< of the entry in that file
  Rectangle rectangle;
  std::uint32_t crc32c = 0;  ///< of the entry's bytes
};

struct ManifestTensor {
  DType dtype = DType::f32;
  Shape shape;
  std::vector<ManifestSlice> slices;
};

struct Manifest {
  Json head;  ///< every member but "tensors" and the checksum
  std::map<std::string, ManifestTensor> tensors;
};

/// The tensors that one rank has written, as text that another rank reads with add_share().
std::string share_text(const std::map<std::string, ManifestTensor>& tensors);

/// Adds the slices of a share to `tensors`. Errors, naming `where`: text that is none, or a tensor that has another
/// shape or type there.
void add_share(const std::string& text, const std::string& where, std::map<std::string, ManifestTensor>& tensors);

/// Errors: slices that do not make up their tensor, each element once.
void check_tilings(const std::map<std::string, ManifestTensor>& tensors);

/// The whole file: a line for every member and every tensor, the checksum of all before it at its end.
std::string manifest_text(const Manifest& manifest);

/// The reverse. `path` stands in errors: a checksum that differs, no manifest, another version, members that are
/// missing or of a wrong type, slices that do not tile their tensor.
Manifest parse_manifest(const std::string& text, const std::string& path);

}  // namespace artel
