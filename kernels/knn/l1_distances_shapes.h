// What l1_distances of all backends requires of its arguments.
#pragma once

#include "kernels/knn/l1_distances.h"

namespace bigbigan {

inline void check_l1_distances(ConstView queries, ConstView references, View distances) {
  check(queries.shape.rank() == 2 && references.shape.rank() == 2 &&
            queries.shape[1] == references.shape[1],
        "l1_distances: queries are {}, references {}, expected (Q, D) and (R, D)", queries.shape,
        references.shape);
  check_shape("l1_distances", "distances", distances.shape,
              {queries.shape[0], references.shape[0]});
}

}  // namespace bigbigan
