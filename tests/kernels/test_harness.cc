// Every check of the harness finds the fault that it is there for, and finds nothing else wrong.
#include <catch2/catch.hpp>
#include <functional>

#include "kernels/common/dispatch.h"
#include "tests/harness/builders.h"
#include "tests/harness/checks.h"
#include "tests/harness/guard_allocator.h"
#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

double at(const Tensor& t, int64_t i) {
  double value = 0;
  dispatch_float("test", t.dtype(),
                 [&]<class T>(TypeTag<T>) { value = static_cast<double>(t.as<T>()[i]); });
  return value;
}

// Element `i` := value; `i` may lie outside the tensor.
void set(View v, int64_t i, double value) {
  dispatch_float("test", v.dtype, [&]<class T>(TypeTag<T>) {
    if constexpr (std::is_same_v<T, bf16>) {
      v.as<T>()[i] = bf16(static_cast<float>(value));
    } else {
      v.as<T>()[i] = static_cast<T>(value);
    }
  });
}

void write_gradient(const GradTarget& d, int64_t i, double value) {
  set(d.view, i, value + (d.accumulate ? at(Tensor::borrow(d.view), i) : 0.0));
}

int threads_of(const Context& ctx) { return std::get<CpuExec>(ctx.exec).parallel->threads(); }

// y = 2 a + 3 b, right unless a hook is replaced.
struct Faulty {
  int64_t elems = 15;
  std::function<double(const Context&, double right)> output = [](const Context&, double right) {
    return right;
  };
  std::function<void(const Context&, const Tensor& a, const Tensor& y)> after_forward =
      [](const Context&, const Tensor&, const Tensor&) {};
  // The gradient of input `input`, element i, from that of the output.
  std::function<double(const Backward&, int input, int64_t i, double right)> gradient =
      [](const Backward&, int, int64_t, double right) { return right; };
  std::function<void(const Backward&, const GradTarget&)> after_backward = [](const Backward&,
                                                                              const GradTarget&) {};
  std::function<GradTarget(const GradTarget&)> target = [](const GradTarget& d) { return d; };

  void backward(Backward& b) const {
    for (const int input : {0, 1}) {
      if (!b.wants(input)) continue;
      const GradTarget d = target(b.grad(input));
      const double factor = input == 0 ? 2.0 : 3.0;
      const ConstView d_y = b.d_output();
      dispatch_float("test", d_y.dtype, [&]<class T>(TypeTag<T>) {
        for (int64_t i = 0; i < elems; ++i) {
          write_gradient(d, i, gradient(b, input, i, factor * double(d_y.as<T>()[i])));
        }
      });
      after_backward(b, d);
    }
  }

  [[nodiscard]] OpCase op_case() const {
    return binary_case("faulty", {elems}, {elems},
                       [f = *this](const Context& ctx, const Var& a, const Var& b) {
                         const Tensor y = Tensor::empty(ctx, {f.elems}, a.dtype());
                         for (int64_t i = 0; i < f.elems; ++i) {
                           set(y, i, f.output(ctx, 2 * at(a.value, i) + 3 * at(b.value, i)));
                         }
                         f.after_forward(ctx, a.value, y);
                         return record(ctx, "faulty", {a, b}, y,
                                       [f](Backward& backward) { f.backward(backward); });
                       });
  }
};

// The names of the checks that report something.
std::vector<std::string> reporting(const OpCase& c) {
  const std::vector<std::pair<std::string, std::string (*)(const OpCase&)>> checks = {
      {"forward f32", check_forward_f32}, {"composite", check_composite},
      {"gradient", check_gradient},       {"gradient f32", check_gradient_f32},
      {"accumulate", check_accumulate},   {"partial", check_partial},
      {"guards", check_guards},           {"repeatable", check_repeatable}};
  std::vector<std::string> names;
  for (const auto& [name, check] : checks) {
    const std::string failure = check(c);
    if (failure.empty()) continue;
    CHECK_THAT(failure, Catch::Contains(c.name + " [" + name + "]"));
    names.push_back(name);
  }
  CHECK(check_all(c).empty() == names.empty());
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("harness: nothing to report of a right operation") {
  CHECK(reporting(Faulty().op_case()).empty());
}

TEST_CASE("harness: f32 kernels a little wrong") {
  Faulty f;
  SECTION("forward") {
    f.output = [](const Context& ctx, double right) {
      return ctx.dtype == DType::kF32 ? right * (1 + 1e-5) : right;
    };
    CHECK(reporting(f.op_case()) == Names{"forward f32"});
  }
  SECTION("backward") {
    f.gradient = [](const Backward& b, int, int64_t, double right) {
      return b.ctx.dtype == DType::kF32 ? right * (1 + 1e-5) : right;
    };
    CHECK(reporting(f.op_case()) == Names{"gradient f32"});
  }
  SECTION("not a number") {
    f.output = [](const Context& ctx, double right) {
      return ctx.dtype == DType::kF32 && right > 0 ? std::nan("") : right;
    };
    CHECK(reporting(f.op_case()) == Names{"forward f32"});
  }
}

TEST_CASE("harness: wrong gradients") {
  Faulty f;
  SECTION("all elements, by 1e-5") {
    f.gradient = [](const Backward&, int, int64_t, double right) { return right * (1 + 1e-5); };
  }
  SECTION("one element of many") {
    f.elems = 3000;
    f.gradient = [](const Backward&, int input, int64_t i, double right) {
      return input == 1 && i == 1234 ? right * 1.01 : right;
    };
  }
  SECTION("the factors of the two inputs swapped") {
    f.gradient = [](const Backward&, int input, int64_t, double right) {
      return input == 0 ? right * 1.5 : right / 1.5;
    };
  }
  SECTION("none at all") {
    f.gradient = [](const Backward&, int, int64_t, double) { return 0.0; };
  }
  CHECK(reporting(f.op_case()) == Names{"gradient"});
}

TEST_CASE("harness: a bend between two points is not a wrong gradient, a wrong gradient is") {
  const auto crooked = [](double slope) {
    OpCase c = unary_case("crooked", {1}, [slope](const Context& ctx, const Var& x) {
      const double in = at(x.value, 0);
      const Tensor y = Tensor::empty(ctx, {1}, x.dtype());
      set(y, 0, in > 3e-6 ? 5 * (in - 3e-6) : 0.0);  // bends 3e-6 from the point
      return record(ctx, "crooked", {x}, y, [slope](Backward& b) {
        set(b.grad(0).view, 0, slope * b.d_output().as<double>()[0]);
      });
    });
    c.inputs[0].scale = 0;
    return c;
  };
  CHECK(check_gradient(crooked(0.0)).empty());
  CHECK(!check_gradient(crooked(2.5)).empty());
}

TEST_CASE("harness: the order to overwrite or to accumulate is not kept") {
  Faulty f;
  SECTION("always overwrites") {
    f.target = [](const GradTarget& d) { return GradTarget{d.view, false}; };
  }
  SECTION("always accumulates") {
    f.target = [](const GradTarget& d) { return GradTarget{d.view, true}; };
  }
  const OpCase c = f.op_case();
  CHECK(!check_accumulate(c).empty());
  CHECK(check_gradient(c).empty());  // which starts from zero
}

TEST_CASE("harness: a gradient depends on which others are wanted") {
  Faulty f;
  f.gradient = [](const Backward& b, int input, int64_t, double right) {
    return input == 1 && !b.wants(0) ? right * (1 + 1e-6) : right;
  };
  CHECK(reporting(f.op_case()) == Names{"partial"});
}

TEST_CASE("harness: memory") {
  Faulty f;
  const auto only_guarded = [](const Context& ctx, View v, int64_t i) {
    if (dynamic_cast<GuardAllocator*>(ctx.allocator) != nullptr) set(v, i, 1.0);
  };
  SECTION("an output past its block") {
    f.after_forward = [=](const Context& ctx, const Tensor&, const Tensor& y) {
      only_guarded(ctx, y, y.elems());
    };
    CHECK(reporting(f.op_case()) == Names{"guards"});
  }
  SECTION("a gradient before its block") {
    f.after_backward = [=](const Backward& b, const GradTarget& d) {
      only_guarded(b.ctx, d.view, -1);
    };
    CHECK(reporting(f.op_case()) == Names{"guards"});
  }
  SECTION("an input written to") {
    f.after_forward = [](const Context&, const Tensor& a, const Tensor&) { set(a, 3, 0.0); };
    CHECK_THAT(check_guards(f.op_case()), Catch::Contains("input a was written to"));
  }
  SECTION("an output element left as it was") {
    f.after_forward = [](const Context& ctx, const Tensor&, const Tensor& y) {
      set(y, 3, at(Tensor::empty(ctx, {15}, y.dtype()), 3));
    };
    CHECK_THAT(check_guards(f.op_case()), Catch::Contains("fresh memory"));
  }
  SECTION("a comparison with fresh memory, which swallows a NaN") {
    f.after_forward = [](const Context& ctx, const Tensor&, const Tensor& y) {
      const Tensor scratch = Tensor::empty(ctx, {1 << 20}, y.dtype());
      if (!(std::abs(at(scratch, 12345)) >= 0)) set(y, 3, at(y, 3) + 1);
    };
    CHECK_THAT(check_guards(f.op_case()), Catch::Contains("fresh memory"));
  }
}

TEST_CASE("harness: results that are not the same again") {
  Faulty f;
  SECTION("another number of threads") {
    f.output = [](const Context& ctx, double right) {
      return right * (1 + 1e-7 * (threads_of(ctx) - 1));
    };
    OpCase c = f.op_case();
    c.name = "threads";
    CHECK(!check_repeatable(c).empty());
    CHECK(check_forward_f32(c).empty());
  }
  SECTION("another call") {
    f.output = [calls = std::make_shared<int>(0)](const Context& ctx, double right) {
      return ctx.dtype == DType::kF32 ? right + 1e-6 * (++*calls / 1000) : right;
    };
    f.elems = 700;
    CHECK_THAT(check_repeatable(f.op_case()), Catch::Contains("other bits"));
  }
}

TEST_CASE("harness: a fused operation differs from its composite") {
  OpCase c = Faulty().op_case();
  Faulty other;
  SECTION("not at all") {
    c.composite = other.op_case().run;
    CHECK(reporting(c).empty());
  }
  SECTION("in its output") {
    other.output = [](const Context&, double right) { return right * (1 + 1e-13); };
    c.composite = other.op_case().run;
    CHECK(reporting(c) == Names{"composite"});
  }
  SECTION("in a gradient") {
    other.gradient = [](const Backward&, int, int64_t, double right) {
      return right * (1 + 1e-13);
    };
    c.composite = other.op_case().run;
    CHECK(reporting(c) == Names{"composite"});
  }
}

TEST_CASE("harness: a case replays by its name") {
  HostAllocator allocator;
  const Context ctx{.allocator = &allocator};
  const OpCase c = unary_case("replay", {3}, [](const Context&, const Var& x) { return x; });
  const std::vector<double> found = read(case_inputs(ctx, c, DType::kF64)[0]);
  CHECK(found[0] == Approx(-0.0262312833));
  CHECK(found[1] == Approx(-0.2585960627));
  CHECK(found[2] == Approx(-0.5890564919));
}
