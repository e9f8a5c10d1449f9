// A stack that runs CUDA threads one after another, and what the sanitizers must be told about it.
//
// EMU_TSAN is set for the files that include this in a ThreadSanitizer build; they are not
// instrumented themselves.
#pragma once

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <utility>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef EMU_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace emu {

#ifdef EMU_TSAN
inline constexpr bool kThreadSanitizer = true;
// Everything before the release of an address comes before what follows an acquire of it.
inline void order_release(void* address) { __tsan_release(address); }
inline void order_acquire(void* address) { __tsan_acquire(address); }
// Memory that is allocated, filled or freed while one exists has no past and no author.
class Unseen {
 public:
  Unseen() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unseen() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};
inline void* this_identity() { return __tsan_get_current_fiber(); }
inline void* new_identity() { return __tsan_create_fiber(0); }
// Without the flag the switch itself would order everything, and no race would exist.
inline void become(void* identity) {
  __tsan_switch_to_fiber(identity, __tsan_switch_to_fiber_no_sync);
}
#else
inline constexpr bool kThreadSanitizer = false;
inline void order_release(void*) {}
inline void order_acquire(void*) {}
struct Unseen {
  Unseen() {}  // so that a variable of it counts as used
};
inline void* this_identity() { return nullptr; }
inline void* new_identity() { return nullptr; }
inline void become(void*) {}
#endif

// Runs `work` again each time it is entered after `work` has returned. Never destroyed:
// that would unwind a kernel.
class Fiber {
 public:
  static constexpr size_t kStackBytes = 64 * 1024;  // plus a guard page, so that an overflow stops

  explicit Fiber(void (*work)()) : work_(work), identity_(new_identity()) {
    boost::context::protected_fixedsize_stack stack(kStackBytes);
    const auto context = stack.allocate();
    bottom_ = static_cast<char*>(context.sp) - kStackBytes;
    self_ = boost::context::fiber(std::allocator_arg,
                                  boost::context::preallocated(context.sp, context.size, context),
                                  stack, [this](boost::context::fiber&& host) {
                                    host_ = std::move(host);
                                    arrived();
                                    for (;;) {
                                      work_();
                                      leave();
                                    }
                                    return std::move(host_);
                                  });
  }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Called by the host thread; returns when the fiber leaves.
  void enter() {
    host_identity_ = this_identity();
#ifdef __SANITIZE_ADDRESS__
    void* host_frames = nullptr;
    __sanitizer_start_switch_fiber(&host_frames, bottom_, kStackBytes);
#endif
    become(identity_);
    self_ = std::move(self_).resume();
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(host_frames, nullptr, nullptr);
#endif
  }

  // Called on the fiber; returns when it is entered again.
  void leave() {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&frames_, host_bottom_, host_bytes_);
#endif
    become(host_identity_);
    host_ = std::move(host_).resume();
    arrived();
  }

 private:
  void arrived() {
#ifdef __SANITIZE_ADDRESS__
    // Several host threads run grids: this one's stack is learnt anew each time.
    __sanitizer_finish_switch_fiber(frames_, &host_bottom_, &host_bytes_);
#endif
  }

  void (*work_)();
  void* identity_ = nullptr;
  void* host_identity_ = nullptr;
  char* bottom_ = nullptr;
  boost::context::fiber self_, host_;
#ifdef __SANITIZE_ADDRESS__
  void* frames_ = nullptr;
  const void* host_bottom_ = nullptr;
  size_t host_bytes_ = 0;
#endif
};

}  // namespace emu
