#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/snapshots.h"
#include "fuzz/fuzz.h"
#include "support/temporary_directory.h"

// The manifest of a checkpoint. The input is given a valid checksum, which no mutation would hit, and stands before
// real tensor files.

using namespace artel;

namespace {

constexpr int64_t kMaxElements = 1 << 20;

/// The files of a checkpoint on disk, but for the manifest.
class WithManifest : public UnsyncedFileLayer {
 public:
  explicit WithManifest(std::string text) : text_(std::move(text)) {}
  std::string read(const std::string& path) override {
    return path.size() > 4 && path.substr(path.size() - 5) == ".json" ? text_ : UnsyncedFileLayer::read(path);
  }

 private:
  std::string text_;
};

std::string sealed(const std::string& body) {
  return body + ",\n \"manifest_crc32c\": \"" + crc32c_hex(crc32c(body.data(), body.size())) + "\"\n}\n";
}

void read_whole(const Checkpoint& checkpoint) {
  refusal_of([&] { checkpoint.verify(); });
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (tensor.shape.numel() > kMaxElements) continue;
    const Rectangle whole = whole_rectangle(tensor.shape);
    std::vector<uint8_t> bytes(static_cast<size_t>(tensor.shape.numel()) * dtype_size(tensor.dtype));
    refusal_of([&, &key = name] { checkpoint.read(key, whole.begin, whole.end, bytes.data()); });
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const TemporaryDirectory directory;
  static const std::string checkpoint_path = [] {
    UnsyncedFileLayer files;
    return save_checkpoint(files, directory.path(), make_snapshot(200), 0);
  }();
  const std::string body = text_of(data, size);
  refusal_of([&] { parse_manifest(body, "manifest.json"); });

  Manifest manifest;
  const std::string text = sealed(body);
  if (!refusal_of([&] { manifest = parse_manifest(text, "manifest.json"); }).empty()) return 0;
  const std::string written = manifest_text(manifest);
  check(manifest_text(parse_manifest(written, "again.json")) == written, "a manifest that is written is read back");

  WithManifest files(text);
  refusal_of([&] { read_whole(Checkpoint(files, checkpoint_path)); });
  return 0;
}
