#include "models/bigbigan/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "kernels/common/dispatch.h"

namespace bigbigan {
namespace {

// One tensor of a file: where it lies in memory, and how.
struct Item {
  std::string name;
  Tensor tensor;  // memory shape
  Shape file_shape;
  bool convolution = false;
};

// A flat array of a store, and its live or averaged buffers where they are part of the set.
struct Group {
  ParamStore* store = nullptr;
  Tensor flat;
  std::string suffix;  // of names
  std::optional<bool> averaged_buffers;
};

std::vector<Group> groups_of(BigBiGAN& model, WeightSet set) {
  std::vector<Group> groups;
  for (ParamStore* store : model.stores()) {
    if (set == WeightSet::kAdam) {
      groups.push_back({store, store->adam_m, ".m", {}});
      groups.push_back({store, store->adam_v, ".v", {}});
      continue;
    }
    const bool averaged = set == WeightSet::kEma;
    if (averaged && !store->is_averaged()) continue;
    groups.push_back({store, averaged ? store->ema : store->value, "", averaged});
  }
  return groups;
}

// `flat`: the group's array, or another for the names and shapes alone.
std::vector<Item> items_of(const Group& group, const Tensor& flat) {
  const ParamStore& store = *group.store;
  std::vector<Item> items;
  for (const auto& entry : store.entries()) {
    items.push_back({entry.name + group.suffix, store.of(flat, entry), file_shape(entry),
                     entry.layout == ParamLayout::kConvolution});
  }
  if (!group.averaged_buffers) return items;
  for (const auto& entry : store.buffer_entries()) {
    items.push_back({entry.name, store.of(entry, *group.averaged_buffers), entry.shape, false});
  }
  return items;
}

// Calls body(item) for each item of the group, whose array is whole meanwhile.
template <class Body>
void for_each_item(const Group& group, const Body& body) {
  check(static_cast<bool>(group.flat), "{}: not allocated for this set of weights",
        group.store->name());
  const Tensor whole = group.store->gather(group.flat);
  for (const Item& item : items_of(group, whole)) body(item);
  group.store->scatter(whole, group.flat);
}

// Bytes of a file tensor into the item's memory, through f32 <-> f64 where needed.
void store_item(const Item& item, DType file_dtype, const std::vector<std::byte>& bytes) {
  const Shape& shape = item.tensor.shape();
  std::vector<std::byte> ordered(bytes.size());
  if (item.convolution) {
    oihw_to_krsc(shape, bytes.data(), ordered.data(), size_of(file_dtype));
  } else {
    ordered = bytes;
  }
  dispatch_real("import", file_dtype, [&]<class From>(TypeTag<From>) {
    dispatch_real("import", item.tensor.dtype(), [&]<class To>(TypeTag<To>) {
      const auto* from = reinterpret_cast<const From*>(ordered.data());
      std::vector<To> converted(shape.elems());
      std::transform(from, from + shape.elems(), converted.begin(),
                     [](From v) { return static_cast<To>(v); });
      item.tensor.write(converted.data());
    });
  });
}

}  // namespace

ExportedWeights export_weights(BigBiGAN& model, WeightSet set, bool is_wanted) {
  ExportedWeights out;
  const auto add = [&](const Item& item) {
    if (!is_wanted) return;
    const View view = item.tensor.view();
    std::vector<std::byte>& bytes = out.storage.emplace_back(view.bytes());
    item.tensor.read(bytes.data());
    if (item.convolution) {
      const std::vector<std::byte> krsc = bytes;
      krsc_to_oihw(view.shape, krsc.data(), bytes.data(), size_of(view.dtype));
    }
    const auto dims = item.file_shape.dims();
    out.tensors.push_back({item.name, view.dtype, {dims.begin(), dims.end()}, bytes.data()});
  };
  for (const Group& group : groups_of(model, set)) for_each_item(group, add);
  return out;
}

namespace {

void check_names_and_shapes(const std::vector<Group>& groups, const SafetensorsFile& file,
                            bool allow_extra) {
  const auto names = file.names();
  std::set<std::string> unused(names.begin(), names.end());
  std::string problems;
  std::vector<Item> items;
  for (const Group& group : groups) {
    for (Item& item : items_of(group, group.store->value)) items.push_back(std::move(item));
  }
  for (const Item& item : items) {
    if (unused.erase(item.name) == 0) {
      problems += fmt::format("\n  {}: missing", item.name);
      continue;
    }
    const TensorInfo& info = file.info(item.name);
    if (info.shape != item.file_shape) {
      problems += fmt::format("\n  {}: is {}, expected {}", item.name, info.shape, item.file_shape);
    } else if (info.dtype != DType::kF32 && info.dtype != DType::kF64) {
      problems +=
          fmt::format("\n  {}: holds {}, expected f32 or f64", item.name, name_of(info.dtype));
    }
  }
  if (!allow_extra) {
    for (const std::string& name : unused)
      problems += fmt::format("\n  {}: not part of this model", name);
  }
  if (!problems.empty()) {
    fail(ExitCode::kConfig, "weights do not fit the model configuration:{}", problems);
  }
}

void import_groups(const std::vector<Group>& groups, SafetensorsFile& file, bool allow_extra) {
  check_names_and_shapes(groups, file, allow_extra);
  for (const Group& group : groups) {
    for_each_item(group, [&](const Item& item) {
      const TensorInfo& info = file.info(item.name);
      std::vector<std::byte> bytes(info.shape.elems() * size_of(info.dtype));
      file.read(item.name, bytes);
      store_item(item, info.dtype, bytes);
    });
  }
}

}  // namespace

void import_weights(BigBiGAN& model, WeightSet set, SafetensorsFile& file, bool allow_extra) {
  import_groups(groups_of(model, set), file, allow_extra);
  if (set != WeightSet::kLive) return;
  for (ParamStore* store : model.stores()) store->pack();
}

void import_averages(BigBiGAN& model, SafetensorsFile& file) {
  std::vector<Group> groups = groups_of(model, WeightSet::kLive);
  std::erase_if(groups, [](const Group& group) { return !group.store->is_averaged(); });
  import_groups(groups, file, false);
  for (ParamStore* store : model.stores()) store->pack();
}

}  // namespace bigbigan
