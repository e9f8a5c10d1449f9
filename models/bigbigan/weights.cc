#include "models/bigbigan/weights.h"

#include <fmt/format.h>

#include <algorithm>
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

void add_parameters(ParamStore& store, const Tensor& flat, const std::string& suffix,
                    std::vector<Item>& items) {
  check(static_cast<bool>(flat), "{}: not allocated for this set of weights", store.name());
  for (const auto& entry : store.entries()) {
    items.push_back({entry.name + suffix, store.of(flat, entry), file_shape(entry),
                     entry.layout == ParamLayout::kConvolution});
  }
}

// Weights and buffers of a store: the live ones, or the moving averages.
void add_store(ParamStore& store, bool averaged, std::vector<Item>& items) {
  add_parameters(store, averaged ? store.ema : store.value, "", items);
  for (const auto& entry : store.buffer_entries()) {
    items.push_back({entry.name, store.of(entry, averaged), entry.shape, false});
  }
}

std::vector<Item> items_of(BigBiGAN& model, WeightSet set) {
  std::vector<Item> items;
  for (ParamStore* store : model.stores()) {
    if (set == WeightSet::kAdam) {
      add_parameters(*store, store->adam_m, ".m", items);
      add_parameters(*store, store->adam_v, ".v", items);
      continue;
    }
    const bool averaged = set == WeightSet::kEma;
    if (averaged && store == &model.d_store) continue;  // D has no moving average
    add_store(*store, averaged, items);
  }
  return items;
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

ExportedWeights export_weights(BigBiGAN& model, WeightSet set) {
  ExportedWeights out;
  for (const Item& item : items_of(model, set)) {
    const View view = item.tensor.view();
    std::vector<std::byte>& bytes = out.storage.emplace_back(view.bytes());
    item.tensor.read(bytes.data());
    if (item.convolution) {
      const std::vector<std::byte> krsc = bytes;
      krsc_to_oihw(view.shape, krsc.data(), bytes.data(), size_of(view.dtype));
    }
    const auto dims = item.file_shape.dims();
    out.tensors.push_back({item.name, view.dtype, {dims.begin(), dims.end()}, bytes.data()});
  }
  return out;
}

namespace {

void import_items(const std::vector<Item>& items, SafetensorsFile& file, bool allow_extra) {
  const auto names = file.names();
  std::set<std::string> unused(names.begin(), names.end());
  std::string problems;
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
  for (const Item& item : items) {
    const TensorInfo& info = file.info(item.name);
    std::vector<std::byte> bytes(info.shape.elems() * size_of(info.dtype));
    file.read(item.name, bytes);
    store_item(item, info.dtype, bytes);
  }
}

}  // namespace

void import_weights(BigBiGAN& model, WeightSet set, SafetensorsFile& file, bool allow_extra) {
  import_items(items_of(model, set), file, allow_extra);
  if (set != WeightSet::kLive) return;
  for (ParamStore* store : model.stores()) store->pack();
}

void import_averages(BigBiGAN& model, SafetensorsFile& file) {
  std::vector<Item> items;
  for (ParamStore* store : model.stores()) {
    if (store != &model.d_store) add_store(*store, false, items);
  }
  import_items(items, file, false);
  for (ParamStore* store : model.stores()) store->pack();
}

}  // namespace bigbigan
