// Numbers of float32 and bfloat16, and how loops go through features in channels_last layout:
// M pixels of all images in turn, each with C channels, a multiple of TILE.

#pragma once

#include <omp.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

using Index = std::ptrdiff_t;

// Channels that are computed at once.
constexpr Index TILE = 32;
// Numbers that stay in the first cache, between two passes or as one block of a sum.
constexpr Index BLOCK = 8192;
// Bytes that a loop asks for in advance: some processors do not look ahead far enough.
constexpr Index AHEAD = 2048;

// A bfloat16 number: the upper half of a float.
struct bf16 {
  std::uint16_t bits;
};

inline float load(float from) { return from; }

inline float load(bf16 from) {
  const std::uint32_t bits = static_cast<std::uint32_t>(from.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline void store(float* to, float value) { *to = value; }

// Rounds to the nearest, ties to even; NaN stays NaN.
inline void store(bf16* to, float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
  to->bits = static_cast<std::uint16_t>((value == value ? rounded : bits | 0x400000) >> 16);
}

template <typename T>
inline void look_ahead(const T* at) {
  const char* bytes = reinterpret_cast<const char*>(at) + AHEAD;
  for (Index line = 0; line < static_cast<Index>(TILE * sizeof(T)); line += 64)
    __builtin_prefetch(bytes + line);
}

// M pixels in blocks, with C numbers for each block.
struct Blocks {
  Index pixels, rows, count;

  Blocks(Index pixels, Index channels)
      : pixels(pixels), rows(BLOCK / channels > 0 ? BLOCK / channels : 1),
        count((pixels + rows - 1) / rows) {}

  Index begin(Index block) const { return block * rows; }
  Index end(Index block) const {
    return begin(block) + rows < pixels ? begin(block) + rows : pixels;
  }
  Index size(Index block) const { return end(block) - begin(block); }
};

// Numbers of each thread, zero at first, and so far from those of another that neither waits for the
// other's cache. Allocated where one thread runs.
class PerThread {
 public:
  PerThread(Index count, int threads) : stride_(count + APART), all_(threads * stride_) {}

  // Those of the thread that asks.
  float* own() { return &all_[omp_get_thread_num() * stride_]; }

 private:
  static constexpr Index APART = 1024;
  Index stride_;
  std::vector<float> all_;
};

// A number for each of some channels, in registers.
struct Tile {
  float at[TILE];

  Tile() : at{} {}
  explicit Tile(const float* from) { std::memcpy(at, from, sizeof at); }
  void copy_to(float* to) const { std::memcpy(to, at, sizeof at); }
};

}  // namespace
