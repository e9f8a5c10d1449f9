# The libraries that every build needs, as Debian's packages: sourced by install_deps.sh and offline_deps.sh.
libraries=(
  libfmt-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev libxxhash-dev
  libdnnl-dev libeigen3-dev liblbfgs-dev librandom123-dev
  libpng-dev zlib1g-dev libprotobuf-dev protobuf-compiler
  catch2 libbenchmark-dev
)
