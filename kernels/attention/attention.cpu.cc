#include "kernels/attention/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/common/dispatch.h"
#include "kernels/common/widened.h"

namespace bigbigan {
namespace {

constexpr int64_t kTile = 128;  // keys whose scores are held at once

struct Sizes {
  int64_t n, queries, keys, depth, width;
};

Sizes sizes_of(const Shape& query, const Shape& key, const Shape& value) {
  check(query.rank() == 3, "attention: query is {}", query);
  const Sizes s{query[0], query[1], key[1], query[2], value[2]};
  check_shape("attention", "key", key, {s.n, s.keys, s.depth});
  check_shape("attention", "value", value, {s.n, s.keys, s.width});
  check(s.keys > 0 || s.queries == 0, "attention: no keys for {} queries", s.queries);
  return s;
}

// Of the scores and of the weighted sums.
double flops_of(const Sizes& s) {
  return 2.0 * static_cast<double>(s.n * s.queries * s.keys * (s.depth + s.width));
}

template <class T>
T dot(const T* a, const T* b, int64_t n) {
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

template <class T>
void add_multiple(T* to, T factor, const T* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += factor * from[i];
}

// One query by online softmax: `y` holds the weighted sum relative to the running maximum.
template <class T>
T attend(const T* query, const T* key, const T* value, const Sizes& s, T* y) {
  std::array<T, kTile> scores;
  T maximum = -std::numeric_limits<T>::infinity(), sum = 0;
  std::fill(y, y + s.width, T(0));
  for (int64_t k0 = 0; k0 < s.keys; k0 += kTile) {
    const int64_t count = std::min(kTile, s.keys - k0);
    T tile_maximum = maximum;
    for (int64_t k = 0; k < count; ++k) {
      scores[k] = dot(query, key + (k0 + k) * s.depth, s.depth);
      tile_maximum = std::max(tile_maximum, scores[k]);
    }
    const T shrink = std::exp(maximum - tile_maximum);
    maximum = tile_maximum;
    sum *= shrink;
    for (int64_t i = 0; i < s.width; ++i) y[i] *= shrink;
    for (int64_t k = 0; k < count; ++k) {
      const T weight = std::exp(scores[k] - maximum);
      sum += weight;
      add_multiple(y, weight, value + (k0 + k) * s.width, s.width);
    }
  }
  for (int64_t i = 0; i < s.width; ++i) y[i] /= sum;
  return maximum + std::log(sum);
}

// Gradients of one sample, query by query; weights are formed again from log_sum.
template <class T>
void backward_sample(const AttentionBackwardArgs& a, const Sizes& s, int64_t n) {
  const auto at = [&](ConstView v, int64_t elems) { return v.as<T>() + n * elems; };
  const auto out = [&](View v, int64_t elems) { return v ? v.as<T>() + n * elems : nullptr; };
  const T *query = at(a.query, s.queries * s.depth), *key = at(a.key, s.keys * s.depth);
  const T *value = at(a.value, s.keys * s.width), *y = at(a.y, s.queries * s.width);
  const T *d_y = at(a.d_y, s.queries * s.width), *log_sum = at(a.log_sum, s.queries);
  T* d_query = out(a.d_query, s.queries * s.depth);
  T* d_key = out(a.d_key, s.keys * s.depth);
  T* d_value = out(a.d_value, s.keys * s.width);
  const auto clear = [](T* data, int64_t elems, bool keep) {
    if (data != nullptr && !keep) std::fill(data, data + elems, T(0));
  };
  clear(d_query, s.queries * s.depth, a.accumulate_query);
  clear(d_key, s.keys * s.depth, a.accumulate_key);
  clear(d_value, s.keys * s.width, a.accumulate_value);
  for (int64_t q = 0; q < s.queries; ++q) {
    const T* g = d_y + q * s.width;
    const T delta = dot(g, y + q * s.width, s.width);
    for (int64_t k = 0; k < s.keys; ++k) {
      const T weight = std::exp(dot(query + q * s.depth, key + k * s.depth, s.depth) - log_sum[q]);
      const T d_score = weight * (dot(g, value + k * s.width, s.width) - delta);
      if (d_value != nullptr) add_multiple(d_value + k * s.width, weight, g, s.width);
      if (d_query != nullptr)
        add_multiple(d_query + q * s.depth, d_score, key + k * s.depth, s.depth);
      if (d_key != nullptr)
        add_multiple(d_key + k * s.depth, d_score, query + q * s.depth, s.depth);
    }
  }
}

}  // namespace

void attention_forward(const CpuExec& ex, ConstView query, ConstView key, ConstView value, View y,
                       View log_sum) {
  if (query.dtype == DType::kBF16 && !ex.plan_only) {
    return attention_forward(ex, Widened(query), Widened(key), Widened(value),
                             WidenedResult(y, false), log_sum);
  }
  const Sizes s = sizes_of(query.shape, key.shape, value.shape);
  const Observed observed(ex, moved({query, key, value, y, log_sum}, flops_of(s)));
  if (ex.plan_only) return;
  check_shape("attention", "y", y.shape, {s.n, s.queries, s.width});
  check_shape("attention", "log_sum", log_sum.shape, {s.n, s.queries});
  constexpr int64_t kQueriesPerChunk = 32;
  dispatch_real("attention", query.dtype, [&]<class T>(TypeTag<T>) {
    ex.for_range(s.n * s.queries, kQueriesPerChunk, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / s.queries;
        log_sum.as<T>()[i] =
            attend(query.as<T>() + i * s.depth, key.as<T>() + n * s.keys * s.depth,
                   value.as<T>() + n * s.keys * s.width, s, y.as<T>() + i * s.width);
      }
    });
  });
}

void attention_backward(const CpuExec& ex, const AttentionBackwardArgs& a) {
  if (a.query.dtype == DType::kBF16 && !ex.plan_only) {
    const Widened query(a.query), key(a.key), value(a.value), y(a.y), d_y(a.d_y);
    const WidenedResult d_query(a.d_query, a.accumulate_query), d_key(a.d_key, a.accumulate_key),
        d_value(a.d_value, a.accumulate_value);
    AttentionBackwardArgs wide = a;
    wide.query = query;
    wide.key = key;
    wide.value = value;
    wide.y = y;
    wide.d_y = d_y;
    wide.d_query = d_query;
    wide.d_key = d_key;
    wide.d_value = d_value;
    return attention_backward(ex, wide);
  }
  const Sizes s = sizes_of(a.query.shape, a.key.shape, a.value.shape);
  // The scores are formed again, and each product has two gradients.
  const Observed observed(
      ex, moved({a.query, a.key, a.value, a.y, a.log_sum, a.d_y, a.d_query, a.d_key, a.d_value},
                2.5 * flops_of(s)));
  if (ex.plan_only) return;
  check_shape("attention", "d_y", a.d_y.shape, {s.n, s.queries, s.width});
  dispatch_real("attention", a.query.dtype, [&]<class T>(TypeTag<T>) {
    ex.for_chunks(s.n, [&](int64_t n) { backward_sample<T>(a, s, n); });
  });
}

}  // namespace bigbigan
