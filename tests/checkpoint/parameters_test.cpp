#include "checkpoint/parameters.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "checkpoint/snapshots.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"
#include "support/test_device.h"

using namespace artel;

namespace {

constexpr std::int64_t num_experts = 2;
constexpr std::int64_t hidden_size = 6;
constexpr std::int64_t width = 5;
constexpr std::int64_t num_routing = 2;

void declare(ParameterStore& store, const std::string& name, const Shape& shape, std::vector<StoredSlice> slices) {
  Parameter parameter;
  parameter.name = name;
  parameter.shape = shape;
  parameter.initialisation = shape.rank() == 1 ? Initialisation::ones : Initialisation::normal;
  parameter.slices = std::move(slices);
  store.declare(std::move(parameter));
}

// Neurons first..last of every expert: rows of gate and up, columns of down, as a layer keeps them in memory, `padding`
// more of them there.
void declare_neurons(ParameterStore& store, const std::string& name, std::int64_t first, std::int64_t last,
                     std::int64_t padding) {
  const std::int64_t count = last - first + padding;
  std::vector<StoredSlice> gate_up;
  std::vector<StoredSlice> down;
  for (std::int64_t i = 0; i < num_experts; ++i) {
    const std::string expert = "model.experts." + std::to_string(i);
    for (const char* projection : {".gate_proj.weight", ".up_proj.weight"}) {
      gate_up.push_back({expert + projection, {width, hidden_size}, {first, 0}, {last, hidden_size}});
      gate_up.back().padded_shape = {count, hidden_size};
    }
    down.push_back({expert + ".down_proj.weight", {hidden_size, width}, {0, first}, {hidden_size, last}});
    down.back().padded_shape = {hidden_size, count};
  }
  declare(store, name + "gate_up", {num_experts, 2 * count, hidden_size}, gate_up);
  declare(store, name + "down", {num_experts, hidden_size, count}, down);
}

// A norm and experts, whole or divided at the routing neurons.
void declare_model(ParameterStore& store, bool divided, std::int64_t padding) {
  declare(store, "norm", {3}, {whole_slice("model.norm.weight", {3})});
  if (divided) declare_neurons(store, "routing_", 0, num_routing, 0);
  declare_neurons(store, "rest_", divided ? num_routing : 0, width, padding);
}

struct Model {
  Model(TestDevice& device, bool divided, DType dtype, std::int64_t seed, std::int64_t padding = 0) {
    declare_model(store, divided, padding);
    Context context = device.context();
    store.allocate(context, dtype);
    store.initialise(context, seed, 1.0);
  }
  ParameterStore store;
};

std::string save(Context& context, const TemporaryDirectory& directory, const ParameterStore& store) {
  UnsyncedFileLayer files;
  Snapshot snapshot = make_snapshot(1);
  snapshot.pieces.clear();
  append_pieces(context, store, store.values(), "", snapshot.pieces);
  append_pieces(context, store, store.masters(), "optimizer.master.", snapshot.pieces);
  return save_checkpoint(files, directory.path(), snapshot, 0);
}

std::string bits(const Tensor& tensor) {
  return {static_cast<const char*>(tensor.raw()), tensor.nbytes()};
}

Tensor tensor_of_floats(TestDevice& device, const std::vector<float>& values) {
  const Tensor tensor = device.context().empty({static_cast<std::int64_t>(values.size())}, DType::f32);
  std::memcpy(tensor.raw(), values.data(), tensor.nbytes());
  return tensor;
}

std::string save_tensor(Context& context, const TemporaryDirectory& directory, const std::string& name,
                        const Tensor& tensor) {
  UnsyncedFileLayer files;
  Snapshot snapshot = make_snapshot(1);
  snapshot.pieces.clear();
  append_piece(context, name, tensor, snapshot.pieces);
  return save_checkpoint(files, directory.path(), snapshot, 0);
}

}  // namespace

TEST_CASE("a model divided at the routing neurons and a whole one read each other's checkpoints") {
  TestDevice device;
  Context context = device.context();
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const bool divided : {false, true}) {
      const TemporaryDirectory directory;
      UnsyncedFileLayer files;
      const Model saved(device, divided, dtype, 11);
      const Checkpoint checkpoint(files, save(context, directory, saved.store));
      const std::string down = "model.experts.1.down_proj.weight";
      CHECK(checkpoint.tensors().at(down).num_slices == (divided ? 2 : 1));
      CHECK(checkpoint.tensors().at(down).shape == Shape{hidden_size, width});
      CHECK(checkpoint.tensors().size() == 2 * (1 + num_experts * 3));

      // The same seed gives the same stored tensors, however they are divided in memory.
      const Model expected(device, !divided, dtype, 11);
      const Model loaded(device, !divided, dtype, 12);
      CHECK(bits(loaded.store.values()) != bits(expected.store.values()));
      read_pieces(context, loaded.store, checkpoint, "", loaded.store.values());
      CHECK(bits(loaded.store.values()) == bits(expected.store.values()));
      read_pieces(context, loaded.store, checkpoint, "optimizer.master.", loaded.store.masters());
      CHECK(bits(loaded.store.masters()) == bits(expected.store.masters()));
    }
  }
}

TEST_CASE("padding is in memory alone: models with and without it read each other's checkpoints") {
  TestDevice device;
  Context context = device.context();
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const std::int64_t padding : {0, 5}) {
      const TemporaryDirectory directory;
      UnsyncedFileLayer files;
      const Model saved(device, true, dtype, 11, padding);
      const Checkpoint checkpoint(files, save(context, directory, saved.store));
      CHECK(checkpoint.tensors().at("model.experts.1.down_proj.weight").shape == Shape{hidden_size, width});
      const Model expected(device, true, dtype, 11, 5 - padding);
      const Model loaded(device, true, dtype, 12, 5 - padding);
      CHECK(bits(loaded.store.values()) != bits(expected.store.values()));
      read_pieces(context, loaded.store, checkpoint, "", loaded.store.values());
      CHECK(bits(loaded.store.values()) == bits(expected.store.values()));
      read_pieces(context, loaded.store, checkpoint, "optimizer.master.", loaded.store.masters());
      CHECK(bits(loaded.store.masters()) == bits(expected.store.masters()));
    }
  }
}

TEST_CASE("a model read in the other precision has zeros in its padding") {
  TestDevice device;
  Context context = device.context();
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const Model wide(device, true, DType::f32, 5);
  const Checkpoint checkpoint(files, save(context, directory, wide.store));
  const Model narrow(device, true, DType::bf16, 6, 3);
  const Model expected(device, true, DType::bf16, 5, 3);
  read_pieces(context, narrow.store, checkpoint, "", narrow.store.values());
  CHECK(bits(narrow.store.values()) == bits(expected.store.values()));
}

TEST_CASE("shards of padded parameters, cut anywhere that shards are, hold every stored element once") {
  TestDevice device;
  Context context = device.context();
  const Model model(device, true, DType::f32, 11, 3);
  std::vector<TensorPiece> whole;
  append_pieces(context, model.store, model.store.values(), "", whole);
  std::int64_t num_stored = 0;
  for (const TensorPiece& piece : whole) num_stored += static_cast<std::int64_t>(piece.bytes.size() / sizeof(float));
  CHECK(num_stored == 3 + num_experts * 3 * width * hidden_size);
  for (const int num_ranks : {2, 3, 7, 19}) {
    const auto buckets = make_buckets(model.store, {num_ranks, num_ranks}, 1 << 20);
    const Model loaded(device, true, DType::f32, 12, 3);
    context.backend.fill(loaded.store.values(), 0.0F);
    Snapshot snapshot = make_snapshot(1);
    snapshot.pieces.clear();
    std::int64_t num_elements = 0;
    for (int rank = 0; rank < num_ranks; ++rank) {
      append_pieces(context, model.store, model.store.values(), ArenaRanges::whole(model.store.num_elements()),
                    own_pieces(buckets, rank, rank), "", snapshot.pieces);
    }
    for (const TensorPiece& piece : snapshot.pieces) {
      const std::int64_t numel = Rectangle{piece.begin, piece.end}.extent().numel();
      CHECK(static_cast<std::int64_t>(piece.bytes.size() / sizeof(float)) == numel);
      num_elements += numel;
    }
    CHECK(num_elements == num_stored);
    const TemporaryDirectory directory;
    UnsyncedFileLayer files;
    const Checkpoint checkpoint(files, save_checkpoint(files, directory.path(), snapshot, 0));
    for (int rank = 0; rank < num_ranks; ++rank) {
      const ArenaRanges own = own_pieces(buckets, rank, rank);
      const Tensor compact = context.empty({own.num_elements()}, DType::f32);
      context.backend.fill(compact, 0.0F);
      read_pieces(context, loaded.store, checkpoint, "", compact, own);
      for (const ArenaRange& range : own.ranges()) {
        context.backend.copy(own.rows(compact, range.begin, range.end),
                             loaded.store.values().rows(range.begin, range.end));
      }
    }
    CHECK(bits(loaded.store.values()) == bits(model.store.values()));
  }
}

TEST_CASE("a divided tensor stands in the checkpoint as the whole one") {
  TestDevice device;
  Context context = device.context();
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const Model model(device, true, DType::f32, 1);
  for (std::int64_t i = 0; i < model.store.num_elements(); ++i) {
    model.store.values().data<float>()[i] = static_cast<float>(i);
  }
  const Checkpoint checkpoint(files, save(context, directory, model.store));
  const auto first = [&](std::size_t parameter) {
    return static_cast<float>(model.store.parameters()[parameter].arena_offset);
  };
  // Expert 1 in memory: routing columns [d, S] and the rest [d, D - S], each after those of expert 0.
  std::vector<float> down(hidden_size * width);
  checkpoint.read("model.experts.1.down_proj.weight", {0, 0}, {hidden_size, width}, down.data());
  std::vector<float> up(width * hidden_size);
  checkpoint.read("model.experts.1.up_proj.weight", {0, 0}, {width, hidden_size}, up.data());
  const std::int64_t num_rest = width - num_routing;
  for (std::int64_t row = 0; row < hidden_size; ++row) {
    for (std::int64_t neuron = 0; neuron < width; ++neuron) {
      const bool routing = neuron < num_routing;
      const std::int64_t count = routing ? num_routing : num_rest;
      const std::int64_t local = routing ? neuron : neuron - num_routing;
      const std::int64_t down_index = (hidden_size + row) * count + local;
      const std::int64_t up_index = (3 * count + local) * hidden_size + row;  // gate and up of expert 0, gate of 1
      CHECK(down[static_cast<std::size_t>(row * width + neuron)] ==
            first(routing ? 2 : 4) + static_cast<float>(down_index));
      CHECK(up[static_cast<std::size_t>(neuron * hidden_size + row)] ==
            first(routing ? 1 : 3) + static_cast<float>(up_index));
    }
  }
}

TEST_CASE("pieces are copies of their own, as large as what they hold") {
  TestDevice device;
  Context context = device.context();
  const Model model(device, true, DType::bf16, 3);
  std::vector<TensorPiece> pieces;
  append_pieces(context, model.store, model.store.values(), "p.", pieces);
  const std::vector<std::uint8_t> norm = pieces[0].bytes;
  CHECK(pieces.size() == 1 + 2 * num_experts * 3);
  CHECK(pieces[0].name == "p.model.norm.weight");
  std::memset(model.store.values().raw(), 0, model.store.values().nbytes());
  CHECK(pieces[0].bytes == norm);
  CHECK(norm == std::vector<std::uint8_t>{0x80, 0x3f, 0x80, 0x3f, 0x80, 0x3f});
  for (const TensorPiece& piece : pieces) {
    CHECK(piece.bytes.capacity() == piece.bytes.size());
    CHECK(piece.bytes.size() == static_cast<std::size_t>(Rectangle{piece.begin, piece.end}.extent().numel()) * 2);
  }
}

TEST_CASE("f32 is rounded to bf16 and bf16 widened to f32 when a checkpoint has the other type") {
  TestDevice device;
  Context context = device.context();
  UnsyncedFileLayer files;
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {0.0F,    -0.0F,     1.0F,     1.00390625F, 1.01171875F, 1.0039065F,   3.3895e38F,
                                     3.4e38F, -infinity, 1.0e-40F, -1.5F,       0.1F,        std::nanf("")};
  const std::vector<std::uint16_t> rounded = {0x0000, 0x8000, 0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x7f7f,
                                              0x7f80, 0xff80, 0x0001, 0xbfc0, 0x3dcd, 0x7fc0};
  const Tensor wide = tensor_of_floats(device, values);
  const Tensor narrow = context.empty(wide.shape(), DType::bf16);
  {
    const TemporaryDirectory directory;
    const Checkpoint checkpoint(files, save_tensor(context, directory, "x", wide));
    read_piece(context, checkpoint, "x", narrow);
    for (std::size_t i = 0; i < values.size(); ++i) CHECK(narrow.data<bf16>()[i].bits == rounded[i]);
  }
  const TemporaryDirectory directory;
  const Checkpoint checkpoint(files, save_tensor(context, directory, "x", narrow));
  CHECK(checkpoint.tensors().at("x").dtype == DType::bf16);
  const Tensor again = context.empty(wide.shape(), DType::f32);
  read_piece(context, checkpoint, "x", again);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint32_t found = 0;
    std::memcpy(&found, again.data<float>() + i, sizeof found);
    CHECK(found == std::uint32_t{rounded[i]} << 16);
  }
}

TEST_CASE("a whole model is read in the other precision") {
  TestDevice device;
  Context context = device.context();
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const Model wide(device, true, DType::f32, 5);
  const Checkpoint checkpoint(files, save(context, directory, wide.store));
  const Model narrow(device, false, DType::bf16, 6);
  const Model expected(device, false, DType::bf16, 5);
  read_pieces(context, narrow.store, checkpoint, "", narrow.store.values());
  CHECK(bits(narrow.store.values()) == bits(expected.store.values()));
}

TEST_CASE("a tensor that is missing, of another shape or type is named") {
  TestDevice device;
  Context context = device.context();
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const Model model(device, false, DType::f32, 5);
  const std::string path = save(context, directory, model.store);
  const Checkpoint checkpoint(files, path);
  CHECK(error_text([&] { read_pieces(context, model.store, checkpoint, "optimizer.x.", model.store.values()); }) ==
        "[checkpoint] required tensor optimizer.x.model.norm.weight for this model, found none of that name in " +
            path);
  CHECK(
      error_text([&] { read_piece(context, checkpoint, "model.norm.weight", context.empty({4}, DType::f32)); }) ==
      "[checkpoint] required tensor model.norm.weight of shape [4] in a type that converts to f32, found [3] f32 in " +
          path);
  CHECK(contains(error_text([&] {
                   read_piece(context, checkpoint, "model.norm.weight", context.empty({3, 1}, DType::f32));
                 }),
                 "of shape [3, 1]"));
  for (const DType dtype : {DType::i32, DType::f64}) {
    CHECK(contains(error_text([&] { read_piece(context, checkpoint, "model.norm.weight", context.empty({3}, dtype)); }),
                   std::string("in a type that converts to ") + dtype_name(dtype)));
  }
}

TEST_CASE("integers are read as they are") {
  TestDevice device;
  Context context = device.context();
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const Tensor saved = context.empty({2, 2}, DType::i32);
  for (int i = 0; i < 4; ++i) saved.data<std::int32_t>()[i] = 1000 - 777 * i;
  const Checkpoint checkpoint(files, save_tensor(context, directory, "router_state.counts", saved));
  const Tensor loaded = context.empty({2, 2}, DType::i32);
  read_piece(context, checkpoint, "router_state.counts", loaded);
  CHECK(bits(loaded) == bits(saved));
}
