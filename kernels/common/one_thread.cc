#include "kernels/common/one_thread.h"

#include <omp.h>

namespace bigbigan {

// The OpenMP setting belongs to the calling thread and stays: nothing else here uses OpenMP.
OneThread::OneThread() {
  if (omp_get_max_threads() != 1) omp_set_num_threads(1);
}

}  // namespace bigbigan
